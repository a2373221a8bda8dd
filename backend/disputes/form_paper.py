"""The bank's form of a declaration as PDF: its approved wording, room to copy it out by hand, both ways of filling it (DECL-10 to DECL-13)."""

from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.model import TemplateKind
from backend.banks.tables import BankRow, TemplateRow
from backend.core.problems import NotFound
from backend.disputes.rules import TemplateNotApproved
from backend.documents.typeset import typeset

TEMPLATE: Final = "declaration.typ"
_TITLES: Final = {TemplateKind.NOT_MY_CARD: "未办卡声明书", TemplateKind.FORGERY: "伪冒声明书"}


def form_pdf(session: Session, actor: Actor, template_id: UUID) -> bytes:
    """Return the paper of one approved version; the same version has the same bytes.

    Raises:
        Forbidden, NotFound: not the actor's.
        TemplateNotApproved: the bank has not approved it, or it is no declaration (DECL-13).
    """
    authorise(actor, Permission.BANK_READ)
    row = session.get(TemplateRow, template_id)
    if row is None or (actor.bank is not None and actor.bank != row.bank_id):
        raise NotFound
    if row.kind not in _TITLES or row.approved_at is None:
        raise TemplateNotApproved(template=str(row.id))
    bank = session.get_one(BankRow, row.bank_id)
    return typeset(TEMPLATE, {
        "title": _TITLES[row.kind], "bank": bank.name_zh, "text": row.text_zh, "template": f"{_TITLES[row.kind]} V{row.version} {row.id}",
    }, row.approved_at)
