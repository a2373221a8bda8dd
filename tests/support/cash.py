"""Money at a door: a dispatched visit of bilal and dong, the bank's word, a leased book, receipts that both signed."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session

from backend.cash import actions, authorisations, books
from backend.cash.bank_files import BankFile, amount_of
from backend.cash.handover_signatures import HANDOVER_TYP, handover_words
from backend.cash.model import CashIntent, CashRequest, Channel, Circumstance, Collected, Grant, Instrument, PayerRelation
from backend.cash.movements import Deposit, Handover
from backend.cash.tokens import TYP
from backend.core.fen import Fen
from backend.core.ids import CaseId, DepositId, ManifestId, VisitId, new_id
from backend.exhibits.actions import accept
from backend.exhibits.model import Accepted, Intake, VisitFacts
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import ManifestRow
from backend.keys.keyring import Keyring
from backend.plans.model import PlanStatus, StopKind
from backend.plans.tables import PlanRow, RouteRow, StopRow
from backend.policies.model import DEFAULT_POLICY, Policy
from backend.visits.model import VisitStatus
from backend.visits.tables import VisitRow
from evidence.canonical import JsonObject
from evidence.capitals import to_capitals
from evidence.es256 import compact_sign
from evidence.facts import CashReceiptFacts, Denomination, Kind, VisitCloseFacts, VoidFacts
from evidence.facts import Instrument as StatedInstrument
from evidence.facts import PayerRelation as StatedPayer
from evidence.manifest import Role
from tests.support.cases import approved_request
from tests.support.exhibits import Handset, close_facts, item, signed_twice, visit_facts
from tests.support.world import ACCOUNT_NUMBER, Bank, Person, World

PREVIOUS_NONE = "0" * 64


@dataclass
class Door:
    """A dispatched visit with everything that cash needs. `taken_at` is when the money changes hands."""

    session: Session
    keyring: Keyring
    made: World
    case_id: CaseId
    visit_id: VisitId
    bank: Bank
    first: Handset
    second: Handset
    policy: Policy = DEFAULT_POLICY
    previous: str = PREVIOUS_NONE
    facts: VisitFacts = field(init=False)

    def __post_init__(self) -> None:
        self.facts = visit_facts(self.made, self.case_id, visit_id=self.visit_id, bank_id=self.bank.id)

    @property
    def now(self) -> datetime:
        """The test's present."""
        return self.made.now

    @property
    def taken_at(self) -> datetime:
        """Five minutes ago."""
        return self.now - timedelta(minutes=5)

    def request(self, *, cap_fen: int = 500_000, at: datetime | None = None, actor: Person | None = None, **changes: Any) -> UUID:
        """Ask the bank, half an hour ago."""
        asker = (actor or self.made.bilal).actor
        request_id = new_id()
        sealed = authorisations.seal_explanation(self.session, asker, self.keyring, self.case_id, "no bank within 60 km")
        members: dict[str, Any] = {
            "request_id": request_id, "case_id": self.case_id, "visit_id": self.visit_id, "circumstance": Circumstance.REMOTE_AREA,
            "sealed_explanation": sealed, "is_explained": True, "cap_requested_fen": Fen(cap_fen),
        }
        return authorisations.request_authorisation(
            self.session, asker, CashRequest(**(members | changes)), self.policy, at or self.now - timedelta(minutes=29))

    def claims(self, request_id: UUID, *, cap_fen: int = 500_000, **changes: Any) -> JsonObject:
        """Return what a bank signs for a request."""
        issued_at = self.now - timedelta(minutes=20)
        members: JsonObject = {
            "iss": str(self.bank.id), "jti": f"A-{request_id.hex}", "agency": "fieldvisit", "request": str(request_id), "case": str(self.case_id),
            "devices": sorted([self.first.kid, self.second.kid]), "instruments": ["cash"], "cap_fen": cap_fen, "max_collections": 3,
            "circumstance": "remote_area", "account_digest": self.bank.account_digest, "iat": int(issued_at.timestamp()),
            "exp": int((issued_at + timedelta(hours=24)).timestamp()),
        }
        return members | changes

    def token(self, claims: JsonObject, *, bank: Bank | None = None, typ: str = TYP) -> str:
        """Sign with the bank's own key."""
        signer = bank or self.bank
        return compact_sign(claims, signer.authoriser_key, typ=typ, kid=signer.authoriser_kid)

    def authorise(self, *, cap_fen: int = 500_000, at: datetime | None = None, **changes: Any) -> str:
        """Ask and be granted, twenty minutes ago; returns the jti."""
        request_id = self.request(cap_fen=cap_fen)
        token = self.token(self.claims(request_id, cap_fen=cap_fen, **changes))
        granted_at = at or self.now - timedelta(minutes=19)
        command = Grant(request_id=request_id, agency="fieldvisit", token=token)
        return authorisations.grant(self.session, self.made.mo.actor, command, self.policy, granted_at)

    def lease(self, count: int = 5, *, handset: Handset | None = None, serial: str | None = None) -> tuple[str, ...]:
        """Sign a book out to bilal's phone; returns its numbers."""
        command = books.Lease(
            serial=serial or f"B{new_id().hex[-10:].upper()}", bank_id=self.bank.id, device=(handset or self.first).kid, first_number=1,
            last_number=count)
        leased = books.lease(self.session, self.made.kai.actor, command, self.now - timedelta(hours=2))
        return tuple(one.number for one in leased)

    def intent(self, number: str, amount_fen: int, jti: str | None, **changes: Any) -> CashIntent:
        """Return the question *may we take this*."""
        members: dict[str, Any] = {
            "case_id": self.case_id, "visit_id": self.visit_id, "authorisation_jti": jti, "receipt_number": number, "amount_fen": Fen(amount_fen),
            "instrument": Instrument.CASH, "payer": PayerRelation.DEBTOR, "cosigner_device": self.second.kid,
        }
        return CashIntent(**(members | changes))

    def statement(self, number: str, amount_fen: int, jti: str | None, *, at: datetime | None = None, **changes: Any) -> Accepted:
        """Sign a receipt on both phones and take it in as evidence; its time is bounded to the minute."""
        moment = at or self.taken_at
        members: dict[str, Any] = {
            "receipt_number": number, "amount_fen": amount_fen, "amount_capitals": to_capitals(amount_fen), "instrument": StatedInstrument.CASH,
            "payer": StatedPayer.DEBTOR, "payer_name_sha256": hashlib.sha256(number.encode()).hexdigest(), "authorisation_jti": jti,
            "previous_receipt": self.previous, "denominations": (Denomination(face_fen=1, count=amount_fen),) if amount_fen <= 100_000
            else (Denomination(face_fen=100, count=amount_fen // 100),),
        }
        items = changes.pop("items", tuple(
            item(f"{role} of {number} {new_id()}".encode(), role, at=moment) for role in (Role.COUNTERFOIL, Role.PAYER_SIGNATURE)))
        accepted = self._taken(Kind.CASH_RECEIPT, CashReceiptFacts(**(members | changes)), items, moment)
        self.previous = accepted.digest
        return accepted

    def another(self, accepted: Accepted, **facts: Any) -> Accepted:
        """Lay down a statement like `accepted` with other facts, as a row alone: for races, where who signed is not the question."""
        row = self.session.get_one(ManifestRow, accepted.manifest_id)
        digest, manifest_id = hashlib.sha256(new_id().bytes).hexdigest(), new_id()
        columns = {column.key: getattr(row, column.key) for column in ManifestRow.__table__.columns}
        self.session.add(ManifestRow(**(columns | {"id": manifest_id, "digest": digest})))
        self.session.flush()
        stated = msgspec.structs.replace(accepted.manifest, facts=msgspec.structs.replace(accepted.manifest.facts, **facts))
        return msgspec.structs.replace(accepted, manifest_id=ManifestId(manifest_id), digest=digest, manifest=stated)

    def void_statement(self, number: str, *, at: datetime | None = None, **changes: Any) -> Accepted:
        """Sign a void on both phones."""
        moment = at or self.taken_at
        members: dict[str, Any] = {"receipt_number": number, "reason": "spoiled", "previous_receipt": self.previous, "all_parts_kept": True}
        items = changes.pop("items", (item(f"void {number}".encode(), Role.COUNTERFOIL, at=moment),))
        return self._taken(Kind.VOID, VoidFacts(**(members | changes)), items, moment)

    def close_statement(self) -> Accepted:
        """Sign the close of the visit on both phones."""
        return self._taken(Kind.VISIT_CLOSE, close_facts(self.made, ()), (), self.now)

    def collect(self, accepted: Accepted, *, now: datetime | None = None) -> Collected:
        """Book a statement."""
        done = actions.collect(self.session, self.made.bilal.on_phone, accepted, self.policy, now or self.now)
        assert done is not None
        return done

    def take(self, number: str, amount_fen: int, jti: str | None, **changes: Any) -> Collected:
        """Sign and book in one go."""
        return self.collect(self.statement(number, amount_fen, jti, **changes))

    def deposit(self, amount_fen: int, *numbers: str, **changes: Any) -> Deposit:
        """Return a deposit of these receipts."""
        members: dict[str, Any] = {
            "deposit_id": DepositId(new_id()), "bank_id": self.bank.id, "account_digest": self.bank.account_digest, "channel": Channel.COUNTER,
            "slip_reference": f"SLIP-{new_id().hex[-8:]}", "slip_sha256": new_id().hex * 2, "amount_fen": Fen(amount_fen), "deposited_at": self.now,
            "receipt_numbers": numbers,
        }
        return Deposit(**(members | changes))

    def statement_file(self, *lines: tuple[str, str], raw: bytes | None = None, **changes: Any) -> BankFile:
        """Return the bank's statement: slip references and yuan of its designated account, with the totals that it declares."""
        content = raw if raw is not None else statement_csv(*lines)
        members: dict[str, Any] = {
            "bank_id": self.bank.id, "content": content, "row_count": len(lines),
            "amount_total_fen": Fen(sum(amount_of(yuan) or 0 for _, yuan in lines)),
        }
        return BankFile(**(members | changes))

    def handover(self, giver: Person, taker: Person, amount_fen: int, *, signs: bool = True, **changes: Any) -> Handover:
        """Return a hand-over that both signed, or the giver alone."""
        members: dict[str, Any] = {
            "handover_id": new_id(), "bank_id": self.bank.id, "giver_id": giver.id, "taker_id": taker.id, "amount_fen": Fen(amount_fen),
            "handed_at": self.now, "giver_token": "", "taker_token": None,
        }
        command = Handover(**(members | changes))
        words = handover_words(command)
        return msgspec.structs.replace(
            command, giver_token=signed_words(giver, words), taker_token=signed_words(taker, words) if signs else None)

    def _taken(self, kind: Kind, facts: CashReceiptFacts | VoidFacts | VisitCloseFacts, items: tuple[Any, ...], at: datetime) -> Accepted:
        payload = self.first.payload(self.made, self.facts, kind, facts, partner=self.second, at=at, items=items)
        statement = open_statement(self.session, signed_twice(self.first, self.second, payload, at), self.now)
        intake = Intake(visit=self.facts, policy=self.policy, keyring=self.keyring, tenant="fieldvisit")
        accepted = accept(self.session, self.made.bilal.on_phone, statement, intake, self.now)
        return msgspec.structs.replace(
            accepted, manifest_id=ManifestId(accepted.manifest_id), captured_lower_at=at - timedelta(seconds=30),
            captured_upper_at=at + timedelta(seconds=30), captured_at=at)


def statement_csv(*lines: tuple[str, str]) -> bytes:
    """Write a statement of bank A's account."""
    return "\n".join(["account,booked_on,reference,amount", *(f"{ACCOUNT_NUMBER},2026-11-27,{ref},{yuan}" for ref, yuan in lines)]).encode()


def signed_words(person: Person, words: JsonObject) -> str:
    """Sign the words of a hand-over with a person's phone."""
    assert person.phone is not None
    return compact_sign(words, person.phone.key, typ=HANDOVER_TYP, kid=person.phone.kid)


def door(session: Session, keyring: Keyring, made: World, serial: int = 1) -> Door:
    """Make a dispatched visit of bilal and dong, reached by the real way up to the approval and by rows from there on."""
    approved = approved_request(session, keyring, made, serial)
    ids = {name: new_id() for name in ("plan", "route", "stop", "visit")}
    session.add(PlanRow(
        id=ids["plan"], branch_id=made.sh1, on=made.today, version=serial, status=PlanStatus.READY, seed=1, search_s=1,
        policy_version=DEFAULT_POLICY.version, instance={}, instance_digest="0" * 64, plan={}, plan_digest="0" * 64, contributions=[], cost=0,
        failure=None, requested_by=made.farid.id, requested_at=made.now, solved_at=made.now,
    ))
    session.flush()
    session.add(RouteRow(
        id=ids["route"], plan_id=ids["plan"], number=1, collector_a=made.bilal.id, collector_b=made.dong.id, departure_at=made.now,
        return_at=made.now))
    session.flush()
    session.add(StopRow(
        id=ids["stop"], route_id=ids["route"], position=1, kind=StopKind.VISIT, visit_id=ids["visit"], request_id=approved.request_id,
        case_id=approved.case.id, bank_hours_id=None, arrives_at=made.now, starts_at=made.now, ends_at=made.now))
    session.flush()
    session.add(VisitRow(
        id=ids["visit"], version=1, case_id=approved.case.id, request_id=approved.request_id, stop_id=ids["stop"], address_id=approved.address.id,
        bank_id=made.bank_a.id, branch_id=made.sh1, on=made.today, timezone="Asia/Shanghai", collector_a=made.bilal.id, collector_b=made.dong.id,
        status=VisitStatus.STARTED, is_entered=None, dispatched_at=made.now - timedelta(hours=3), started_at=made.now - timedelta(hours=1),
        policy_version=DEFAULT_POLICY.version))
    session.flush()
    return Door(
        session=session, keyring=keyring, made=made, case_id=CaseId(approved.case.id), visit_id=VisitId(ids["visit"]), bank=made.bank_a,
        first=Handset(made.bilal), second=Handset(made.dong))
