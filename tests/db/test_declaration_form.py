"""The declaration form on paper (DECL-10 to DECL-13), and the two sides of an identity card by look (DECL-12)."""

from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from backend.banks.model import TemplateKind
from backend.banks.tables import TemplateRow
from backend.core.problems import Forbidden, NotFound
from backend.disputes.form_paper import form_pdf
from backend.disputes.rules import TemplateNotApproved
from tests.support.world import World, shared_keyring, world


@pytest.fixture
def made(session: Session, now: datetime) -> World:
    return world(session, shared_keyring(), now)


def of_kind(session: Session, made: World, kind: TemplateKind) -> UUID:
    return session.scalars(select(TemplateRow.id).where(TemplateRow.bank_id == made.bank_a.id, TemplateRow.kind == kind).limit(1)).one()


@pytest.mark.parametrize("kind", [TemplateKind.NOT_MY_CARD, TemplateKind.FORGERY])
def test_DECL_13_both_forms_are_printed_in_the_approved_wording(session: Session, made: World, kind: TemplateKind) -> None:
    template_id = of_kind(session, made, kind)
    paper = form_pdf(session, made.amina.actor, template_id)
    assert paper.startswith(b"%PDF-")
    assert paper == form_pdf(session, made.lin.actor, template_id)
    session.execute(update(TemplateRow).where(TemplateRow.id == template_id).values(text_zh="本人声明：另一种措辞。"))
    session.expire_all()
    assert form_pdf(session, made.amina.actor, template_id) != paper


def test_DECL_13_a_form_the_bank_did_not_approve_is_never_printed(session: Session, made: World) -> None:
    template_id = of_kind(session, made, TemplateKind.FORGERY)
    session.execute(update(TemplateRow).where(TemplateRow.id == template_id).values(approved_at=None, approved_by=None))
    session.expire_all()
    with pytest.raises(TemplateNotApproved):
        form_pdf(session, made.amina.actor, template_id)


def test_SEC_01_another_banks_form_is_not_found(session: Session, made: World) -> None:
    template_id = of_kind(session, made, TemplateKind.FORGERY)
    with pytest.raises(NotFound):
        form_pdf(session, made.chen.actor, template_id)
    with pytest.raises(NotFound):
        form_pdf(session, made.amina.actor, UUID(int=3))
    with pytest.raises(Forbidden):
        form_pdf(session, made.bilal.actor, template_id)
