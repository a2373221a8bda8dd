"""Reads of contacts, and the facts that the guard judges."""

from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import ColumnElement, case, func, or_, select
from sqlalchemy.orm import Session

from backend.audit.breaches import breaches_of
from backend.audit.record import record_read
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.model import AGENCY_ZONE, AddressKind
from backend.cases.queries import case_of, stops_of, unconfirmed_of
from backend.cases.tables import CaseAddressRow, CaseRow
from backend.contacts.model import FAILED, Attitude, Channel, ContactFacts, Person, Purpose, Result, Standing
from backend.contacts.tables import ContactRecordRow, HourAgreementRow, ThirdPartyRow, WorkNumberRow
from backend.core.fen import Fen
from backend.core.ids import ContactId, StaffId, VisitId
from backend.keys.keyring import Keyring
from backend.keys.sealing import sealer
from backend.policies.model import Policy


class ContactView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One contact as its case's readers see it."""

    id: ContactId
    visit_id: VisitId | None
    channel: Channel
    at: datetime
    by: StaffId
    person: Person
    purpose: Purpose
    result: Result | None
    attitude: Attitude | None
    feedback: str | None
    next_step: str | None
    promised_fen: Fen | None
    promised_on: date | None
    standing: Standing
    rules: tuple[str, ...]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard cannot know from the case: the other person, and the number used."""

    person: Person = Person.DEBTOR
    third_party_hmac: bytes | None = None
    work_number: str | None = None


def zone_of(session: Session, case_id: UUID) -> ZoneInfo:
    """Return the time zone of a case's address in use: the residence before others; the agency's where there is none."""
    name = session.scalar(
        select(CaseAddressRow.timezone).where(CaseAddressRow.case_id == case_id, CaseAddressRow.is_current)
        .order_by(case((CaseAddressRow.kind == AddressKind.RESIDENCE, 0), else_=1), CaseAddressRow.id).limit(1)
    )
    return AGENCY_ZONE if name is None else ZoneInfo(name)


def counts_to_cap() -> ColumnElement[bool]:
    """Return the condition on `ContactRecordRow` that it counts among a debtor's contacts: every visit, and whatever is not a third party's."""
    return or_(ContactRecordRow.person != Person.THIRD_PARTY, ContactRecordRow.channel == Channel.VISIT)


def contacts_today(session: Session, row: CaseRow, local_on: date) -> int:
    """Count the contacts with a debtor on a local day over all channels, and over all banks that placed this debtor (CONT-05)."""
    return session.scalar(
        select(func.count()).select_from(ContactRecordRow).join(CaseRow, CaseRow.id == ContactRecordRow.case_id)
        .where(CaseRow.debtor_hmac == row.debtor_hmac, ContactRecordRow.local_on == local_on, counts_to_cap())
    ) or 0


def failed_contacts(session: Session, case_id: UUID) -> int:
    """Count the contacts of a case that led nowhere: they speak for a visit (VIS-15)."""
    return session.scalar(
        select(func.count()).select_from(ContactRecordRow)
        .where(ContactRecordRow.case_id == case_id, ContactRecordRow.result.in_(sorted(FAILED)), ContactRecordRow.channel == Channel.PHONE)
    ) or 0


def is_hour_agreed(session: Session, case_id: UUID, from_at: datetime, to_at: datetime | None = None) -> bool:
    """Whether one recorded agreement with the cardholder covers an instant, or a whole time (CONT-04)."""
    found = session.scalar(
        select(HourAgreementRow.id).where(
            HourAgreementRow.case_id == case_id, HourAgreementRow.from_at <= from_at, HourAgreementRow.to_at >= (to_at or from_at)
        ).limit(1)
    )
    return found is not None


def contact_facts(session: Session, row: CaseRow, channel: Channel, at: datetime, policy: Policy, evidence: Evidence | None = None) -> ContactFacts:
    """Gather what `judge_contact` reads about a contact with a case at an instant; whoever records it locks the debtor first."""
    known = evidence or Evidence()
    local_at = at.astimezone(zone_of(session, row.id))
    is_third = known.person is Person.THIRD_PARTY
    return ContactFacts(
        channel=channel, local_at=local_at, is_hour_agreed=is_hour_agreed(session, row.id, at),
        contacts_today=0 if is_third else contacts_today(session, row, local_at.date()),
        unconfirmed=unconfirmed_of(row, local_at.date(), policy), stops=stops_of(row, local_at.date()), person=known.person,
        is_ceased=known.third_party_hmac is not None and _is_ceased(session, row, known.third_party_hmac),
        is_work_number=known.work_number is not None and is_work_number(session, row.branch_id, known.work_number, at),
    )


def is_work_number(session: Session, branch_id: UUID, number: str, at: datetime) -> bool:
    """Whether a number was a registered work number of a branch at an instant (CONT-07)."""
    found = session.scalar(select(WorkNumberRow).where(WorkNumberRow.number == number, WorkNumberRow.branch_id == branch_id))
    return found is not None and found.registered_at <= at and (found.retired_at is None or at < found.retired_at)


def list_contacts(
    session: Session, actor: Actor, keyring: Keyring, case_id: UUID, now: datetime, *, limit: int, after: UUID | None
) -> list[ContactView]:
    """Return at most `limit` + 1 contacts of a case after a cursor, oldest first; the read is recorded (SEC-01). Raises `NotFound`."""
    authorise(actor, Permission.CASE_READ)
    owner = case_of(session, actor, case_id)
    record_read(session, actor, [owner.id], now, "contacts")
    query = select(ContactRecordRow).where(ContactRecordRow.case_id == owner.id)
    if after is not None:
        query = query.where(ContactRecordRow.id > after)
    box = sealer(session, keyring, owner.id)
    rows = session.scalars(query.order_by(ContactRecordRow.id).limit(limit + 1)).all()
    return [
        ContactView(
            id=ContactId(row.id), visit_id=None if row.visit_id is None else VisitId(row.visit_id), channel=row.channel, at=row.at,
            by=StaffId(row.by), person=row.person, purpose=row.purpose, result=row.result, attitude=row.attitude,
            feedback=None if row.feedback is None else box.open("contact_records.feedback", row.feedback),
            next_step=None if row.next_step is None else box.open("contact_records.next_step", row.next_step),
            promised_fen=None if row.promised_fen is None else Fen(row.promised_fen), promised_on=row.promised_on, standing=row.standing,
            rules=tuple(breach.rule.value for breach in breaches_of(session, f"contact:{row.id}")) if row.standing is Standing.BREACH else (),
        )
        for row in rows
    ]


def _is_ceased(session: Session, row: CaseRow, phone_hmac: bytes) -> bool:
    found = session.scalar(
        select(ThirdPartyRow.id).join(CaseRow, CaseRow.id == ThirdPartyRow.case_id)
        .where(CaseRow.debtor_hmac == row.debtor_hmac, ThirdPartyRow.phone_hmac == phone_hmac, ThirdPartyRow.ceased_at.is_not(None)).limit(1)
    )
    return found is not None
