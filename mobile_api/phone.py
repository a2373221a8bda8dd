"""The reference phone: a small client with a real key, a durable queue and resumable uploads. It talks HTTP only.

It is the specification for a collectors' app and what the demo, the API tests and load tests drive. Whatever it captures
is signed, chained and written down before anything is sent; it is kept until the server's signed receipt verifies.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from uuid_utils import compat

from evidence.envelope import COSIGNED_KINDS, SignatureHeader, SignatureMember, SignerRole, assemble, check_shape, header_for, sign
from evidence.es256 import compact_peek, compact_sign, compact_verify
from evidence.facts import FACTS_BY_KIND, Facts
from evidence.keys import key_from_jwk, public_jwk
from evidence.manifest import (
    App,
    Datum,
    Integrity,
    Item,
    Manifest,
    NoFixReason,
    Position,
    Provider,
    Role,
    build_manifest,
    decode_manifest,
    encode_manifest,
)
from evidence.manifest import manifest_digest as digest_of
from evidence.times import format_utc as _utc
from mobile_api.phone_link import Link, Offline, Refused, is_final
from mobile_api.phone_notebook import Notebook, Piece, Statement
from mobile_api.phone_receipts import PinnedLog, check_examined, check_receipt
from mobile_api.phone_wallet import CashLeave, CashWish, TakeNothing, decide, taken_of, unbooked

EVENTS_PER_BATCH = 50
PIECE_BYTES = 256 * 1024
TUS, OFFSET_TYPE = "1.0.0", "application/offset+octet-stream"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A fix of the phone's receiver. Degrees, metres; `is_mock` as the platform says."""

    lon: float
    lat: float
    accuracy_m: float = 12.0
    datum: Datum = Datum.WGS84
    is_mock: bool = False


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """The visit that statements belong to, as the day bundle names it, and the partner beside this phone."""

    visit: str
    visit_version: int
    case: str
    bank: str
    partner: str
    partner_kid: str


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """One captured file. `started` and `ended` are the phone's clock; length in milliseconds for sound."""

    role: Role
    content: bytes
    media_type: str
    started: datetime
    ended: datetime
    duration_ms: int | None = None
    segment: int | None = None
    of: int | None = None


class SyncReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one synchronisation moved; `refused` holds the problems that re-sending cannot mend."""

    events: int = 0
    statements: int = 0
    files: int = 0
    bytes_sent: int = 0
    refused: tuple[dict[str, Any], ...] = ()
    is_offline: bool = False


class Phone:
    """One collector's phone. Not for several threads at once."""

    def __init__(
        self, link: Link, notebook: Notebook, *, staff_id: str, tenant: str, clock: Callable[[], datetime], model: str = "Reference Phone",
    ) -> None:
        self.link = link
        self.notebook = notebook
        self.staff_id = staff_id
        self.place: Place | None = None
        self._tenant = tenant
        self._clock = clock
        self._booted_at = clock()
        self._boot_id = f"boot-{compat.uuid7().hex[-12:]}"
        self._beacon: tuple[str, datetime] | None = None
        self._server_keys: dict[str, list[dict[str, Any]]] = {}
        self.pinned_log: PinnedLog | None = None
        self._app = App(id="org.fieldvisit.reference", version="1", build="0" * 64, os="Linux", model=model, integrity=Integrity.NONE)

    @property
    def kid(self) -> str:
        """The thumbprint of this phone's key."""
        return self.link.kid

    # -- Going online --------------------------------------------------------------------------------------------

    def enrol(self, code: str) -> str:
        """Enrol the phone's key with a one-time code, proving that it holds it; returns the device's state. Raises Refused."""
        offered = self.link.post_open("/mobile/v1/device-enrolments", {"code": code})
        statement = {"app": "fieldvisit", "challenge": offered["challenge"], "staff": offered["staffId"]}
        proof = compact_sign(statement, self.link.key, typ="device-enrolment+jws", kid=self.kid)
        enrolled = self.link.post_open("/mobile/v1/device-enrolments/complete", {"code": code, "jwk": public_jwk(self.link.key), "proof": proof})
        return str(enrolled["state"])

    def pin(self, server_keys: dict[str, list[dict[str, Any]]], log: PinnedLog | None = None) -> None:
        """Pin the server's public keys by purpose (lists of `{kid, jwk}`) and its log's origin and key. They come with the app, not by network."""
        self._server_keys, self.pinned_log = server_keys, log

    def fetch_beacon(self) -> None:
        """Fetch a signed time statement; later statements name its digest and their distance from it."""
        token = self.link.call("GET", f"/mobile/v1/beacon?nonce={compat.uuid7().hex}").json()["beacon"]
        compact_verify(token, self.resolver("beacon"), typ="beacon+jws")
        self._beacon = (hashlib.sha256(token.encode()).hexdigest(), self._clock())

    def fetch_bundle(self, on: str) -> dict[str, Any]:
        """Fetch, verify and keep the day's bundle. Raises Offline, Refused, or an evidence error when it is not the server's."""
        token = self.link.call("GET", f"/mobile/v1/bundle?on={on}").json()["bundle"]
        _, bundle = compact_verify(token, self.resolver("bundle"), typ="day-bundle+jws")
        self.notebook.note("bundle", token)
        self.notebook.mark_booked(bundle["cash"]["booked"])  # type: ignore[index, arg-type, call-overload]
        return dict(bundle)

    def bundle(self) -> dict[str, Any] | None:
        """Return the bundle kept on the phone."""
        token = self.notebook.noted("bundle")
        return dict(compact_peek(token, "day-bundle+jws")[1]) if token else None

    # -- Events --------------------------------------------------------------------------------------------------

    def tell(self, kind: str, body: dict[str, Any], *, at: datetime | None = None) -> str:
        """Write down a fact to be sent; returns its id."""
        return str(self._write_event(kind, "fact", body, at)["id"])

    def ask(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask for leave now and return the answer. Nothing is queued: leave is worth something only while it is asked.

        Raises:
            Offline: no answer came, so there is no leave.
            Refused: with every rule that it would break.
        """
        answer: dict[str, Any] = self.link.call("POST", "/mobile/v1/events", json=self._envelope(kind, "intent", body, None)).json()["answer"]
        return answer

    def tell_now(self, kind: str, body: dict[str, Any], *, at: datetime | None = None) -> dict[str, Any]:
        """Write down a fact, send it at once and return the answer. Raises Offline (it stays queued) or Refused."""
        envelope = self._write_event(kind, "fact", body, at)
        answer: dict[str, Any] = self.link.call("POST", "/mobile/v1/events", json=envelope).json()["answer"]
        self.notebook.settle_event(envelope["id"], answer=answer)
        return answer

    def may_take(self, wish: CashWish, *, at: datetime | None = None) -> CashLeave:
        """Decide without any server whether money may be taken now, and under which number. Raises TakeNothing with every reason."""
        bundle = self.bundle()
        if bundle is None:
            raise TakeNothing(())
        return decide(bundle, self.kid, self.notebook.taken(), wish, at or self._clock())

    def unsynced_fen(self) -> int:
        """Return what the pair has taken as far as this phone knows and the kept bundle's figures do not contain."""
        bundle = self.bundle()
        return sum(one.amount_fen for one in unbooked(bundle["cash"] if bundle else {"booked": ()}, self.notebook.taken()))

    # -- Signed statements ---------------------------------------------------------------------------------------

    def state(self, door: Door, facts: Facts, captures: Sequence[Capture] = (), *, at: datetime | None = None) -> str:
        """Sign a statement, write it down with its files and return its digest. Kinds that need two are then signed by the partner."""
        return self.state_items(door, facts, [(self._describe(capture), capture) for capture in captures], at)

    def state_items(self, door: Door, facts: Facts, files: Sequence[tuple[Item, Capture | None]], at: datetime | None = None) -> str:
        """Sign and write down; an item without a capture rests at the server already."""
        kind, (seq, prev) = next(kind for kind, known in FACTS_BY_KIND.items() if type(facts) is known), self.notebook.next_link()
        clocks, is_due_twice = self.clocks(captured_at := at or self._clock()), kind in COSIGNED_KINDS
        manifest = build_manifest(
            manifest_id=str(compat.uuid7()), tenant=self._tenant, bank=door.bank, case=door.case, visit=door.visit, visit_version=door.visit_version,
            kind=kind, device=self.kid, actor=self.staff_id, cosigner_device=door.partner_kid if is_due_twice else None,
            cosigner=door.partner if is_due_twice else None, seq=seq, prev=prev, captured=clocks["at"], monotonic_ms=clocks["monotonic_ms"],
            boot_id=self._boot_id, beacon=clocks["beacon"], beacon_age_ms=clocks["beacon_age_ms"], clock_offset_ms=None,
            position=self._position(captured_at), no_fix_reason=None if self.place else NoFixReason.NO_SIGNAL,
            items=tuple(item for item, _ in files), app=self._app, facts=facts,
        )
        payload = encode_manifest(manifest)
        digest = digest_of(payload)
        envelope = assemble(payload, [sign(payload, self.link.key, header_for(manifest))])
        kept = Statement(digest=digest, manifest_id=manifest.manifest_id, envelope=envelope, is_complete=not is_due_twice, answer=None, receipt=None)
        self.notebook.add_statement(
            kept, seq, [(item.item_id, one.content, one.media_type) for item, one in files if one is not None], is_due_twice=is_due_twice,
            taken=taken_of(facts, digest, is_own=True),
        )
        return digest

    def clocks(self, at: datetime | None = None) -> dict[str, Any]:
        """Return the phone's clocks: wall, monotonic since its boot, its beacon and the age of that."""
        at, (beacon, held_at) = at or self._clock(), self._beacon or (None, None)
        age_ms = _milliseconds(at - held_at) if held_at else None
        return {"at": _utc(at), "monotonic_ms": _milliseconds(at - self._booted_at), "beacon": beacon, "beacon_age_ms": age_ms}

    def shown(self, digest: str) -> bytes:
        """Return the payload that the partner's phone reads (by QR, or relayed) before it signs."""
        statement = self.notebook.statement(digest)
        assert statement is not None, digest
        return check_shape(statement.envelope).payload

    def witness(self, payload: bytes, *, at: datetime | None = None, shown: Sequence[SignatureMember] = ()) -> SignatureMember:
        """Sign a partner's statement as its witness: own time, place and link. The envelope is kept, with the signature `shown` beside it.

        Raises:
            ValueError: this phone is not the partner that the statement names.
        """
        manifest = decode_manifest(payload)
        if (manifest.cosigner_device, manifest.cosigner) != (self.kid, self.staff_id):
            raise ValueError("the statement names another partner")
        seq, prev = self.notebook.next_link()
        header = SignatureHeader(
            kid=self.kid, role=SignerRole.WITNESS, at=_utc(at or self._clock()), seq=seq, prev=prev, pos=self._header_position(manifest),
        )
        member = sign(payload, self.link.key, header)
        self.notebook.add_witnessed(seq, digest_of(payload), manifest.manifest_id, assemble(payload, [*shown, member]))
        if taken := taken_of(manifest.facts, digest_of(payload), is_own=False):
            self.notebook.add_taken(taken)
        return member

    def add_witness(self, digest: str, member: SignatureMember) -> None:
        """Put the partner's signature on a statement."""
        statement = self.notebook.statement(digest)
        assert statement is not None, digest
        shape = check_shape(statement.envelope)
        self.notebook.set_envelope(digest, assemble(shape.payload, [*shape.signatures, member]))

    # -- Synchronising -------------------------------------------------------------------------------------------

    def sync(self, *, events_too: bool = True) -> SyncReport:
        """Send what waits: events in order, then statements, then files from where they were cut. Safe at any time, any number of times."""
        events = statements = files = sent = 0
        refused: list[dict[str, Any]] = []
        try:
            if events_too:
                events = self._send_events(refused)
            for statement in self.notebook.waiting_statements():
                statements += self._send_statement(statement, refused)
            for piece in self.notebook.waiting_pieces():
                sent += self._upload(piece)
                files += 1
            for statement in self.notebook.waiting_statements():
                self._fetch_receipt(statement)
            is_offline = False
        except Offline:
            is_offline = True
        return SyncReport(events=events, statements=statements, files=files, bytes_sent=sent, refused=tuple(refused), is_offline=is_offline)

    def receipts(self) -> dict[str, str | None]:
        """Return the verified receipt of each statement, None where none has come yet: only then may the phone delete it."""
        return {statement.digest: statement.receipt for statement in self.notebook.statements()}

    def is_examined(self, digest: str) -> bool:
        """Fetch and verify a statement's `examined` receipt; False while there is none. Raises Offline, Refused or as `check_examined`."""
        payload = self.shown(digest)
        assert self.pinned_log is not None, "a log is pinned"
        told = self.link.call("GET", f"/mobile/v1/receipts/{decode_manifest(payload).manifest_id}").json()
        if receipt := told["examinedReceipt"]:
            check_examined(payload, receipt, (told["examinedProof"], told["examinedSha256"]), self.resolver("receipt"), self.pinned_log)
        return bool(receipt)

    def _send_events(self, refused: list[dict[str, Any]]) -> int:
        settled = 0
        while waiting := self.notebook.waiting_events()[:EVENTS_PER_BATCH]:
            results = self.link.call("POST", "/mobile/v1/event-batches", json={"events": waiting}).json()["results"]
            for result in results:
                if result["status"] < 300:
                    self.notebook.settle_event(result["id"], answer=result["answer"])
                elif is_final(result["status"], result["problem"]):
                    self.notebook.settle_event(result["id"], problem=result["problem"])
                    refused.append(result["problem"])
                else:
                    return settled
                settled += 1
        return settled

    def _send_statement(self, statement: Statement, refused: list[dict[str, Any]]) -> int:
        if statement.answer is not None and statement.answer.get("state") == "complete":
            return 0
        try:
            answer = self.link.call(
                "POST", "/mobile/v1/evidence-manifests", content=statement.envelope, headers={"Content-Type": "application/jose+json"}
            ).json()
        except Refused as refusal:
            if refusal.is_final:
                self.notebook.refuse_statement(statement.digest, refusal.problem)
                refused.append(refusal.problem)
            return 0
        if answer.get("receipt"):
            self._check_receipt(statement, answer["receipt"], answer["proof"])
        self.notebook.settle_statement(statement.digest, answer)
        return 1

    def _fetch_receipt(self, statement: Statement) -> None:
        if statement.answer is None or not statement.is_complete:
            return
        try:
            answer = self.link.call("GET", f"/mobile/v1/receipts/{statement.manifest_id}").json()
        except Refused:
            return
        if answer.get("receipt"):
            self._check_receipt(statement, answer["receipt"], answer["proof"])
            self.notebook.settle_statement(statement.digest, {**statement.answer, "receipt": answer["receipt"], "items": []})

    def _check_receipt(self, statement: Statement, receipt: str, proof: str) -> None:
        check_receipt(check_shape(statement.envelope).payload, receipt, proof, self.resolver("receipt"), self.pinned_log)

    def _upload(self, piece: Piece) -> int:
        """Upload one file by tus 1.0 from the offset that the server holds; returns the bytes sent."""
        assert piece.url is not None
        authority = {"Authorization": f"Bearer {piece.token}", "Tus-Resumable": TUS}
        path = "/" + piece.url.split("/", 3)[-1] if "://" in piece.url else piece.url
        sent, offset = 0, self._offset(path, authority)
        while offset < len(piece.content):
            part = piece.content[offset:offset + PIECE_BYTES]
            checksum = base64.b64encode(hashlib.sha256(part).digest()).decode()
            headers = {**authority, "Upload-Offset": str(offset), "Content-Type": OFFSET_TYPE, "Upload-Checksum": f"sha256 {checksum}"}
            answer = self.link.send("PATCH", path, content=part, headers=headers)
            if answer.status_code in (409, 460, 423):
                offset = self._offset(path, authority)
                continue
            if not answer.is_success:
                raise Refused(answer.status_code, answer.json())
            sent += len(part)
            offset = int(answer.headers["upload-offset"])
        self.notebook.settle_piece(piece.digest, piece.item_id)
        return sent

    def _offset(self, path: str, authority: dict[str, str]) -> int:
        answer = self.link.send("HEAD", path, headers=authority)
        if not answer.is_success:
            raise Refused(answer.status_code, {"type": f"/problems/{answer.headers.get('x-problem', 'upload-gone')}", "title": answer.reason_phrase})
        return int(answer.headers["upload-offset"])

    def _write_event(self, kind: str, mode: str, body: dict[str, Any], at: datetime | None) -> dict[str, Any]:
        envelope = self._envelope(kind, mode, body, at)
        self.notebook.add_event(envelope["id"], envelope["seq"], envelope)
        return envelope

    def _envelope(self, kind: str, mode: str, body: dict[str, Any], at: datetime | None) -> dict[str, Any]:
        captured_at = at or self._clock()
        clocks: dict[str, Any] = {"wall": _utc(captured_at), "monotonicMs": _milliseconds(captured_at - self._booted_at), "bootId": self._boot_id}
        if self._beacon is not None:
            clocks |= {"beacon": self._beacon[0], "beaconAgeMs": _milliseconds(captured_at - self._beacon[1])}
        return {"id": str(compat.uuid7()), "kind": kind, "mode": mode, "seq": self.notebook.next_event_seq(), "clocks": clocks, "body": body}

    def _describe(self, capture: Capture) -> Item:
        return Item(
            item_id=f"item-{compat.uuid7().hex}", role=capture.role, sha256=hashlib.sha256(capture.content).hexdigest(), size=len(capture.content),
            media_type=capture.media_type, started=_utc(capture.started), ended=_utc(capture.ended), duration_ms=capture.duration_ms,
            segment=capture.segment, of=capture.of,
        )

    def _position(self, at: datetime) -> Position | None:
        if self.place is None:
            return None
        return Position(
            lat_e7=round(self.place.lat * 10**7), lon_e7=round(self.place.lon * 10**7), datum=self.place.datum,
            accuracy_cm=round(self.place.accuracy_m * 100), fix_time=_utc(at), provider=Provider.GPS, mock=self.place.is_mock,
        )

    def _header_position(self, manifest: Manifest) -> Any:
        own = self._position(self._clock())
        return header_for(msgspec.structs.replace(manifest, position=own, no_fix_reason=None if own else NoFixReason.NO_SIGNAL)).pos

    def resolver(self, purpose: str) -> Callable[[str], Any]:
        """Return the pinned keys of a purpose, by kid."""
        return {entry["kid"]: key_from_jwk(entry["jwk"]) for entry in self._server_keys.get(purpose, [])}.get


def sign_together(first: Phone, second: Phone, digest: str, *, at: datetime | None = None) -> None:
    """Let the partner's phone read a statement and sign it, as two phones held together do by QR code."""
    shape = check_shape(next(one.envelope for one in first.notebook.statements() if one.digest == digest))
    first.add_witness(digest, second.witness(shape.payload, at=at, shown=shape.signatures))


def _milliseconds(elapsed: Any) -> int:
    return max(0, int(elapsed.total_seconds() * 1000))
