"""The lasting people of the tests, with real keys: `amina` supervises, `bilal` and `dong` are a pair, `chen` belongs to another bank.

| name | role | where |
| --- | --- | --- |
| amina | supervisor | branch sh1 |
| bilal, dong | field collectors, a pair with phones, recorder and camera; credentials of bank A | branch sh1 |
| farid | dispatcher | branch sh1 |
| gu | data clerk | branch sh1 |
| hana | phone collector | branch sh1 |
| kai | cashier | branch sh1 |
| lin, mo | liaison, authoriser | bank A |
| chen, nuo | liaison, authoriser | bank B |
| yara, zhen | supervisor, field collector | branch bj1 |
| oscar, wei, petra | operator, auditor, manager | the agency as a whole |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from uuid import UUID
from zoneinfo import ZoneInfo

from argon2 import PasswordHasher
from sqlalchemy.orm import Session

from backend.auth.actors import BANK_ROLES, Actor, Role
from backend.banks.model import BankKeyState, KeyHardware, KeyPurpose, MandateAction, TemplateKind
from backend.banks.tables import (
    BankKeyRow,
    BankOfficeRow,
    BankRow,
    DesignatedAccountRow,
    MandateRow,
    PaymentChannelRow,
    TemplateRow,
)
from backend.core.geo import LonLat, MultiPolygon
from backend.core.ids import BankId, BranchId, DesignatedAccountId, MandateId, StaffId, new_id
from backend.keys.folder import make_folder
from backend.keys.keyring import Keyring
from backend.keys.sealing import create_case_key
from backend.staff.model import DeviceLevel, DeviceState, EquipmentKind, Gender, QualificationKind
from backend.staff.tables import (
    BranchRow,
    CredentialRow,
    DeviceRow,
    EquipmentAssignmentRow,
    EquipmentRow,
    LoginRow,
    QualificationRow,
    StaffRoleRow,
    StaffRow,
    WorkdayRow,
)
from evidence.keys import PrivateKey, generate_key, public_jwk, thumbprint

SHANGHAI = ZoneInfo("Asia/Shanghai")
FRIDAY = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)  # 10:00 in Shanghai, the same instant as the fixture `now`.
PASSWORD = "paper lantern over the quiet canal"
TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
ACCOUNT_NUMBER = "1100220033004400551"
DAYS = 7
"""How many days from `now` on the pair works and carries its equipment."""


@dataclass(frozen=True)
class Phone:
    """A phone with its private key."""

    key: PrivateKey
    kid: str


@dataclass(frozen=True)
class Person:
    """Somebody of the world; `actor` speaks at the console, `on_phone` through their phone."""

    name: str
    actor: Actor
    employee_no: str
    phone: Phone | None = None

    @property
    def id(self) -> StaffId:
        """The person's id."""
        return self.actor.id

    @property
    def on_phone(self) -> Actor:
        """The person, speaking through their phone."""
        assert self.phone is not None, f"{self.name} has no phone"
        return Actor(id=self.id, roles=self.actor.roles, branches=self.actor.branches, bank=self.actor.bank, device=self.phone.kid)


@dataclass(frozen=True)
class Bank:
    """A bank with its mandate and, for bank A, an account, an office and an authoriser's key."""

    id: BankId
    code: str
    mandate_id: MandateId
    account_id: DesignatedAccountId
    account_digest: str
    office_id: UUID
    authoriser_key: PrivateKey
    authoriser_kid: str
    templates: dict[TemplateKind, UUID]


@dataclass(frozen=True)
class World:
    """Everybody, everything they hold, and the day it is."""

    now: datetime
    sh1: BranchId
    bj1: BranchId
    bank_a: Bank
    bank_b: Bank
    amina: Person
    bilal: Person
    dong: Person
    farid: Person
    gu: Person
    hana: Person
    kai: Person
    lin: Person
    mo: Person
    chen: Person
    nuo: Person
    yara: Person
    zhen: Person
    oscar: Person
    wei: Person
    petra: Person

    @property
    def today(self) -> date:
        """The local date in Shanghai."""
        return self.now.astimezone(SHANGHAI).date()

    def everyone(self) -> Iterator[Person]:
        """Yield every person."""
        return (value for value in vars(self).values() if isinstance(value, Person))


@cache
def shared_keyring() -> Keyring:
    """Return the deployment keys of this test run. A test that rotates or damages keys makes its own folder."""
    return Keyring(make_folder(Path(mkdtemp(prefix="fieldvisit-keys-")) / "keys", None, datetime(2026, 1, 1, tzinfo=UTC)))


@cache
def device_key(name: str) -> PrivateKey:
    """Return the P-256 key of `name`, the same for the whole run."""
    assert name
    return generate_key()


@cache
def _cheap_hash() -> str:
    # Real argon2id with the least memory: a hundred worlds in a test run must not cost a hundred times twenty real hashes.
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def world(session: Session, keyring: Keyring, now: datetime = FRIDAY) -> World:
    """Make the people, both banks and two branches, valid for a year around `now`."""
    sh1, bj1 = _branch(session, "sh1", "上海一部", LonLat(121.4737, 31.2304)), _branch(session, "bj1", "北京一部", LonLat(116.4074, 39.9042))
    bank_ids = {code: BankId(new_id()) for code in ("A", "B")}
    session.add_all(BankRow(id=bank_id, code=code, name_zh=f"示范银行{code}", name_en=f"Sample Bank {code}") for code, bank_id in bank_ids.items())
    session.flush()
    agency = {"amina": (Role.SUPERVISOR, sh1), "bilal": (Role.FIELD_COLLECTOR, sh1), "dong": (Role.FIELD_COLLECTOR, sh1),
              "farid": (Role.DISPATCHER, sh1), "gu": (Role.DATA_CLERK, sh1), "hana": (Role.PHONE_COLLECTOR, sh1), "kai": (Role.CASHIER, sh1),
              "yara": (Role.SUPERVISOR, bj1), "zhen": (Role.FIELD_COLLECTOR, bj1), "oscar": (Role.OPERATOR, None),
              "wei": (Role.AUDITOR, None), "petra": (Role.MANAGER, None)}
    people = {name: add_person(session, keyring, name, role, branch_id=branch, now=now) for name, (role, branch) in agency.items()}
    banks_people = {"lin": (Role.BANK_LIAISON, "A"), "mo": (Role.BANK_AUTHORISER, "A"),
                    "chen": (Role.BANK_LIAISON, "B"), "nuo": (Role.BANK_AUTHORISER, "B")}
    for name, (role, code) in banks_people.items():
        people[name] = add_person(session, keyring, name, role, bank_id=bank_ids[code], now=now)
    bank_a = _bank(session, keyring, bank_ids["A"], "A", people["mo"], people["lin"], now)
    bank_b = _bank(session, keyring, bank_ids["B"], "B", people["nuo"], people["chen"], now)
    made = World(now=now, sh1=sh1, bj1=bj1, bank_a=bank_a, bank_b=bank_b, **people)
    for name in ("bilal", "dong"):
        add_field_papers(session, made, people[name], (bank_a.id,))
    add_field_papers(session, made, people["zhen"], (bank_a.id,))
    add_equipment(session, made, people["bilal"])
    session.flush()
    return made


def add_person(
    session: Session, keyring: Keyring, name: str, role: Role, *, branch_id: BranchId | None = None, bank_id: BankId | None = None,
    now: datetime = FRIDAY, gender: Gender | None = None,
) -> Person:
    """Make one active person with a login (user name `name`, the shared password and TOTP secret) and, for a collector, an active phone."""
    assert (bank_id is not None) == (role in BANK_ROLES)
    staff_id = StaffId(new_id())
    employee_no = f"{'B' if bank_id else 'E'}-{name}"
    session.add(StaffRow(
        id=staff_id, employee_no=employee_no, name=name.title(), gender=gender, branch_id=branch_id, bank_id=bank_id, is_active=True,
        joined_on=date(2024, 3, 1), left_on=None, language=None,
    ))
    session.flush()
    session.add(StaffRoleRow(id=new_id(), staff_id=staff_id, role=role, branch_id=None))
    secret = create_case_key(session, keyring, staff_id, now).seal("logins.totp_secret", TOTP_SECRET)
    session.add(LoginRow(staff_id=staff_id, username=name, password_hash=_cheap_hash(), totp_secret=secret, totp_step_last=0, changed_at=now))
    phone = _add_phone(session, staff_id, name, now) if role is Role.FIELD_COLLECTOR else None
    session.flush()
    branches = frozenset({branch_id}) if branch_id else frozenset()
    return Person(name, Actor(id=staff_id, roles=frozenset({role}), branches=branches, bank=bank_id), employee_no, phone)


def add_field_papers(session: Session, made: World, person: Person, bank_ids: tuple[BankId, ...]) -> None:
    """Give a collector the field-visit qualification, one credential per bank and a week of workdays, 08:00–20:00."""
    session.add(QualificationRow(
        id=new_id(), staff_id=person.id, kind=QualificationKind.FIELD_VISIT, is_lead=True, valid_to_on=made.today + timedelta(days=200),
        assessor_id=made.amina.id, test_result="passed 92/100", recorded_at=made.now,
    ))
    for bank_id in bank_ids:
        add_credential(session, made, person, bank_id)
    session.add_all(WorkdayRow(
        staff_id=person.id, on=made.today + timedelta(days=day), is_available=True, shift_from_s=8 * 3600, shift_to_s=20 * 3600, start=None, end=None,
    ) for day in range(DAYS))
    session.flush()


def add_credential(
    session: Session, made: World, person: Person, bank_id: BankId, *, valid_from_on: date | None = None, valid_to_on: date | None = None
) -> UUID:
    """Give a person a credential of a bank, valid half a year around today unless said otherwise; returns its id."""
    credential_id = new_id()
    session.add(CredentialRow(
        id=credential_id, staff_id=person.id, bank_id=bank_id, number=f"AUTH-{credential_id.hex[-12:]}",
        valid_from_on=valid_from_on or made.today - timedelta(days=180), valid_to_on=valid_to_on or made.today + timedelta(days=180), revoked_at=None,
    ))
    session.flush()
    return credential_id


def add_equipment(session: Session, made: World, carrier: Person) -> dict[EquipmentKind, UUID]:
    """Give a person an inspected recorder and camera for the week; returns their ids."""
    ids = {kind: new_id() for kind in EquipmentKind}
    branch_id = next(iter(carrier.actor.branches))
    session.add_all(EquipmentRow(
        id=equipment_id, branch_id=branch_id, kind=kind, serial=f"{kind.value}-{equipment_id.hex[-8:]}", inspected_at=made.now - timedelta(days=10),
        is_passed=True, next_due_on=made.today + timedelta(days=50),
    ) for kind, equipment_id in ids.items())
    session.flush()
    session.add_all(
        EquipmentAssignmentRow(equipment_id=equipment_id, on=made.today + timedelta(days=day), staff_id=carrier.id)
        for equipment_id in ids.values() for day in range(DAYS)
    )
    session.flush()
    return ids


def _branch(session: Session, code: str, name_zh: str, office: LonLat) -> BranchId:
    branch_id = BranchId(new_id())
    west, east, south, north = office.lon - 0.6, office.lon + 0.6, office.lat - 0.5, office.lat + 0.5
    ring = (LonLat(west, south), LonLat(east, south), LonLat(east, north), LonLat(west, north), LonLat(west, south))
    session.add(BranchRow(
        id=branch_id, code=code, name_zh=name_zh, name_en=f"Branch {code}", timezone="Asia/Shanghai", office=office,
        territory=MultiPolygon(((ring,),)),
    ))
    session.flush()
    return branch_id


def _add_phone(session: Session, staff_id: StaffId, name: str, now: datetime) -> Phone:
    key = device_key(name)
    kid = thumbprint(key)
    session.add(DeviceRow(
        kid=kid, staff_id=staff_id, public_jwk=public_jwk(key), model="test phone", level=DeviceLevel.UNATTESTED, state=DeviceState.ACTIVE,
        enrolled_at=now - timedelta(days=30), valid_until=now + timedelta(days=335), revoked_at=None, compromised_since=None,
    ))
    return Phone(key, kid)


def _bank(session: Session, keyring: Keyring, bank_id: BankId, code: str, authoriser: Person, liaison: Person, now: datetime) -> Bank:
    today = now.astimezone(SHANGHAI).date()
    mandate_id, account_id, office_id = MandateId(new_id()), DesignatedAccountId(new_id()), new_id()
    digest = sha256(ACCOUNT_NUMBER.encode()).hexdigest()
    key = device_key(f"bank {code}")
    templates = {kind: new_id() for kind in TemplateKind}
    session.add(MandateRow(
        id=mandate_id, bank_id=bank_id, reference=f"M-{code}-1", valid_from_on=today - timedelta(days=300), valid_to_on=today + timedelta(days=300),
        terminated_at=None, terminated_by=None, nda_reference=f"NDA-{code}-1", qualification_checked_on=today - timedelta(days=310),
        permitted=sorted(action.value for action in MandateAction),
    ))
    session.add_all(TemplateRow(
        id=template_id, bank_id=bank_id, kind=kind, version=1, text_zh=f"示范文本 {kind.value}",
        approved_at=now - timedelta(days=20), approved_by=liaison.id,
    ) for kind, template_id in templates.items())
    account = create_case_key(session, keyring, bank_id, now).seal("designated_accounts.account", ACCOUNT_NUMBER)
    session.add(DesignatedAccountRow(
        id=account_id, bank_id=bank_id, account=account, account_digest=digest, last4=ACCOUNT_NUMBER[-4:], holder=f"Sample Bank {code} collections",
    ))
    session.add(BankOfficeRow(
        id=office_id, bank_id=bank_id, name=f"Bank {code} counter", location=LonLat(121.48, 31.235),
        opens_s=9 * 3600, closes_s=16 * 3600 + 1200, service_s=900,
    ))
    session.add(BankKeyRow(
        kid=thumbprint(key), bank_id=bank_id, purpose=KeyPurpose.CASH_AUTHORISATION, public_jwk=public_jwk(key), hardware=KeyHardware.DEMO,
        state=BankKeyState.ACTIVE, enrolled_by=authoriser.id, enrolled_at=now - timedelta(days=20), revoked_at=None,
    ))
    session.add(PaymentChannelRow(bank_id=bank_id, kind="app", text_zh="请用发卡银行的手机应用还款。", text_en="Pay in the app of the issuing bank."))
    session.flush()
    return Bank(bank_id, code, mandate_id, account_id, digest, office_id, key, thumbprint(key), templates)
