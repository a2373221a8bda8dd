"""Placement files and cases on top of the world: synthetic people with unassigned area codes and test card ranges.

`place` imports a file through the real action; `ready_case` has a confirmed case allocated to hana, `called_case` one with a phone
contact, `approved_request` one whose visit is approved by amina after petra's analysis of hana's request.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from backend.banks.model import AmountStyle, DateStyle
from backend.banks.tables import ImportProfileRow
from backend.cases import upkeep
from backend.cases.batches import import_placement
from backend.cases.layout import Acceptance, BatchResult, Encoding, ImportPlacement
from backend.cases.tables import CaseAddressRow, CaseRow
from backend.contacts.actions import record_contact, register_work_number
from backend.contacts.model import Channel, ContactReceipt, Mode, Person, RecordContact, Result, Told
from backend.contacts.tables import WorkNumberRow
from backend.core.fen import Fen
from backend.core.geo import LonLat
from backend.core.ids import CaseId, RequestId, new_id
from backend.keys.keyring import Keyring
from backend.requests.actions import Decide, analyse, decide, raise_request
from backend.requests.model import Choice, RaiseRequest
from tests.support.world import Bank, World

WORK_NUMBER = "02100000001"
_TOLD = frozenset(Told.__struct_fields__)
HEADINGS: Mapping[str, str] = {
    "bank_reference": "案件编号", "name": "姓名", "id_number": "身份证号", "card_number": "卡号", "phone": "手机", "occupation": "职业",
    "amount": "欠款金额", "principal": "本金", "days_past_due": "逾期天数", "term_ends_on": "委托到期日", "street": "地址",
    "division_code": "区划", "lon": "经度", "lat": "纬度", "datum": "坐标系", "gender_rule": "性别要求", "language": "语言", "signals": "预警",
    "safety_note": "安全提示",
}
GOOD: Mapping[str, str] = {
    "bank_reference": "R-0001", "name": "测试一", "id_number": "", "card_number": "", "phone": "10000000001", "occupation": "司机",
    "amount": "12,345.67", "principal": "10000.00", "days_past_due": "95", "term_ends_on": "2027-03-31", "street": "示范路1号101室",
    "division_code": "310000", "lon": "121.47", "lat": "31.23", "datum": "wgs84", "gender_rule": "any", "language": "zh", "signals": "",
    "safety_note": "",
}
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def id_number(serial: int, born: date = date(1985, 6, 15)) -> str:
    """Return a number with a right check digit in an area code that was never assigned (990000)."""
    body = f"990000{born:%Y%m%d}{serial % 1000:03d}"
    return body + "10X98765432"[sum(int(digit) * weight for digit, weight in zip(body, _ID_WEIGHTS, strict=True)) % 11]


def card_number(serial: int) -> str:
    """Return a card number with a right check digit in a test range (IIN 999999)."""
    body = f"999999{serial:09d}"
    doubled = [int(digit) * (1 if place % 2 else 2) for place, digit in enumerate(reversed(body))]
    return body + str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)


def row(serial: int = 1, **changes: str) -> dict[str, str]:
    """Return one good row of a file, changed as asked."""
    born = {**GOOD, "bank_reference": f"R-{serial:04d}", "name": f"测试{chr(0x4E00 + serial)}", "id_number": id_number(serial),
            "card_number": card_number(serial), "phone": f"1{serial:010d}"}
    return {**born, **changes}


def csv_text(rows: Sequence[Mapping[str, str]], separator: str = ",") -> str:
    """Write rows as a bank would, every cell quoted."""
    lines = [list(HEADINGS.values()), *([one[column] for column in HEADINGS] for one in rows)]
    return "\r\n".join(separator.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines) + "\r\n"


def total_fen(rows: Sequence[Mapping[str, str]]) -> Fen:
    """Return the sum that a bank would declare."""
    return Fen(sum(int(one["amount"].replace(",", "").replace(".", "")) for one in rows))


def profile(session: Session, bank: Bank, **changes: object) -> UUID:
    """Make an import profile of a bank: comma, UTF-8, ISO days, yuan; changed as asked."""
    profile_id = new_id()
    values: dict[str, object] = {
        "columns": dict(HEADINGS), "encoding": "utf-8", "date_style": DateStyle.ISO, "amount_style": AmountStyle.YUAN, "separator": ",",
        "version": profile_id.hex[-12:],
    }
    session.add(ImportProfileRow(id=profile_id, bank_id=bank.id, **{**values, **changes}))
    session.flush()
    return profile_id


def placement(
    world: World, profile_id: UUID, rows: Sequence[Mapping[str, str]], *, bank: Bank | None = None, encoding: Encoding = Encoding.UTF_8,
    number: str = "B-2026-11", acceptance: Acceptance = Acceptance.ALL_OR_NOTHING, content: bytes | None = None,
) -> ImportPlacement:
    """Return the command that imports rows with right control totals."""
    return ImportPlacement(
        bank_id=(bank or world.bank_a).id, profile_id=profile_id, branch_id=world.sh1, number=number,
        content=csv_text(rows).encode(encoding.value) if content is None else content, as_of_on=world.today, row_count=len(rows),
        amount_total_fen=total_fen(rows), acceptance=acceptance,
    )


def place(
    session: Session, keyring: Keyring, world: World, rows: Sequence[Mapping[str, str]], *, bank: Bank | None = None, number: str = "B-1"
) -> BatchResult:
    """Import rows through the real action as gu, the data clerk."""
    owner = bank or world.bank_a
    return import_placement(session, world.gu.actor, keyring, placement(world, profile(session, owner), rows, bank=owner, number=number), world.now)


def case_by_reference(session: Session, bank: Bank, reference: str) -> CaseRow:
    """Return a case by its bank's reference."""
    return session.scalars(select(CaseRow).where(CaseRow.bank_id == bank.id, CaseRow.bank_reference == reference)).one()


def ready_case(session: Session, keyring: Keyring, world: World, serial: int = 1, *, bank: Bank | None = None, **changes: str) -> CaseRow:
    """Place one case and allocate it to hana; her work number is registered."""
    owner = bank or world.bank_a
    place(session, keyring, world, [row(serial, **changes)], bank=owner, number=f"B-{owner.code}-{serial}-{new_id().hex[-6:]}")
    placed = case_by_reference(session, owner, changes.get("bank_reference", f"R-{serial:04d}"))
    upkeep.allocate(session, world.amina.actor, (CaseId(placed.id),), world.hana.id, world.now)
    if session.get(WorkNumberRow, WORK_NUMBER) is None:
        register_work_number(session, world.amina.actor, world.sh1, WORK_NUMBER, world.now - timedelta(days=60))
    return placed


def call(
    session: Session, keyring: Keyring, world: World, case_id: UUID, result: Result = Result.NO_ANSWER, at: datetime | None = None, **changes: object
) -> ContactReceipt:
    """Report a call that hana made; `changes` are fields of the contact or of what was told."""
    told: dict[str, object] = {"result": result, "recording_reference": "REC-1", **{key: changes.pop(key) for key in _TOLD & changes.keys()}}
    values: dict[str, object] = {
        "case_id": CaseId(case_id), "mode": Mode.FACT, "channel": Channel.PHONE, "at": at or world.now, "person": Person.DEBTOR,
        "told": Told(**told), "work_number": WORK_NUMBER,  # type: ignore[arg-type]
    }
    return record_contact(session, world.hana.actor, keyring, RecordContact(**{**values, **changes}), world.now)  # type: ignore[arg-type]


def called_case(
    session: Session, keyring: Keyring, world: World, serial: int = 1, *, bank: Bank | None = None, **changes: str
) -> tuple[CaseRow, UUID]:
    """Place a case and call in vain the day before; returns it with the contact's id."""
    placed = ready_case(session, keyring, world, serial, bank=bank, **changes)
    receipt = call(session, keyring, world, placed.id, at=world.now - timedelta(days=1))
    return placed, receipt.id


@dataclass(frozen=True)
class Approved:
    """A case with an approved request."""

    case: CaseRow
    request_id: RequestId
    address: CaseAddressRow

    @property
    def point(self) -> LonLat:
        """Where the visit goes."""
        assert self.address.point is not None
        return self.address.point


def approved_request(
    session: Session, keyring: Keyring, world: World, serial: int = 1, *, bank: Bank | None = None, request: Mapping[str, object] | None = None,
    **changes: str,
) -> Approved:
    """Take a new case all the way to an approved request: hana asks, petra analyses, amina approves, effective the evening before."""
    placed, contact_id = called_case(session, keyring, world, serial, bank=bank, **changes)
    command = RaiseRequest(case_id=CaseId(placed.id), contact_id=contact_id, reason="no answer for weeks", **(request or {}))  # type: ignore[arg-type]
    raised = raise_request(session, world.hana.actor, keyring, command, world.now)
    analyse(session, world.petra.actor, keyring, raised.id, "worth a visit", world.now)
    decide(session, world.amina.actor, keyring, Decide(
        request_ids=(raised.id,), choice=Choice.APPROVE, reason="agreed", effective_at=world.now - timedelta(hours=16)
    ), world.now)
    address = session.scalars(select(CaseAddressRow).where(CaseAddressRow.case_id == placed.id, CaseAddressRow.is_current)).first()
    assert address is not None
    return Approved(placed, raised.id, address)


@contextmanager
def counted_statements(session: Session) -> Iterator[list[str]]:
    """Collect the SQL statements that a session sends."""
    statements: list[str] = []

    def note(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(connection, "before_cursor_execute", note)
