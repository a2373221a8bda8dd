"""Reads of cases: who sees which, what stops one, and how it is shown. Personal values are masked unless a purpose is stated."""

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, and_, func, select, true
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record, record_read
from backend.auth.actors import Actor, Role
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.identity import age_on, character_pairs, masked_name, masked_number, masked_text
from backend.cases.layout import Column, masked_cell
from backend.cases.model import (
    OPEN_STATUSES,
    SUSPENDED_STATUSES,
    AddressKind,
    Bucket,
    CaseStatus,
    Confirmation,
    DebtorType,
    Field,
    GenderRule,
    ReadPurpose,
    Risk,
    Stop,
    today_of,
)
from backend.cases.tables import CaseAddressRow, CaseDecisionRow, CaseRow, CaseSearchRow, RepaymentRow
from backend.core.fen import Fen
from backend.core.ids import AddressId, BankId, BranchId, CaseId, StaffId
from backend.core.problems import InvalidInput, NotFound
from backend.keys.keyring import Keyring
from backend.keys.sealing import Sealer, sealer
from backend.keys.tables import CaseKeyRow
from backend.policies.model import DEFAULT_POLICY, Policy

_PROMISES_WAIT = SUSPENDED_STATUSES | {CaseStatus.RULED_FRAUD}
_CONFIRMATIONS: Mapping[Field, str] = {
    Field.CARD_NUMBER: "card", Field.AMOUNT: "amount", Field.AGE: "age", Field.IDENTITY: "identity", Field.OCCUPATION: "occupation",
}


class CaseSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of a list; name and identity number masked."""

    id: CaseId
    bank_id: BankId
    branch_id: BranchId
    bank_reference: str
    status: CaseStatus
    amount_fen: Fen
    amount_as_of_on: date
    days_past_due: int
    bucket: Bucket
    risk: Risk
    priority: int
    is_urgent: bool
    stops: tuple[Stop, ...]
    name: str
    id_number: str


class AddressView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One address; the street is masked."""

    id: AddressId
    kind: AddressKind
    street: str
    division_code: str | None
    timezone: str
    is_located: bool
    confidence_pct: int
    is_current: bool


class CaseDetail(CaseSummary, frozen=True, kw_only=True, rename="camel"):
    """One case with everything but its clear personal values."""

    principal_fen: Fen | None
    repaid_fen: Fen
    term_ends_on: date
    grade: str | None
    debtor_type: DebtorType | None
    gender_rule: GenderRule
    language: str
    age: int
    card_number: str
    phone: str | None
    has_occupation: bool
    confirmed: dict[Field, Confirmation]
    unconfirmed: tuple[Field, ...]
    assignee_id: StaffId | None
    addresses: tuple[AddressView, ...]


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """What a case is looked for by: exactly one of these."""

    id_number: str | None = None
    card_number: str | None = None
    phone: str | None = None
    name: str | None = None
    bank_reference: str | None = None


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """Return the condition on `CaseRow` that holds for what `actor` may see (SEC-01).

    A bank's person sees the bank's cases, the agency's people their branches'; who only collects by phone sees the cases allocated to them.
    """
    if actor.bank is not None:
        return CaseRow.bank_id == actor.bank
    if actor.sees_every_branch:
        return true()
    own_branches = CaseRow.branch_id.in_(actor.branches)
    if actor.roles == {Role.PHONE_COLLECTOR}:
        return and_(own_branches, CaseRow.assignee_id == actor.id)
    return own_branches


def open_for_collection(on: date) -> ColumnElement[bool]:
    """Return the condition on `CaseRow` that nothing stops its collection on a day; the twin of `stops_of`.

    Every query that leads to a door, a call or money joins on it, so that no one has to remember to withdraw anything.
    """
    return and_(
        CaseRow.status.in_(sorted(OPEN_STATUSES)), CaseRow.suspended_at.is_(None), CaseRow.vulnerable_at.is_(None), CaseRow.complaint_at.is_(None),
        CaseRow.hold_at.is_(None), CaseRow.recalled_at.is_(None), CaseRow.paid_at.is_(None), CaseRow.payment_claimed_at.is_(None),
        CaseRow.deceased_at.is_(None),
        CaseRow.term_ends_on >= on,
    )


def stops_of(row: CaseRow, on: date) -> frozenset[Stop]:
    """Return everything that stops a case's collection on a day; empty means that it may be collected."""
    found = {
        Stop.SUSPENDED: row.suspended_at is not None or row.status in SUSPENDED_STATUSES,
        Stop.DECEASED: row.deceased_at is not None,
        Stop.PAID: row.paid_at is not None,
        Stop.PAYMENT_CLAIMED: row.payment_claimed_at is not None,
        Stop.RECALLED: row.recalled_at is not None,
        Stop.TERM_OVER: row.term_ends_on < on,
        Stop.VULNERABLE: row.vulnerable_at is not None,
        Stop.COMPLAINT: row.complaint_at is not None,
        Stop.HOLD: row.hold_at is not None,
    }
    stops = {stop for stop, holds in found.items() if holds}
    if not stops and row.status not in OPEN_STATUSES:
        stops.add(Stop.CLOSED)
    return frozenset(stops)


def was_suspended(session: Session, case_id: UUID, at: datetime) -> bool:
    """Whether a case stood suspended at an instant, by its decisions: its row forgets a suspension that was lifted since."""
    last = select(CaseDecisionRow.to_status).where(CaseDecisionRow.case_id == case_id, CaseDecisionRow.at <= at)
    return session.scalar(last.order_by(CaseDecisionRow.at.desc(), CaseDecisionRow.id.desc()).limit(1)) in SUSPENDED_STATUSES


def suspensions_of(session: Session, case_ids: Collection[UUID]) -> dict[UUID, list[tuple[date, date | None]]]:
    """Return when cases stood suspended, oldest first, each from its first day to the day on which it went on; None where it has not."""
    told = select(CaseDecisionRow).where(CaseDecisionRow.case_id.in_(case_ids))
    rows = session.scalars(told.order_by(CaseDecisionRow.case_id, CaseDecisionRow.at, CaseDecisionRow.id))
    found: dict[UUID, list[tuple[date, date | None]]] = {}
    for row in rows:
        spans, on = found.setdefault(row.case_id, []), today_of(row.at)
        is_waiting = bool(spans) and spans[-1][1] is None
        if row.to_status in _PROMISES_WAIT and not is_waiting:
            spans.append((on, None))
        elif row.to_status not in _PROMISES_WAIT and is_waiting:
            spans[-1] = (spans[-1][0], on)
    return found


def is_open_for_collection(row: CaseRow, on: date) -> bool:
    """Whether nothing stops the case on a day."""
    return not stops_of(row, on)


def confirmations_of(row: CaseRow) -> dict[Field, Confirmation]:
    """Return the confirmed ones of the five, with source and day (CONT-02)."""
    found: dict[Field, Confirmation] = {}
    for field, column in _CONFIRMATIONS.items():
        source, on = getattr(row, f"confirmed_{column}_source"), getattr(row, f"confirmed_{column}_on")
        if source is not None and on is not None:
            found[field] = Confirmation(source, on)
    return found


def unconfirmed_of(row: CaseRow, on: date, policy: Policy = DEFAULT_POLICY) -> frozenset[Field]:
    """Return which of the five are empty, or not confirmed by a source that suffices and recently enough (CONT-02)."""
    good = {
        field for field, one in confirmations_of(row).items()
        if one.source in policy.confirmation_sources and (on - one.on).days <= policy.confirmed_days_max
    }
    if row.occupation is None:
        good.discard(Field.OCCUPATION)
    return frozenset(Field) - good


def case_of(session: Session, actor: Actor, case_id: UUID) -> CaseRow:
    """Return one case that `actor` may see.

    Raises:
        NotFound: there is none, or it is another's.
    """
    row = session.scalar(select(CaseRow).where(CaseRow.id == case_id, visible_to(actor)))
    if row is None:
        raise NotFound
    return row


def references_of(session: Session, actor: Actor, case_ids: Iterable[UUID]) -> dict[CaseId, str]:
    """Return the bank's references of cases that `actor` may see."""
    query = select(CaseRow.id, CaseRow.bank_reference).where(CaseRow.id.in_(sorted(set(case_ids))), visible_to(actor))
    return {CaseId(row.id): row.bank_reference for row in session.execute(query)}


def cases_of_batch(session: Session, actor: Actor, batch_id: UUID) -> tuple[CaseId, ...]:
    """Return the cases of a placement batch that `actor` may see. Raises `NotFound` when there is none."""
    found = session.scalars(select(CaseRow.id).where(CaseRow.batch_id == batch_id, visible_to(actor)).order_by(CaseRow.id)).all()
    if not found:
        raise NotFound
    return tuple(CaseId(one) for one in found)


def list_cases(
    session: Session, actor: Actor, keyring: Keyring, now: datetime, *, limit: int, after: UUID | None, status: CaseStatus | None = None
) -> list[CaseSummary]:
    """Return at most `limit` + 1 cases after a cursor, oldest first; the read is recorded with what the page shows (SEC-01)."""
    authorise(actor, Permission.CASE_READ)
    query = select(CaseRow).where(visible_to(actor))
    if status is not None:
        query = query.where(CaseRow.status == status)
    return _page(session, actor, keyring, now, query, limit=limit, after=after, purpose="list")


def search_cases(
    session: Session, actor: Actor, keyring: Keyring, sought: Sought, now: datetime, *, limit: int, after: UUID | None
) -> list[CaseSummary]:
    """Find cases by the keyed digest of a number or name; part of a name finds it from two neighbouring characters on.

    Raises:
        InvalidInput: Not exactly one thing is sought, or a name of one character.
    """
    authorise(actor, Permission.CASE_READ)
    given = {field: text for field, text in msgspec.structs.asdict(sought).items() if text}
    if len(given) != 1:
        raise InvalidInput(pointer="", expected="exactly one field", got=str(len(given)))
    (field, text), = given.items()
    query = select(CaseRow).where(visible_to(actor))
    if field == "bank_reference":
        query = query.where(CaseRow.bank_reference == text)
    elif field == "name":
        pairs = character_pairs(text)
        if not pairs:
            raise InvalidInput(pointer="/name", expected="two characters or more", got="1")
        for pair in pairs:
            query = query.where(_has_digest("name_pair", keyring.search_hmac("name_pair", pair)))
    else:
        plain = "".join(character for character in text if character.isalnum()).upper()
        query = query.where(_has_digest(field, keyring.search_hmac(field, plain)))
    return _page(session, actor, keyring, now, query, limit=limit, after=after, purpose="search")


def show_case(session: Session, actor: Actor, keyring: Keyring, case_id: UUID, now: datetime) -> CaseDetail:
    """Return one case, masked; the read is recorded (SEC-01, SEC-03)."""
    authorise(actor, Permission.CASE_READ)
    row = case_of(session, actor, case_id)
    record_read(session, actor, [row.id], now, "case")
    box = sealer(session, keyring, row.id)
    on = today_of(now)
    repaid = session.scalar(select(func.coalesce(func.sum(RepaymentRow.amount_fen), 0)).where(RepaymentRow.case_id == row.id))
    addresses = session.scalars(select(CaseAddressRow).where(CaseAddressRow.case_id == row.id).order_by(CaseAddressRow.id))
    birth_on = date.fromisoformat(box.open("cases.birth_on", row.birth_on))
    return CaseDetail(
        **msgspec.structs.asdict(_summary(row, box, on)),
        principal_fen=None if row.principal_fen is None else Fen(row.principal_fen), repaid_fen=Fen(int(repaid or 0)), term_ends_on=row.term_ends_on,
        grade=row.grade, debtor_type=row.debtor_type, gender_rule=row.gender_rule, language=row.language, age=age_on(birth_on, on),
        card_number=masked_number(box.open("cases.card_number", row.card_number)),
        phone=None if row.phone is None else masked_number(box.open("cases.phone", row.phone)),
        has_occupation=row.occupation is not None, confirmed=confirmations_of(row), unconfirmed=tuple(sorted(unconfirmed_of(row, on))),
        assignee_id=None if row.assignee_id is None else StaffId(row.assignee_id), addresses=tuple(_address_view(one, box) for one in addresses),
    )


class Unmaskable(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Clear values that somebody stated a purpose for."""

    name: str | None = None
    id_number: str | None = None
    card_number: str | None = None
    phone: str | None = None
    occupation: str | None = None
    birth_on: str | None = None


def unmask(
    session: Session, actor: Actor, keyring: Keyring, case_id: UUID, *, fields: frozenset[str], purpose: ReadPurpose, now: datetime
) -> Unmaskable:
    """Return clear values for a stated purpose, recorded field by field (SEC-03, SEC-05). Who calls may see the number to call.

    Raises:
        Forbidden: The role may not see a field in the clear.
        InvalidInput: No field, or an unknown one.
    """
    known = {field.name for field in msgspec.structs.fields(Unmaskable)}
    if not fields or fields - known:
        raise InvalidInput(pointer="/fields", expected=" | ".join(sorted(known)), got=f"{len(fields - known)} others")
    authorise(actor, Permission.CONTACT_RECORD if fields == {"phone"} else Permission.CASE_UNMASK)
    row = case_of(session, actor, case_id)
    box = sealer(session, keyring, row.id)
    record(session, actor, EventTag.UNMASKED, f"case:{row.id}", now, fields=sorted(fields), purpose=purpose.value)
    record_read(session, actor, [row.id], now, f"unmask:{purpose.value}")
    shown = {field: getattr(row, field) for field in fields}
    return Unmaskable(**{field: None if value is None else box.open(f"cases.{field}", value) for field, value in shown.items()})


def open_sealed(session: Session, keyring: Keyring, row: CaseRow, column: Column) -> str | None:
    """Open one sealed value of a case for a document or bundle; the caller records the read."""
    value = getattr(row, column.value)
    return None if value is None else sealer(session, keyring, row.id).open(f"cases.{column.value}", value)


def load_keys(session: Session, case_ids: Iterable[UUID]) -> list[CaseKeyRow]:
    """Load the keys of many cases at once; while the caller holds the list, `sealer` asks the database nothing."""
    wanted = list(case_ids)
    chunks = (wanted[start : start + 500] for start in range(0, len(wanted), 500))
    return [row for chunk in chunks for row in session.scalars(select(CaseKeyRow).where(CaseKeyRow.subject_id.in_(chunk)))]


def _has_digest(field: str, digest: bytes) -> ColumnElement[bool]:
    return select(CaseSearchRow.case_id).where(
        CaseSearchRow.case_id == CaseRow.id, CaseSearchRow.field == field, CaseSearchRow.hmac == digest
    ).exists()


def _page(
    session: Session, actor: Actor, keyring: Keyring, now: datetime, query: Select[CaseRow], *, limit: int, after: UUID | None, purpose: str
) -> list[CaseSummary]:
    if after is not None:
        query = query.where(CaseRow.id > after)
    rows = session.scalars(query.order_by(CaseRow.id).limit(limit + 1)).all()
    shown = rows[:limit]
    record_read(session, actor, [row.id for row in shown], now, purpose)
    keys = load_keys(session, [row.id for row in rows])
    assert len(keys) == len(rows)
    return [_summary(row, sealer(session, keyring, row.id), today_of(now)) for row in rows]


def _summary(row: CaseRow, box: Sealer, on: date) -> CaseSummary:
    return CaseSummary(
        id=CaseId(row.id), bank_id=BankId(row.bank_id), branch_id=BranchId(row.branch_id), bank_reference=row.bank_reference, status=row.status,
        amount_fen=Fen(row.amount_fen), amount_as_of_on=row.amount_as_of_on, days_past_due=row.days_past_due, bucket=row.bucket, risk=row.risk,
        priority=row.priority, is_urgent=row.is_urgent, stops=tuple(stop for stop in Stop if stop in stops_of(row, on)),
        name=masked_name(box.open("cases.name", row.name)), id_number=masked_cell(Column.ID_NUMBER, box.open("cases.id_number", row.id_number)),
    )


def _address_view(row: CaseAddressRow, box: Sealer) -> AddressView:
    return AddressView(
        id=AddressId(row.id), kind=row.kind, street=masked_text(box.open("case_addresses.street", row.street)), division_code=row.division_code,
        timezone=row.timezone, is_located=row.point is not None, confidence_pct=row.confidence_pct, is_current=row.is_current,
    )
