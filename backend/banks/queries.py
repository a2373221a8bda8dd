"""Reads of banks: mandates in force, approved templates, accounts, offices, keys, profiles."""

from datetime import date, datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.banks.model import AmountStyle, BankKeyState, DateStyle, KeyHardware, KeyPurpose, MandateAction, TemplateKind
from backend.banks.rules import MandateFacts
from backend.banks.tables import (
    BankKeyRow,
    BankOfficeRow,
    BankRow,
    DesignatedAccountRow,
    ImportProfileRow,
    MandateRow,
    PaymentChannelRow,
    TemplateRow,
)
from backend.core.geo import LonLat
from backend.core.ids import BankId, DesignatedAccountId, MandateId, StaffId
from backend.core.problems import NotFound


class BankView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A bank."""

    id: BankId
    code: str
    name_zh: str
    name_en: str


class MandateView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A mandate; both end days are valid."""

    id: MandateId
    reference: str
    valid_from_on: date
    valid_to_on: date
    terminated_at: datetime | None
    nda_reference: str | None
    qualification_checked_on: date | None
    permitted: tuple[MandateAction, ...]


class TemplateView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One version of a text in the bank's wording; not to be used before its approval."""

    id: UUID
    bank_id: BankId
    kind: TemplateKind
    version: int
    text_zh: str
    approved_at: datetime | None


class AccountView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A designated account, masked: its number stays sealed."""

    id: DesignatedAccountId
    bank_id: BankId
    account_digest: str
    last4: str
    holder: str


class OfficeView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A counter or machine that takes deposits; seconds since local midnight."""

    id: UUID
    bank_id: BankId
    name: str
    location: LonLat
    opens_s: int
    closes_s: int
    service_s: int


class BankKeyView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A public key of a bank, and whose hardware holds its private half (F19)."""

    kid: str
    bank_id: BankId
    purpose: KeyPurpose
    public_jwk: dict[str, str]
    hardware: KeyHardware
    state: BankKeyState
    enrolled_by: StaffId
    enrolled_at: datetime
    revoked_at: datetime | None


class ProfileView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One version of how a bank writes its files."""

    id: UUID
    bank_id: BankId
    version: str
    columns: dict[str, str]
    encoding: str
    date_style: DateStyle
    amount_style: AmountStyle
    separator: str


class ChannelView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A way to pay the bank directly."""

    kind: str
    text_zh: str
    text_en: str


def visible_to(actor: Actor) -> ColumnElement[bool]:
    """Select the banks an actor may see: the agency's people all, a bank's people their own."""
    return true() if actor.bank is None else BankRow.id == actor.bank


def bank(session: Session, actor: Actor, bank_id: BankId) -> BankView:
    """Return a bank. Raises `NotFound`."""
    row = session.execute(select(BankRow).where(BankRow.id == bank_id, visible_to(actor))).scalar_one_or_none()
    if row is None:
        raise NotFound
    return _bank_view(row)


def bank_by_code(session: Session, actor: Actor, code: str) -> BankView:
    """Return a bank by its code. Raises `NotFound`."""
    row = session.execute(select(BankRow).where(BankRow.code == code, visible_to(actor))).scalar_one_or_none()
    if row is None:
        raise NotFound
    return _bank_view(row)


def banks(session: Session, actor: Actor) -> tuple[BankView, ...]:
    """Return the banks an actor sees, by code."""
    return tuple(_bank_view(row) for row in session.scalars(select(BankRow).where(visible_to(actor)).order_by(BankRow.code)))


def mandates(session: Session, bank_id: BankId) -> tuple[MandateView, ...]:
    """Return every mandate of a bank, oldest first."""
    rows = session.scalars(select(MandateRow).where(MandateRow.bank_id == bank_id).order_by(MandateRow.valid_from_on, MandateRow.id))
    return tuple(
        MandateView(
            id=MandateId(row.id), reference=row.reference, valid_from_on=row.valid_from_on, valid_to_on=row.valid_to_on,
            terminated_at=row.terminated_at, nda_reference=row.nda_reference, qualification_checked_on=row.qualification_checked_on,
            permitted=tuple(MandateAction(action) for action in row.permitted),
        )
        for row in rows
    )


def mandate_facts(session: Session, bank_id: BankId) -> tuple[MandateFacts, ...]:
    """Gather what `judge_mandate` reads about a bank."""
    return tuple(
        MandateFacts(
            permitted=frozenset(view.permitted), valid_from_on=view.valid_from_on, valid_to_on=view.valid_to_on, terminated_at=view.terminated_at,
            is_nda_signed=view.nda_reference is not None, is_qualification_checked=view.qualification_checked_on is not None,
        )
        for view in mandates(session, bank_id)
    )


def templates(session: Session, bank_id: BankId) -> tuple[TemplateView, ...]:
    """Return every version of every text of a bank, newest version last."""
    rows = session.scalars(select(TemplateRow).where(TemplateRow.bank_id == bank_id).order_by(TemplateRow.kind, TemplateRow.version))
    return tuple(_template_view(row) for row in rows)


def approved_template(session: Session, bank_id: BankId, kind: TemplateKind) -> TemplateView | None:
    """Return the newest approved text of a kind, None while there is none."""
    row = session.scalars(
        select(TemplateRow).where(TemplateRow.bank_id == bank_id, TemplateRow.kind == kind, TemplateRow.approved_at.is_not(None))
        .order_by(TemplateRow.version.desc()).limit(1)
    ).one_or_none()
    return None if row is None else _template_view(row)


def accounts(session: Session, bank_id: BankId) -> tuple[AccountView, ...]:
    """Return the accounts a bank has designated."""
    rows = session.scalars(select(DesignatedAccountRow).where(DesignatedAccountRow.bank_id == bank_id).order_by(DesignatedAccountRow.id))
    return tuple(
        AccountView(
            id=DesignatedAccountId(row.id), bank_id=BankId(row.bank_id), account_digest=row.account_digest, last4=row.last4, holder=row.holder
        )
        for row in rows
    )


def offices(session: Session, bank_id: BankId) -> tuple[OfficeView, ...]:
    """Return a bank's counters and machines."""
    rows = session.scalars(select(BankOfficeRow).where(BankOfficeRow.bank_id == bank_id).order_by(BankOfficeRow.id))
    return tuple(
        OfficeView(
            id=row.id, bank_id=BankId(row.bank_id), name=row.name, location=row.location, opens_s=row.opens_s, closes_s=row.closes_s,
            service_s=row.service_s,
        )
        for row in rows
    )


def keys(session: Session, bank_id: BankId) -> tuple[BankKeyView, ...]:
    """Return every key of a bank, revoked ones included, oldest first."""
    rows = session.scalars(select(BankKeyRow).where(BankKeyRow.bank_id == bank_id).order_by(BankKeyRow.enrolled_at, BankKeyRow.kid))
    return tuple(_key_view(row) for row in rows)


def key(session: Session, kid: str) -> BankKeyView | None:
    """Return a bank's key by its id."""
    row = session.get(BankKeyRow, kid)
    return None if row is None else _key_view(row)


def newest_profile(session: Session, bank_id: BankId) -> ProfileView:
    """Return the newest import profile of a bank. Raises `NotFound` when it has none."""
    row = session.scalars(
        select(ImportProfileRow).where(ImportProfileRow.bank_id == bank_id).order_by(ImportProfileRow.id.desc()).limit(1)
    ).one_or_none()
    if row is None:
        raise NotFound
    return ProfileView(
        id=row.id, bank_id=BankId(row.bank_id), version=row.version, columns=row.columns, encoding=row.encoding, date_style=row.date_style,
        amount_style=row.amount_style, separator=row.separator,
    )


def channels(session: Session, bank_id: BankId) -> tuple[ChannelView, ...]:
    """Return the ways to pay a bank directly."""
    rows = session.scalars(select(PaymentChannelRow).where(PaymentChannelRow.bank_id == bank_id).order_by(PaymentChannelRow.kind))
    return tuple(ChannelView(kind=row.kind, text_zh=row.text_zh, text_en=row.text_en) for row in rows)


def _bank_view(row: BankRow) -> BankView:
    return BankView(id=BankId(row.id), code=row.code, name_zh=row.name_zh, name_en=row.name_en)


def _template_view(row: TemplateRow) -> TemplateView:
    return TemplateView(
        id=row.id, bank_id=BankId(row.bank_id), kind=row.kind, version=row.version, text_zh=row.text_zh, approved_at=row.approved_at,
    )


def _key_view(row: BankKeyRow) -> BankKeyView:
    return BankKeyView(
        kid=row.kid, bank_id=BankId(row.bank_id), purpose=row.purpose, public_jwk=row.public_jwk, hardware=row.hardware, state=row.state,
        enrolled_by=StaffId(row.enrolled_by), enrolled_at=row.enrolled_at, revoked_at=row.revoked_at,
    )
