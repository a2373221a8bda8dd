"""Signed time: what the server says the time is, so that a phone's statement can be bounded without trusting its clock."""

from datetime import datetime

from sqlalchemy.orm import Session

from backend.exhibits.tables import BeaconRow
from backend.keys.keyring import Keyring
from backend.keys.model import KeyPurpose
from evidence.canonical import sha256_hex
from evidence.times import format_utc, parse_utc

TYP = "beacon+jws"


def issue(session: Session, keyring: Keyring, device: str, nonce: str, now: datetime) -> str:
    """Sign the time for one device and remember it; statements name it by the SHA-256 of the returned text."""
    stated = format_utc(now)
    token = keyring.sign(KeyPurpose.BEACON, {"time": stated, "nonce": nonce, "device": device}, TYP)
    session.add(BeaconRow(digest=sha256_hex(token.encode()), device=device, issued_at=parse_utc(stated)))
    session.flush()
    return token


def issued_at(session: Session, digest: str | None, device: str) -> datetime | None:
    """Return when the beacon that a statement names was signed; None when this device never fetched such a one."""
    row = session.get(BeaconRow, digest) if digest is not None else None
    return row.issued_at if row is not None and row.device == device else None
