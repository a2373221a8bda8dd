"""Writes about banks: the operator records what the bank has given, the bank's own people approve, end and sign."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.model import (
    BankKeyEvent,
    BankKeyState,
    KeyHardware,
    KeyPurpose,
    NewImportProfile,
    NewMandate,
    NewOffice,
    TemplateKind,
    advance_bank_key,
)
from backend.banks.queries import BankKeyView, bank, key
from backend.banks.tables import (
    BankKeyRow,
    BankOfficeRow,
    BankRow,
    DesignatedAccountRow,
    ImportProfileRow,
    MandateRow,
    OfficeTermsRow,
    PaymentChannelRow,
    TemplateRow,
)
from backend.core.ids import BankId, DesignatedAccountId, MandateId, new_id
from backend.core.problems import Conflict, Forbidden, InvalidInput, NotFound
from backend.keys.keyring import Keyring
from backend.keys.sealing import Sealer, create_case_key, sealer
from evidence.errors import EvidenceError
from evidence.es256 import compact_verify
from evidence.keys import key_from_jwk, thumbprint

KEY_PROOF_TYP = "bank-key-enrolment+jws"


class NewBankKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that a bank's authoriser brings, with a proof signed by it over `{bank, staff, purpose}`."""

    purpose: KeyPurpose
    jwk: Mapping[str, str]
    hardware: KeyHardware
    proof: str
    is_demo_database: bool = False


def create_bank(session: Session, actor: Actor, *, code: str, name_zh: str, name_en: str, now: datetime) -> BankId:  # One row, as its columns.
    """Register a bank. Raises `Conflict` when the code is taken."""
    authorise(actor, Permission.BANK_MANAGE)
    if session.scalar(select(BankRow.id).where(BankRow.code == code)):
        raise Conflict(reason="code-taken")
    bank_id = BankId(new_id())
    session.add(BankRow(id=bank_id, code=code, name_zh=name_zh, name_en=name_en))
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{bank_id}", now, what="registered")
    return bank_id


def record_mandate(session: Session, actor: Actor, new: NewMandate, now: datetime) -> MandateId:
    """Record a bank's mandate (BANK-02, BANK-07). Raises `Conflict` when its reference is taken."""
    authorise(actor, Permission.BANK_MANAGE)
    bank(session, actor, new.bank_id)
    if session.scalar(select(MandateRow.id).where(MandateRow.bank_id == new.bank_id, MandateRow.reference == new.reference)):
        raise Conflict(reason="reference-taken")
    mandate_id = MandateId(new_id())
    session.add(MandateRow(
        id=mandate_id, bank_id=new.bank_id, reference=new.reference, valid_from_on=new.valid_from_on, valid_to_on=new.valid_to_on, terminated_at=None,
        terminated_by=None, nda_reference=new.nda_reference, qualification_checked_on=new.qualification_checked_on, permitted=sorted(new.permitted),
    ))
    session.flush()
    permitted = sorted(new.permitted)
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{new.bank_id}", now, what="mandate-recorded", mandate=mandate_id, permitted=permitted)
    return mandate_id


def end_mandate(session: Session, actor: Actor, mandate_id: MandateId, now: datetime) -> None:
    """End a mandate at once (BANK-03): the bank's own people may, and the operator on the bank's word.

    Raises:
        NotFound: not of the actor's bank. Conflict: ended before.
    """
    if actor.bank is None:
        authorise(actor, Permission.BANK_MANAGE)
    else:
        authorise(actor, Permission.MANDATE_END)
    row = session.execute(select(MandateRow).where(MandateRow.id == mandate_id).with_for_update()).scalar_one_or_none()
    if row is None or (actor.bank is not None and row.bank_id != actor.bank):
        raise NotFound
    if row.terminated_at is not None:
        raise Conflict(reason="ended-before")
    row.terminated_at, row.terminated_by = now, actor.id
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{row.bank_id}", now, what="mandate-ended", mandate=mandate_id)


def add_template(session: Session, actor: Actor, bank_id: BankId, kind: TemplateKind, text_zh: str, now: datetime) -> UUID:
    """Propose the next version of a text in the bank's wording; it counts once the bank approves it."""
    authorise(actor, Permission.BANK_MANAGE)
    bank(session, actor, bank_id)
    newest = session.scalar(select(func.max(TemplateRow.version)).where(TemplateRow.bank_id == bank_id, TemplateRow.kind == kind)) or 0
    row = TemplateRow(id=new_id(), bank_id=bank_id, kind=kind, version=newest + 1, text_zh=text_zh, approved_at=None, approved_by=None)
    session.add(row)
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{bank_id}", now, what="template-proposed", template=row.id)
    return row.id


def approve_template(session: Session, actor: Actor, template_id: UUID, now: datetime) -> None:
    """Approve a text in the name of one's own bank.

    Raises:
        NotFound: another bank's. Conflict: approved before.
    """
    authorise(actor, Permission.TEMPLATE_APPROVE)
    row = session.execute(
        select(TemplateRow).where(TemplateRow.id == template_id, TemplateRow.bank_id == actor.bank).with_for_update()
    ).scalar_one_or_none()
    if row is None:
        raise NotFound
    if row.approved_at is not None:
        raise Conflict(reason="approved-before")
    row.approved_at, row.approved_by = now, actor.id
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{row.bank_id}", now, what="template-approved", template=row.id)


def designate_account(  # One row, as its columns.
    session: Session, actor: Actor, keyring: Keyring, bank_id: BankId, *, number: str, holder: str, now: datetime
) -> DesignatedAccountId:
    """Record an account that the bank has named for deposits (CASH-06); the number rests sealed under the bank's own key.

    Raises:
        InvalidInput: not 8 to 32 digits. Conflict: recorded before.
    """
    authorise(actor, Permission.BANK_MANAGE)
    bank(session, actor, bank_id)
    if not (number.isascii() and number.isdigit() and 8 <= len(number) <= 32):
        raise InvalidInput(pointer="/number", expected="8 to 32 digits", got="another text")
    digest = hashlib.sha256(number.encode()).hexdigest()
    query = select(DesignatedAccountRow.id).where(DesignatedAccountRow.bank_id == bank_id, DesignatedAccountRow.account_digest == digest)
    if session.scalar(query):
        raise Conflict(reason="recorded-before")
    account_id = DesignatedAccountId(new_id())
    session.add(DesignatedAccountRow(
        id=account_id, bank_id=bank_id, account=_bank_sealer(session, keyring, bank_id, now).seal("designated_accounts.account", number),
        account_digest=digest, last4=number[-4:], holder=holder,
    ))
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{bank_id}", now, what="account-designated", account=account_id)
    return account_id


def add_office(session: Session, actor: Actor, new: NewOffice, now: datetime) -> UUID:
    """Record a counter or machine that takes deposits."""
    authorise(actor, Permission.BANK_MANAGE)
    bank(session, actor, new.bank_id)
    row = BankOfficeRow(
        id=new_id(), bank_id=new.bank_id, name=new.name, location=new.location, opens_s=new.opens_s, closes_s=new.closes_s, service_s=new.service_s,
    )
    session.add(row)
    session.flush()
    session.add(OfficeTermsRow(
        office_id=row.id, kind=new.kind, is_open_on_off_days=new.is_open_on_off_days, deposit_fen_max=new.deposit_fen_max))
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{new.bank_id}", now, what="office-added", office=row.id)
    return row.id


def add_profile(session: Session, actor: Actor, new: NewImportProfile, now: datetime) -> UUID:
    """Record how a bank writes its files. Raises `Conflict` when the version is taken."""
    authorise(actor, Permission.BANK_MANAGE)
    bank(session, actor, new.bank_id)
    if session.scalar(select(ImportProfileRow.id).where(ImportProfileRow.bank_id == new.bank_id, ImportProfileRow.version == new.version)):
        raise Conflict(reason="version-taken")
    row = ImportProfileRow(
        id=new_id(), bank_id=new.bank_id, version=new.version, columns=dict(new.columns), encoding=new.encoding, date_style=new.date_style,
        amount_style=new.amount_style, separator=new.separator,
    )
    session.add(row)
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{new.bank_id}", now, what="profile-added", profile=row.id)
    return row.id


def set_channel(  # One row, as its columns.
    session: Session, actor: Actor, bank_id: BankId, *, kind: str, text_zh: str, text_en: str, now: datetime
) -> None:
    """Write a way to pay the bank directly."""
    authorise(actor, Permission.BANK_MANAGE)
    bank(session, actor, bank_id)
    session.merge(PaymentChannelRow(bank_id=bank_id, kind=kind, text_zh=text_zh, text_en=text_en))
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{bank_id}", now, what="channel-set", kind=kind)


def enrol_key(session: Session, actor: Actor, new: NewBankKey, now: datetime) -> BankKeyView:
    """Enrol a public key of the actor's own bank, proven by a signature; nobody of the agency can (CASH-04).

    Raises:
        Forbidden: not a bank's authoriser, or a demo key outside a demo database.
        InvalidInput: the key or its proof does not hold.
        Conflict: the key is enrolled already.
    """
    authorise(actor, Permission.BANK_KEY_ENROL)
    assert actor.bank is not None
    if new.hardware is KeyHardware.DEMO and not new.is_demo_database:
        raise Forbidden(reason="demo keys exist in demo databases only")
    expected = {"bank": str(actor.bank), "staff": str(actor.id), "purpose": new.purpose.value}
    try:
        public = key_from_jwk(new.jwk)
        kid = thumbprint(public)
        _, stated = compact_verify(new.proof, lambda named: public if named == kid else None, typ=KEY_PROOF_TYP)
    except EvidenceError as error:
        raise InvalidInput(pointer="/proof", expected="a proof signed by the key itself", got=error.problem) from error
    if stated != expected:
        raise InvalidInput(pointer="/proof", expected="bank, staff and purpose of this enrolment", got="another statement")
    if session.get(BankKeyRow, kid) is not None:
        raise Conflict(reason="key-enrolled-already")
    session.add(BankKeyRow(
        kid=kid, bank_id=actor.bank, purpose=new.purpose, public_jwk=dict(new.jwk), hardware=new.hardware, state=BankKeyState.ACTIVE,
        enrolled_by=actor.id, enrolled_at=now, revoked_at=None,
    ))
    session.flush()
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{actor.bank}", now, what="key-enrolled", key=kid, purpose=new.purpose.value)
    view = key(session, kid)
    assert view is not None
    return view


def revoke_key(session: Session, actor: Actor, kid: str, now: datetime) -> None:
    """Revoke a key of one's own bank; what it signed before stays verifiable. Raises `NotFound`, `IllegalTransition`."""
    authorise(actor, Permission.BANK_KEY_ENROL)
    row = session.execute(select(BankKeyRow).where(BankKeyRow.kid == kid, BankKeyRow.bank_id == actor.bank).with_for_update()).scalar_one_or_none()
    if row is None:
        raise NotFound
    row.state, row.revoked_at = advance_bank_key(row.state, BankKeyEvent.REVOKE), now
    record(session, actor, EventTag.BANK_CHANGED, f"bank:{row.bank_id}", now, what="key-revoked", key=kid)


def _bank_sealer(session: Session, keyring: Keyring, bank_id: BankId, now: datetime) -> Sealer:
    try:
        return sealer(session, keyring, bank_id)
    except LookupError:
        return create_case_key(session, keyring, bank_id, now)
