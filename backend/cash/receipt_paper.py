"""A receipt as PDF and QR, made from the books: the same receipt gives the same bytes. It tells nothing about the debt."""

from datetime import datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks.tables import BankRow
from backend.cash.custody_facts import BANKS_ZONE, is_reversed
from backend.cash.model import Instrument, PayerRelation
from backend.cash.queries import visible_to
from backend.cash.tables import CollectionRow, ReceiptNumberRow, ReceiptRow
from backend.core.fen import Fen, format_yuan
from backend.core.problems import NotFound
from backend.documents.fonts import missing_characters
from backend.documents.typeset import qr_svg, typeset
from backend.staff.tables import StaffRow

VERIFY_PATH: Final = "/verify/receipt"
TEMPLATE: Final = "receipt.typ"
_INSTRUMENTS: Final = {
    Instrument.CASH: "现金 Cash", Instrument.CASH_CHEQUE: "现金支票 Cash cheque", Instrument.OTHER_PROPERTY: "其他财物 Other property",
    Instrument.PERSONAL_TRANSFER: "个人转账(违规)Personal transfer (breach)",
}
_PAYERS: Final = {
    PayerRelation.DEBTOR: "本人 The debtor", PayerRelation.NAMED_PERSON: "银行授权书载明的代付人 A person whom the bank named",
    PayerRelation.OTHER: "其他人(违规)Another person (breach)",
}


class PrintedReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a receipt's paper says. `code` is empty for money that stands under an exception number."""

    number: str
    code: str
    bank: str
    amount_fen: Fen
    capitals: str
    instrument: Instrument
    payer: PayerRelation
    taken_at: datetime
    collectors: tuple[str, ...]
    authority: str
    is_void: bool


def printed(session: Session, actor: Actor, number: str) -> PrintedReceipt:
    """Return what the paper of a receipt says. Raises NotFound for one that the actor does not see."""
    authorise(actor, Permission.CASH_READ)
    found = session.execute(
        select(CollectionRow, ReceiptRow, BankRow.name_zh, ReceiptNumberRow.code, is_reversed())
        .join(ReceiptRow, ReceiptRow.collection_id == CollectionRow.id).join(BankRow, BankRow.id == CollectionRow.bank_id)
        .outerjoin(ReceiptNumberRow, ReceiptNumberRow.number == ReceiptRow.leased_number)
        .where(ReceiptRow.number == number, visible_to(actor, CollectionRow.bank_id, CollectionRow.branch_id))
    ).one_or_none()
    if found is None:
        raise NotFound
    taken, receipt, bank, code, is_undone = found
    return PrintedReceipt(
        number=receipt.number, code=code or "", bank=bank, amount_fen=Fen(receipt.amount_fen), capitals=receipt.capitals,
        instrument=taken.instrument, payer=taken.payer, taken_at=taken.collected_at,
        collectors=_employee_numbers(session, (taken.collector_id, taken.cosigner_id)), authority=taken.authorisation_jti or "无 None",
        is_void=bool(is_undone),
    )


def verify_address(public_url: str, receipt: PrintedReceipt) -> str:
    """Return where whoever holds the receipt can ask about it: number, amount and code, nothing else."""
    return f"{public_url}{VERIFY_PATH}?{urlencode({'number': receipt.number, 'amountFen': receipt.amount_fen, 'code': receipt.code})}"


def receipt_pdf(public_url: str, receipt: PrintedReceipt) -> bytes:
    """Set a receipt as PDF. A character of the bank's name that the font lacks shows as 〓: the receipt is printed whatever a bank is called."""
    lacking = dict.fromkeys(map(ord, missing_characters(receipt.bank)), "〓")
    return typeset(TEMPLATE, {
        "number": receipt.number, "code": receipt.code or "—", "bank": receipt.bank.translate(lacking), "amount": format_yuan(receipt.amount_fen),
        "amount_fen": str(receipt.amount_fen), "capitals": receipt.capitals, "instrument": _INSTRUMENTS[receipt.instrument],
        "payer": _PAYERS[receipt.payer], "taken_at": receipt.taken_at.astimezone(BANKS_ZONE).strftime("%Y-%m-%d %H:%M"),
        "collectors": list(receipt.collectors), "authority": receipt.authority, "address": f"{public_url}{VERIFY_PATH}",
        "qr": qr_svg(verify_address(public_url, receipt)), "is_void": receipt.is_void,
    }, receipt.taken_at, is_picture=frozenset({"qr"}))


def _employee_numbers(session: Session, staff_ids: tuple[UUID, ...]) -> tuple[str, ...]:
    numbers = {row.id: row.employee_no for row in session.execute(select(StaffRow.id, StaffRow.employee_no).where(StaffRow.id.in_(staff_ids)))}
    return tuple(numbers[one] for one in staff_ids)
