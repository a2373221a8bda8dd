"""Where people were, as their phones signed it: every fix by person, so that no journey hides behind other statements, however many (protocol §2.10).

A fix is of the phone that captured or of the one that witnessed. Two fixes of a person are judged by the shortest way in the longest time that their
bounds leave. All of `REACH` are weighed, not only neighbours: at 150 km/h no two places on Earth are further apart in time. The query drops by whole
numbers what is no journey anyway, with the way along a meridian and a parallel, which is never shorter than the way itself.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from backend.core.geo import LonLat
from backend.exhibits.findings import add_findings
from backend.exhibits.model import LinkRole
from backend.exhibits.rules import SPEED_KMH_MAX, Arrival, Fix, judge_travel, place_of
from backend.exhibits.tables import FixRow, ManifestRow
from backend.policies.model import Policy
from evidence.envelope import HeaderPosition, Signer
from evidence.manifest import Position
from evidence.model import Finding
from evidence.times import parse_utc

REACH: Final = timedelta(hours=135)                    # Half the Earth's way round at 150 km/h, and a little.
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MICROMETRES_PER_E7: Final = 11_132                    # Of latitude; a degree of longitude is nowhere longer.
assert SPEED_KMH_MAX == 150, "the query counts in 125/3 µm per µs"


def captured(session: Session, row: ManifestRow, position: Position | None, policy: Policy, now: datetime) -> None:
    """Enter the fix of the phone that captured a statement, and judge its journeys."""
    if position is not None:
        _enter(session, row, _fix(row, position, LinkRole.CAPTURER, row.captured_upper_at), policy, now)


def witnessed(session: Session, row: ManifestRow, signer: Signer, policy: Policy, now: datetime) -> None:
    """Enter the fix of the phone that signed a partner's statement, and judge that person's journeys.

    It signed after the capture's earliest instant; until when, its own clock says if it keeps within the time that two signatures may be apart.
    """
    position, window = signer.header.pos, timedelta(seconds=policy.cosignature_window_s)
    if position is None or row.cosigner_id is None or signer.kid != row.cosigner_device:
        return
    is_near = abs(parse_utc(signer.header.at) - row.captured_at) <= window
    _enter(session, row, _fix(row, position, LinkRole.WITNESS, min(now, row.captured_upper_at + window) if is_near else now), policy, now)


def _fix(row: ManifestRow, position: Position | HeaderPosition, role: LinkRole, upper_at: datetime) -> FixRow:
    place, is_capturer = place_of(position), role is LinkRole.CAPTURER
    return FixRow(
        manifest_id=row.id, device=row.device if is_capturer else row.cosigner_device, staff_id=row.staff_id if is_capturer else row.cosigner_id,
        role=role, judged_us=_us(row.judged_at), lower_us=None if row.captured_lower_at is None else _us(row.captured_lower_at),
        upper_us=_us(upper_at), lat_e7=round(place.lat * 1e7), lon_e7=round(place.lon * 1e7),
        accuracy_cm=position.accuracy_cm)


def _enter(session: Session, row: ManifestRow, here: FixRow, policy: Policy, now: datetime) -> None:
    earlier = session.scalars(
        select(FixRow).where(
            _is_another(here), FixRow.judged_us <= here.judged_us, FixRow.lower_us > here.upper_us - REACH // _MICROSECOND,
            _is_far(here, here.upper_us - FixRow.lower_us))).all()
    add_findings(session, row, _journeys(here, earlier, policy), now)
    if here.lower_us is not None:
        # What came before this did could not be judged by it then: the first of them that it makes impossible.
        later = session.scalars(
            select(FixRow).where(
                _is_another(here), FixRow.judged_us > here.judged_us, FixRow.upper_us < here.lower_us + REACH // _MICROSECOND,
                _is_far(here, FixRow.upper_us - here.lower_us)).order_by(FixRow.judged_us, FixRow.manifest_id)).all()
        for there in later:
            found = _journeys(there, (here,), policy)
            if found:
                add_findings(session, session.get_one(ManifestRow, there.manifest_id), found, now)
                break
    session.add(here)
    session.flush()


def _journeys(here: FixRow, before: Sequence[FixRow], policy: Policy) -> tuple[Finding, ...]:
    arrival = Arrival(place=_place(here), accuracy_m=here.accuracy_cm / 100, at_latest=_at(here.upper_us))
    fixes = (Fix(place=_place(one), accuracy_m=one.accuracy_cm / 100, at_earliest=_at(here.upper_us - _longest_us(one, here))) for one in before)
    return judge_travel(arrival, fixes, policy, pointer="" if here.role is LinkRole.CAPTURER else here.device)


def _longest_us(one: FixRow, here: FixRow) -> int:
    """Return the longest time that may lie between two fixes. Only one phone's own captures are known to follow each other as they say."""
    assert one.lower_us is not None, "a journey begins at a bounded instant"
    onward = here.upper_us - one.lower_us
    if one.device == here.device and one.role is here.role is LinkRole.CAPTURER:
        return onward
    return max(onward, one.upper_us - (here.judged_us if here.lower_us is None else here.lower_us))


def _is_another(here: FixRow) -> ColumnElement[bool]:
    return (FixRow.staff_id == here.staff_id) & (FixRow.manifest_id != here.manifest_id)


def _is_far(here: FixRow, longest_us: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether more lies between two fixes than 150 km/h leave, their accuracies taken off: 125 micrometres in 3 microseconds."""
    way = (func.abs(FixRow.lat_e7 - here.lat_e7) + func.abs(FixRow.lon_e7 - here.lon_e7)) * _MICROMETRES_PER_E7
    return (way - (FixRow.accuracy_cm + here.accuracy_cm) * 10_000) * 3 > longest_us * 125


def _place(one: FixRow) -> LonLat:
    return LonLat(one.lon_e7 / 1e7, one.lat_e7 / 1e7)


def _us(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _at(us: int) -> datetime:
    return _EPOCH + us * _MICROSECOND
