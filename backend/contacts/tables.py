"""Rows of contacts, third parties, hour agreements and registered work numbers."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, ForeignKey, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from backend.contacts.model import Attitude, Channel, Mode, Person, Purpose, Result, Standing
from backend.db.base import Base, Choice, Instant, Key, Money, SealedBytes, SealedValue, Uuid, enum_check


class ContactRecordRow(Base):
    """One contact, counted on its local day; at a door it names its visit. `result` is NULL while it is going on."""

    __tablename__ = "contact_records"
    __table_args__ = (
        Index("ix_contact_records_case_id_id", "case_id", "id"),
        Index("ix_contact_records_case_id_local_on", "case_id", "local_on"),
        enum_check("channel", Channel),
        enum_check("mode", Mode),
        enum_check("person", Person),
        enum_check("purpose", Purpose),
        enum_check("result", Result),
        enum_check("attitude", Attitude),
        enum_check("standing", Standing),
        CheckConstraint(
            "(person = 'third_party') = (third_party_id IS NOT NULL) OR (person = 'third_party' AND channel = 'visit')", name="third_party_is_named"),
        UniqueConstraint("visit_id"),
        CheckConstraint("result <> 'promise_to_pay' OR (promised_fen > 0 AND promised_on IS NOT NULL)", name="promise_has_amount_and_day"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    visit_id: Mapped[UUID | None] = mapped_column(ForeignKey("visits.id"))
    channel: Mapped[Channel] = mapped_column(Choice(Channel))
    mode: Mapped[Mode] = mapped_column(Choice(Mode))
    at: Mapped[datetime] = mapped_column(Instant)
    local_on: Mapped[date] = mapped_column(Date)
    by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    person: Mapped[Person] = mapped_column(Choice(Person))
    purpose: Mapped[Purpose] = mapped_column(Choice(Purpose))
    third_party_id: Mapped[UUID | None] = mapped_column(ForeignKey("third_parties.id"))
    is_consented: Mapped[bool] = mapped_column()
    result: Mapped[Result | None] = mapped_column(Choice(Result))
    result_at: Mapped[datetime | None] = mapped_column(Instant)
    attitude: Mapped[Attitude | None] = mapped_column(Choice(Attitude))
    feedback: Mapped[SealedValue | None] = mapped_column(SealedBytes)
    next_step: Mapped[SealedValue | None] = mapped_column(SealedBytes)
    promised_fen: Mapped[int | None] = mapped_column(Money)
    promised_on: Mapped[date | None] = mapped_column(Date)
    work_number: Mapped[str | None] = mapped_column(Key(32))
    recording_reference: Mapped[str | None] = mapped_column(Key(128))
    identity_presented: Mapped[str] = mapped_column(Key(32))
    standing: Mapped[Standing] = mapped_column(Choice(Standing))
    policy_version: Mapped[str] = mapped_column(Key(64))
    recorded_at: Mapped[datetime] = mapped_column(Instant)


class ThirdPartyRow(Base):
    """Somebody else who was asked about a debtor, known again by the keyed digest of the number."""

    __tablename__ = "third_parties"
    __table_args__ = (UniqueConstraint("case_id", "phone_hmac"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    relation: Mapped[SealedValue] = mapped_column(SealedBytes)
    phone: Mapped[SealedValue] = mapped_column(SealedBytes)
    phone_hmac: Mapped[bytes] = mapped_column(LargeBinary)
    ceased_at: Mapped[datetime | None] = mapped_column(Instant)


class HourAgreementRow(Base):
    """A time outside the hours that the cardholder agreed to: who, when, for which slot (CONT-04). Append-only."""

    __tablename__ = "hour_agreements"
    __table_args__ = (
        Index("ix_hour_agreements_case_id", "case_id"),
        CheckConstraint("agreed_with = 'cardholder'", name="with_cardholder"),
        CheckConstraint("from_at < to_at", name="time_not_empty"),
    )

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    case_id: Mapped[UUID] = mapped_column(ForeignKey("cases.id"))
    agreed_with: Mapped[str] = mapped_column(Key(16))
    from_at: Mapped[datetime] = mapped_column(Instant)
    to_at: Mapped[datetime] = mapped_column(Instant)
    contact_id: Mapped[UUID] = mapped_column(ForeignKey("contact_records.id"))
    recorded_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    recorded_at: Mapped[datetime] = mapped_column(Instant)


class WorkNumberRow(Base):
    """A telephone number of the agency that may be called from (CONT-07)."""

    __tablename__ = "work_numbers"

    number: Mapped[str] = mapped_column(Key(32), primary_key=True)
    branch_id: Mapped[UUID] = mapped_column(ForeignKey("branches.id"))
    registered_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    registered_at: Mapped[datetime] = mapped_column(Instant)
    retired_at: Mapped[datetime | None] = mapped_column(Instant)
