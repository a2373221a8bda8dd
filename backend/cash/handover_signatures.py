"""What giver and taker of a hand-over sign, and whether they did."""

from typing import Any, Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from backend.cash.movements import Handover
from backend.core.ids import StaffId
from backend.exhibits.refusals import SignatureInvalid, refusing
from backend.staff.model import DeviceState
from backend.staff.tables import DeviceRow
from evidence.es256 import compact_verify
from evidence.keys import key_from_jwk
from evidence.times import format_utc

HANDOVER_TYP: Final = "cash-handover+jws"


def handover_words(command: Handover) -> dict[str, Any]:
    """Return the object that giver and taker both sign."""
    return {
        "handover": str(command.handover_id), "bank": str(command.bank_id), "giver": str(command.giver_id), "taker": str(command.taker_id),
        "amount_fen": command.amount_fen, "at": format_utc(command.handed_at),
    }


def demand_signed(session: Session, command: Handover, signed: tuple[str, StaffId]) -> None:
    """Demand that a token of somebody's phone holds the hand-over's words. Raises `SignatureInvalid`."""
    (token, staff_id), words, at = signed, handover_words(command), command.handed_at
    # A key that was lost, or revoked before the hand-over, speaks for nobody; its owner can still take at a desk.
    kept_keys = session.scalars(select(DeviceRow).where(
        DeviceRow.staff_id == staff_id, DeviceRow.state != DeviceState.PENDING, DeviceRow.compromised_since.is_(None),
        or_(DeviceRow.revoked_at.is_(None), DeviceRow.revoked_at > at)))
    keys = {row.kid: key_from_jwk(row.public_jwk) for row in kept_keys}
    with refusing():
        _, payload = compact_verify(token, keys.get, typ=HANDOVER_TYP)
    if payload != words:
        raise SignatureInvalid(reason="the token holds other words", pointer="/payload")
