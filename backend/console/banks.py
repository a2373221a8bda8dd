"""Banks, their mandates, wordings, accounts, offices, keys and import profiles, and the policies, over JSON."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks import actions, queries
from backend.banks.model import (
    AmountStyle,
    DateStyle,
    KeyHardware,
    KeyPurpose,
    MandateAction,
    NewImportProfile,
    NewMandate,
    NewOffice,
    OfficeKind,
    TemplateKind,
)
from backend.console.people import Made, PlaceBody
from backend.console.phones import read_kid
from backend.console.values import within_reach
from backend.core.fen import FEN_MAX, Fen
from backend.core.geo import LonLat, to_wgs84
from backend.core.ids import BankId, MandateId
from backend.policies import actions as policy_actions
from backend.policies.model import Policy
from backend.policies.queries import policy_in_force
from backend.web.app import Resources
from backend.web.body import Body
from backend.web.transaction import transaction

Text = Annotated[str, Meta(min_length=1, max_length=80)]
LongText = Annotated[str, Meta(min_length=1, max_length=20_000)]
Code = Annotated[str, Meta(min_length=1, max_length=16, pattern=r"^[A-Za-z0-9-]+$")]
DaySeconds = Annotated[int, Meta(ge=0, le=86_400)]
Coordinate = Annotated[str, Meta(min_length=43, max_length=43, pattern=r"^[A-Za-z0-9_-]+$")]


class BankBody(Body):
    """A bank to register."""

    code: Code
    name_zh: Text
    name_en: Text


class MandateBody(Body):
    """What the bank permits from day to day, both included (BANK-02, BANK-07)."""

    reference: Annotated[str, Meta(min_length=1, max_length=64)]
    valid_from_on: date
    valid_to_on: date
    permitted: Annotated[list[MandateAction], Meta(max_length=20)]
    nda_reference: Text | None = None
    qualification_checked_on: date | None = None

    def __post_init__(self) -> None:
        if self.valid_to_on < self.valid_from_on:
            raise ValueError("a mandate ends on or after the day it begins")


class TemplateBody(Body):
    """A text in the bank's wording."""

    kind: TemplateKind
    text_zh: LongText


class AccountBody(Body):
    """An account that the bank has named for deposits."""

    number: Annotated[str, Meta(min_length=8, max_length=32, pattern=r"^[0-9]+$")]
    holder: Text


class OfficeBody(Body):
    """A counter or machine that takes deposits; seconds since local midnight."""

    name: Text
    location: PlaceBody
    opens_s: DaySeconds
    closes_s: DaySeconds
    service_s: Annotated[int, Meta(ge=1, le=14_400)]
    kind: OfficeKind = OfficeKind.COUNTER
    is_open_on_off_days: bool = False
    deposit_fen_max: Annotated[int, Meta(ge=1, le=FEN_MAX)] | None = None

    def __post_init__(self) -> None:
        if self.closes_s <= self.opens_s:
            raise ValueError("opening hours are not empty")


class ChannelBody(Body):
    """A way to pay the bank directly, as shown at the door."""

    kind: Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[a-z_]+$")]
    text_zh: Annotated[str, Meta(min_length=1, max_length=500)]
    text_en: Annotated[str, Meta(min_length=1, max_length=500)]


class ProfileBody(Body):
    """How the bank writes its files: our column → the heading in the file."""

    version: Annotated[str, Meta(min_length=1, max_length=32)]
    columns: Annotated[dict[Annotated[str, Meta(max_length=40)], Annotated[str, Meta(max_length=80)]], Meta(min_length=1, max_length=60)]
    encoding: Literal["utf-8", "gb18030"]
    date_style: DateStyle
    amount_style: AmountStyle
    separator: Annotated[str, Meta(min_length=1, max_length=1)]


class BankJwkBody(Body):
    """A public P-256 key."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: Coordinate
    y: Coordinate


class BankKeyBody(Body):
    """A key of the bank with its proof: a compact JWS by the key, typ `bank-key-enrolment+jws`, over `bank, purpose, staff`."""

    purpose: KeyPurpose
    jwk: BankJwkBody
    hardware: KeyHardware
    proof: Annotated[str, Meta(min_length=1, max_length=4096)]


class PolicyBody(Body):
    """A version of the thresholds; what is not named keeps its default."""

    version: Annotated[str, Meta(min_length=1, max_length=64)]
    valid_from: datetime
    thresholds: dict[str, Any]
    bank_id: UUID | None = None

    def __post_init__(self) -> None:
        if self.valid_from.utcoffset() is None:
            raise ValueError("an instant needs a time zone")


@get("/api/v1/banks", operation_id="listBanks", sync_to_thread=True, tags=["banks"])
def list_banks(actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> tuple[queries.BankView, ...]:
    """List the banks that the actor sees."""
    authorise(actor, Permission.BANK_READ)
    with resources.reads() as session:
        return queries.banks(session, actor)


@post("/api/v1/banks", operation_id="registerBank", sync_to_thread=True, tags=["banks"])
def register_bank(
    data: JSONBody[BankBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Made:
    """Register a bank."""
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=actions.create_bank(session, actor, code=data.code, name_zh=data.name_zh, name_en=data.name_en, now=now))


@get("/api/v1/banks/{bank_id:uuid}/mandates", operation_id="listMandates", sync_to_thread=True, tags=["banks"])
def list_mandates(
    bank_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]
) -> tuple[queries.MandateView, ...]:
    """List a bank's mandates."""
    authorise(actor, Permission.BANK_READ)
    with resources.reads() as session:
        return queries.mandates(session, queries.bank(session, actor, BankId(bank_id)).id)


@post("/api/v1/banks/{bank_id:uuid}/mandates", operation_id="recordMandate", sync_to_thread=True, tags=["banks"])
def record_mandate(
    bank_id: FromPath[UUID], data: JSONBody[MandateBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Made:
    """Record a mandate."""
    new = NewMandate(
        bank_id=BankId(bank_id), reference=data.reference, valid_from_on=data.valid_from_on, valid_to_on=data.valid_to_on,
        permitted=frozenset(data.permitted), nda_reference=data.nda_reference, qualification_checked_on=data.qualification_checked_on,
    )
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=actions.record_mandate(session, actor, new, now))


@post("/api/v1/mandates/{mandate_id:uuid}/termination", operation_id="endMandate", status_code=204, sync_to_thread=True, tags=["banks"])
def end_mandate(
    mandate_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """End a mandate at once (BANK-03)."""
    with transaction(resources.sessions, actor, now) as session:
        actions.end_mandate(session, actor, MandateId(mandate_id), now)


@get("/api/v1/banks/{bank_id:uuid}/templates", operation_id="listTemplates", sync_to_thread=True, tags=["banks"])
def list_templates(
    bank_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]
) -> tuple[queries.TemplateView, ...]:
    """List the texts in a bank's wording."""
    authorise(actor, Permission.BANK_READ)
    with resources.reads() as session:
        return queries.templates(session, queries.bank(session, actor, BankId(bank_id)).id)


@post("/api/v1/banks/{bank_id:uuid}/templates", operation_id="addTemplate", sync_to_thread=True, tags=["banks"])
def add_template(
    bank_id: FromPath[UUID], data: JSONBody[TemplateBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Made:
    """Propose the next version of a text; the bank approves it."""
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=actions.add_template(session, actor, BankId(bank_id), data.kind, data.text_zh, now))


@post("/api/v1/templates/{template_id:uuid}/approval", operation_id="approveTemplate", status_code=204, sync_to_thread=True, tags=["banks"])
def approve_template(
    template_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Approve a text in the bank's name."""
    with transaction(resources.sessions, actor, now) as session:
        actions.approve_template(session, actor, template_id, now)


@get("/api/v1/banks/{bank_id:uuid}/accounts", operation_id="listAccounts", sync_to_thread=True, tags=["banks"])
def list_accounts(
    bank_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]
) -> tuple[queries.AccountView, ...]:
    """List a bank's designated accounts, masked."""
    authorise(actor, Permission.BANK_READ)
    with resources.reads() as session:
        return queries.accounts(session, queries.bank(session, actor, BankId(bank_id)).id)


@post("/api/v1/banks/{bank_id:uuid}/accounts", operation_id="designateAccount", sync_to_thread=True, tags=["banks"])
def designate_account(
    bank_id: FromPath[UUID], data: JSONBody[AccountBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Made:
    """Record a designated account."""
    with transaction(resources.sessions, actor, now) as session:
        account_id = actions.designate_account(session, actor, resources.keyring, BankId(bank_id), number=data.number, holder=data.holder, now=now)
    return Made(id=account_id)


@get("/api/v1/banks/{bank_id:uuid}/offices", operation_id="listOffices", sync_to_thread=True, tags=["banks"])
def list_offices(
    bank_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]
) -> tuple[queries.OfficeView, ...]:
    """List a bank's counters and machines."""
    authorise(actor, Permission.BANK_READ)
    with resources.reads() as session:
        return queries.offices(session, queries.bank(session, actor, BankId(bank_id)).id)


@post("/api/v1/banks/{bank_id:uuid}/offices", operation_id="addOffice", sync_to_thread=True, tags=["banks"])
def add_office(
    bank_id: FromPath[UUID], data: JSONBody[OfficeBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Made:
    """Record a counter or machine."""
    location = to_wgs84(LonLat(data.location.lon, data.location.lat), data.location.datum)
    new = NewOffice(
        bank_id=BankId(bank_id), name=data.name, location=location, opens_s=data.opens_s, closes_s=data.closes_s, service_s=data.service_s,
        kind=data.kind, is_open_on_off_days=data.is_open_on_off_days,
        deposit_fen_max=Fen(data.deposit_fen_max) if data.deposit_fen_max is not None else None,
    )
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=actions.add_office(session, actor, new, now))


@put("/api/v1/banks/{bank_id:uuid}/payment-channels", operation_id="setPaymentChannel", status_code=204, sync_to_thread=True, tags=["banks"])
def set_channel(
    bank_id: FromPath[UUID], data: JSONBody[ChannelBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Write a way to pay the bank directly."""
    with transaction(resources.sessions, actor, now) as session:
        actions.set_channel(session, actor, BankId(bank_id), kind=data.kind, text_zh=data.text_zh, text_en=data.text_en, now=now)


@post("/api/v1/banks/{bank_id:uuid}/import-profiles", operation_id="addImportProfile", sync_to_thread=True, tags=["banks"])
def add_profile(
    bank_id: FromPath[UUID], data: JSONBody[ProfileBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> Made:
    """Record how the bank writes its files."""
    new = NewImportProfile(
        bank_id=BankId(bank_id), version=data.version, columns=data.columns, encoding=data.encoding, date_style=data.date_style,
        amount_style=data.amount_style, separator=data.separator,
    )
    with transaction(resources.sessions, actor, now) as session:
        return Made(id=actions.add_profile(session, actor, new, now))


@get("/api/v1/banks/{bank_id:uuid}/keys", operation_id="listBankKeys", sync_to_thread=True, tags=["banks"])
def list_keys(
    bank_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]
) -> tuple[queries.BankKeyView, ...]:
    """List a bank's public keys, and whose hardware holds their private halves."""
    authorise(actor, Permission.BANK_READ)
    with resources.reads() as session:
        return queries.keys(session, queries.bank(session, actor, BankId(bank_id)).id)


@post("/api/v1/bank-keys", operation_id="enrolBankKey", sync_to_thread=True, tags=["banks"])
def enrol_key(
    data: JSONBody[BankKeyBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> queries.BankKeyView:
    """Enrol a key of one's own bank; only its authoriser can."""
    jwk = {"kty": data.jwk.kty, "crv": data.jwk.crv, "x": data.jwk.x, "y": data.jwk.y}
    new = actions.NewBankKey(
        purpose=data.purpose, jwk=jwk, hardware=data.hardware, proof=data.proof, is_demo_database=resources.settings.is_demo,
    )
    with transaction(resources.sessions, actor, now) as session:
        return actions.enrol_key(session, actor, new, now)


@post("/api/v1/bank-keys/{kid:str}/revocation", operation_id="revokeBankKey", status_code=204, sync_to_thread=True, tags=["banks"])
def revoke_key(kid: FromPath[str], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> None:
    """Revoke a key of one's own bank."""
    with transaction(resources.sessions, actor, now) as session:
        actions.revoke_key(session, actor, read_kid(kid), now)


@get("/api/v1/policies/in-force", operation_id="readPolicyInForce", sync_to_thread=True, tags=["policies"])
def read_policy(actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]) -> Policy:
    """Read the thresholds in force: one's own bank's for a bank's people, else the agency's."""
    with resources.reads() as session:
        return policy_in_force(session, actor.bank, now)


@post("/api/v1/policies", operation_id="publishPolicy", sync_to_thread=True, tags=["policies"])
def publish_policy(
    data: JSONBody[PolicyBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Policy:
    """Publish a version of the thresholds, valid from now or later."""
    bank_id = BankId(data.bank_id) if data.bank_id else None
    within_reach(data.valid_from, now, "/validFrom")
    new = policy_actions.NewPolicy(version=data.version, bank_id=bank_id, valid_from=data.valid_from, thresholds=data.thresholds)
    with transaction(resources.sessions, actor, now) as session:
        if bank_id is not None:
            queries.bank(session, actor, bank_id)
        return policy_actions.publish(session, actor, new, now)


ROUTES = [
    list_banks, register_bank, list_mandates, record_mandate, end_mandate, list_templates, add_template, approve_template, list_accounts,
    designate_account, list_offices, add_office, set_channel, add_profile, list_keys, enrol_key, revoke_key, read_policy, publish_policy,
]
