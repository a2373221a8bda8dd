"""Signed statements: taken in, then acted on by kind, in one transaction; and their receipts."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, RawBody

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import ManifestId
from backend.exhibits import queries, receipts, uploads
from backend.exhibits.actions import accept
from backend.exhibits.model import ENDED, Accepted, Intake, ItemState, ManifestState, ReceiptKind, UploadTicket
from backend.exhibits.statements import open_statement
from backend.exhibits.tasks import EXAMINE
from backend.policies.queries import policy_in_force
from backend.visits.for_evidence import facts_for_evidence
from backend.web.app import Resources
from backend.web.body import CONTENT_TYPES, View
from backend.web.transaction import transaction
from evidence.envelope import ENVELOPE_BYTES_MAX
from mobile_api.statement_acts import act_on, hand_over_overdue
from mobile_api.uploads import PATH as UPLOADS_PATH

CONTENT = frozenset({"application/jose+json", "application/json"})

class AskedItem(View, frozen=True, omit_defaults=True, kw_only=True):
    """One declared file: already here, or where to send it. Without an address it is of a kind that is not taken."""

    item_id: str
    state: ItemState
    upload_url: str | None = None
    upload_token: str | None = None


class FoundView(View, frozen=True, kw_only=True):
    """One finding, as far as the phone's people may know it."""

    name: str
    grade: str
    rules: tuple[str, ...]


class StatementAnswer(View, frozen=True, kw_only=True):
    """A statement as it stands. `receipt` comes once both signatures, or the end of the wait, and all files are here."""

    manifest_id: UUID
    digest: str
    state: ManifestState
    standing: str
    findings: tuple[FoundView, ...]
    items: tuple[AskedItem, ...]
    receipt: str | None
    proof: str | None
    outcome: Any = None


class ReceiptAnswer(View, frozen=True, kw_only=True):
    """A statement's receipts, null while something is missing."""

    manifest_id: UUID
    state: ManifestState
    receipt: str | None
    proof: str | None
    examined_receipt: str | None
    examined_proof: str | None
    examined_sha256: str | None = None       # The logged report's salted digest: all that a phone needs of it.


@post(
    "/mobile/v1/evidence-manifests", operation_id="sendStatement", sync_to_thread=True, tags=["evidence"], opt={CONTENT_TYPES: CONTENT},
    request_max_body_size=ENVELOPE_BYTES_MAX,
)
def send_statement(
    body: RawBody, actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[StatementAnswer]:
    """Take one signed envelope: 201, 202 while the partner's signature is due, 200 for an identical re-send."""
    with transaction(resources.sessions, actor, now) as session:
        authorise(actor, Permission.EVIDENCE_SUBMIT)
        statement = open_statement(session, body, now)
        visit = facts_for_evidence(session, statement.manifest.visit)
        policy = policy_in_force(session, visit.bank_id if visit else None, statement.bounds.judged_at)
        intake = Intake(visit=visit, policy=policy, keyring=resources.keyring, tenant=resources.settings.tenant)
        accepted = accept(session, actor, statement, intake, now)
        outcome = act_on(session, actor, resources.keyring, accepted, policy, now)
        assert actor.device is not None, "phones speak through a device"
        tickets = uploads.issue_tickets(session, resources.keyring, accepted.manifest_id, actor.device, now)
    hand_over_overdue(resources, now)
    receipt = _receipt(resources, actor, accepted.manifest_id, now) if accepted.state in ENDED else None
    status = 202 if accepted.state is ManifestState.AWAITING_COSIGNATURE else 200 if accepted.is_replay else 201
    return Response(_answer(accepted, tickets, receipt, outcome, resources.settings.public_url), status_code=status)


@get("/mobile/v1/receipts/{manifest_id:uuid}", operation_id="readReceipt", sync_to_thread=True, tags=["evidence"])
def read_receipt(
    manifest_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> ReceiptAnswer:
    """Return the receipts of a statement of one's own, making the first if it became due while nobody asked."""
    authorise(actor, Permission.EVIDENCE_SUBMIT)
    with resources.reads() as session:
        known = queries.statement(session, actor, ManifestId(manifest_id))
        examined = receipts.receipt_of(session, manifest_id, ReceiptKind.EXAMINED)
        examined_sha256 = receipts.salted_digest(session, manifest_id, ReceiptKind.EXAMINED)
    receipt = _receipt(resources, actor, known.id, now) if known.state in ENDED else None
    return ReceiptAnswer(
        manifest_id=manifest_id, state=known.state, receipt=receipt.jws if receipt else None, proof=receipt.proof if receipt else None,
        examined_receipt=examined.jws if examined else None, examined_proof=examined.proof if examined else None,
        examined_sha256=examined_sha256)


ROUTES = [send_statement, read_receipt]


def _receipt(resources: Resources, actor: Actor, manifest_id: ManifestId, now: datetime) -> receipts.Receipt | None:
    with resources.reads() as session:
        stored = receipts.receipt_of(session, manifest_id)
    if stored is not None:
        return stored
    with transaction(resources.sessions, actor, now) as session:
        made = receipts.issue(session, resources.keyring, manifest_id, now, origin=resources.origin)
    if made is not None and resources.queue is not None:
        resources.queue.put(EXAMINE, manifest_id)
    return made


def _answer(
    accepted: Accepted, tickets: tuple[UploadTicket, ...], receipt: receipts.Receipt | None, outcome: object, public_url: str
) -> StatementAnswer:
    leave = {ticket.item_id: ticket for ticket in tickets}
    items = tuple(
        AskedItem(
            item_id=item.item_id, state=item.state, upload_url=f"{public_url}{UPLOADS_PATH}/{leave[item.item_id].upload_id}",
            upload_token=leave[item.item_id].token,
        ) if item.item_id in leave else AskedItem(item_id=item.item_id, state=item.state)
        for item in accepted.items
    )
    return StatementAnswer(
        manifest_id=accepted.manifest_id, digest=accepted.digest, state=accepted.state, standing=accepted.standing.value,
        findings=tuple(FoundView(name=one.name, grade=one.grade.value, rules=one.rules) for one in accepted.findings), items=items,
        receipt=receipt.jws if receipt else None, proof=receipt.proof if receipt else None, outcome=msgspec.to_builtins(outcome),
    )
