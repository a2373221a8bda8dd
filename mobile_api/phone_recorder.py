"""What the reference phone does about external recorders: it shows them the time, and signs for what they recorded (F06)."""

from datetime import UTC, datetime

from evidence.facts import CaptureFacts
from evidence.manifest import Item, Role
from evidence.time_mark import TimeMark, sign_mark
from evidence.times import format_utc
from mobile_api.phone import Door, Phone

EQUIPMENT_IMPORT = "equipment_import"


def time_code(phone: Phone, visit: str, *, at: datetime | None = None) -> str:
    """Return what a phone shows as a QR code to a recorder's camera, so that the recorder's clock is proven.

    Raises:
        ValueError: the phone has no beacon; without one a time code proves nothing.
    """
    clocks = phone.clocks(at)
    if clocks["beacon"] is None:
        raise ValueError("fetch a beacon first")
    return sign_mark(TimeMark(visit=visit, **clocks), phone.link.key, phone.kid)


def accept_recordings(phone: Phone, door: Door) -> int:
    """Sign for the recorders' files that were brought in for a visit and wait for this person; returns how many. Raises Offline, Refused."""
    waiting = [one for one in phone.link.call("GET", "/mobile/v1/recordings").json()["recordings"] if one["visitId"] == door.visit]
    for one in waiting:
        started, ended = (format_utc(datetime.fromisoformat(one[name]).astimezone(UTC)) for name in ("startedAt", "endedAt"))
        described = Item(
            item_id=f"recorder-{one['sha256'][:12]}", role=Role(one["mediaType"].partition("/")[0]), sha256=one["sha256"], size=one["size"],
            media_type=one["mediaType"], started=started, ended=ended)
        phone.state_items(door, CaptureFacts(occasion=EQUIPMENT_IMPORT), [(described, None)])
    return len(waiting)
