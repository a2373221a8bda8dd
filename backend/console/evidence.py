"""Evidence at the console: what a visit's statements prove, stamped copies, packs, the log, and our public keys."""

import base64
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import MediaType, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Meta

from backend.audit import log
from backend.audit.record import record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import BankId, ManifestId, VisitId
from backend.core.problems import InvalidInput, NotFound
from backend.exhibits import commands, queries, receipts, reviews
from backend.exhibits.copies import CopyPurpose, UnmaskPurpose
from backend.exhibits.exports import place_of
from backend.exhibits.model import ReceiptKind, Standing, Verdict
from backend.keys.model import KeyPurpose
from backend.visits import queries as visits
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.transaction import transaction
from evidence.translog import parse_checkpoint

DOWNLOAD = {"Cache-Control": "no-store", "Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}
NO_BANK = UUID(int=0)
MEDIA_TYPES = {"jpg": "image/jpeg", "wav": "audio/wav", "m4a": "audio/mp4", "mp4": "video/mp4"}


class CopyBody(Body):
    """What the copy is for; it enters the register. `unmask` makes an identity document legible, for a stated reason (SEC-03)."""

    purpose: CopyPurpose
    unmask: UnmaskPurpose | None = None


class DecisionBody(Body):
    """A verdict on one statement in doubt or quarantine."""

    verdict: Verdict
    reason: Annotated[str, Meta(min_length=1, max_length=2000)]


class VisitEvidence(View, frozen=True, kw_only=True):
    """One visit's statements with their state of proof, and what keeps them from being whole."""

    visit_id: UUID
    exceptions: queries.Exceptions
    statements: tuple[queries.StatementView, ...]


class Decided(View, frozen=True):
    """How the statement stands after a verdict."""

    standing: Standing


class ProofView(View, frozen=True, kw_only=True):
    """The receipts and log proofs of one statement (C2SP `tlog-proof@v1`)."""

    receipt: str | None
    proof: str | None
    examined_receipt: str | None
    examined_proof: str | None


class KeyView(View, frozen=True, kw_only=True):
    """One public key of this deployment: a P-256 JWK, or 32 bytes of Ed25519 in hex for the log."""

    kid: str
    purpose: KeyPurpose
    state: str
    created_at: datetime
    retired_at: datetime | None
    public: Any


class KeysView(View, frozen=True, kw_only=True):
    """Every public key of all times, and the file that an offline verifier takes as `--trust`."""

    origin: str
    keys: tuple[KeyView, ...]
    trust: Any


@get("/api/v1/visits/{visit_id:uuid}/evidence", operation_id="readVisitEvidence", sync_to_thread=True, tags=["evidence"])
def read_evidence(
    visit_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> VisitEvidence:
    """Return a visit's statements and files by id and digest; the read is recorded."""
    authorise(actor, Permission.EVIDENCE_READ)
    with transaction(resources.sessions, actor, now) as session:
        visit = visits.visit_of(session, actor, visit_id)
        record_read(session, actor, [visit.case_id], now, "evidence")
        return VisitEvidence(
            visit_id=visit_id, exceptions=queries.exceptions_of(session, VisitId(visit_id)),
            statements=queries.statements_of(session, actor, VisitId(visit_id)))


@post("/api/v1/evidence/{item_key:uuid}/copy", operation_id="copyEvidence", sync_to_thread=True, status_code=200, tags=["evidence"])
def copy_evidence(
    item_key: FromPath[UUID], data: JSONBody[CopyBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Response[bytes]:
    """Return a copy stamped 再次复印无效, with its register number and signed derivation in the headers (ARCH-13, ARCH-14)."""
    made = commands.copy_item(
        lambda: transaction(resources.sessions, actor, now), actor, resources.keyring,
        place_of(resources.store, resources.settings, resources.origin),
        (item_key, commands.Wanted(purpose=data.purpose, now=now, unmask=data.unmask)))
    return Response(made.read(), media_type=MEDIA_TYPES[made.extension], headers={
        **DOWNLOAD, "Content-Disposition": f'attachment; filename="{made.number}.{made.extension}"', "X-Register-Number": made.number,
        "X-Derivation": made.statement})


@post("/api/v1/statements/{manifest_id:uuid}/decision", operation_id="decideStatement", sync_to_thread=True, status_code=200, tags=["evidence"])
def decide(
    manifest_id: FromPath[UUID], data: JSONBody[DecisionBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Decided:
    """Release or uphold a statement in doubt (one supervisor) or quarantine (two people)."""
    command = reviews.Decide(manifest_id=ManifestId(manifest_id), verdict=data.verdict, reason=data.reason)
    with transaction(resources.sessions, actor, now) as session:
        return Decided(reviews.decide(session, actor, resources.keyring, command, now))


@get("/api/v1/log/checkpoint", operation_id="readCheckpoint", sync_to_thread=True, media_type=MediaType.TEXT, tags=["log"])
def read_checkpoint(actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> str:
    """Return the newest signed checkpoint of the log (C2SP)."""
    authorise(actor, Permission.EVIDENCE_READ)
    with resources.reads() as session:
        checkpoint = log.newest_checkpoint(session)
    if checkpoint is None:
        raise NotFound
    return checkpoint


@get("/api/v1/log/consistency", operation_id="readConsistency", sync_to_thread=True, media_type=MediaType.TEXT, tags=["log"])
def read_consistency(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], since: Annotated[int, QueryParameter(ge=1, le=2**53 - 1)]
) -> str:
    """Return the proof that the log of `since` leaves is a beginning of the present one: one base64 hash per line."""
    authorise(actor, Permission.EVIDENCE_READ)
    with resources.reads() as session:
        checkpoint = log.newest_checkpoint(session)
        size = parse_checkpoint(checkpoint).size if checkpoint is not None else 0
        if since > size:
            raise InvalidInput(pointer="/since", expected=f"at most {size}", got=str(since))
        path = log.consistency_path(session, since, size)
    return "".join(f"{_b64(one)}\n" for one in path)


@get("/api/v1/log/proof/{manifest_id:uuid}", operation_id="readProof", sync_to_thread=True, tags=["log"])
def read_proof(manifest_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> ProofView:
    """Return the receipts and inclusion proofs of one statement."""
    authorise(actor, Permission.EVIDENCE_READ)
    with resources.reads() as session:
        known = queries.statement(session, actor, ManifestId(manifest_id))
        received, examined = receipts.receipt_of(session, known.id), receipts.receipt_of(session, known.id, ReceiptKind.EXAMINED)
    return ProofView(
        receipt=received.jws if received else None, proof=received.proof if received else None,
        examined_receipt=examined.jws if examined else None, examined_proof=examined.proof if examined else None)


@get("/verify/keys", operation_id="readPublicKeys", sync_to_thread=True, tags=["verify"])
def read_keys(resources: NamedDependency[Resources], bank: Annotated[UUID | None, QueryParameter()] = None) -> KeysView:
    """Return our public keys of all times, and the trust file for the offline verifier.

    The trust file names keys and witnesses of the one `bank` asked for, of none without it: a stranger does not learn who our clients are.
    An id that is no bank's is answered like a bank without keys.
    """
    with resources.reads() as session:
        trust = msgspec.json.decode(commands.trust(session, resources.keyring, resources.origin, BankId(bank or NO_BANK)))
    return KeysView(origin=resources.origin, trust=trust, keys=tuple(
        KeyView(kid=one.kid, purpose=one.purpose, state=one.state.value, created_at=one.created_at, retired_at=one.retired_at, public=one.public)
        for one in resources.keyring.public_keys()))


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


ROUTES = [read_evidence, copy_evidence, decide, read_checkpoint, read_consistency, read_proof]
OPEN_ROUTES = [read_keys]
