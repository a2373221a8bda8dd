"""The judgements about statements, as facts and answers."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.geo import Datum, LonLat, from_wgs84
from backend.core.ids import BankId, BranchId, CaseId, StaffId, VisitId
from backend.core.problems import IllegalTransition
from backend.exhibits.model import (
    ITEM_TRANSITIONS,
    UPLOAD_TRANSITIONS,
    ItemEvent,
    ItemState,
    SignedBy,
    Standing,
    UploadEvent,
    UploadState,
    VisitFacts,
    advance_item,
    advance_upload,
    standing_of,
)
from backend.exhibits.rules import (
    BEACON_TRIP_S_MAX,
    Arrival,
    ChainFacts,
    ChainTimes,
    Fix,
    PlaceFacts,
    bound_capture,
    judge_chain,
    judge_clock,
    judge_devices,
    judge_order,
    judge_place,
    judge_reuse,
    judge_travel,
    judge_visit,
    retained_until,
)
from backend.policies.model import DEFAULT_POLICY, Policy
from evidence.envelope import HeaderPosition
from evidence.facts import CaptureFacts, Kind
from evidence.manifest import PREV_NONE, App, Integrity, Item, Manifest, NoFixReason, Position, Provider, Role, build_manifest
from evidence.manifest import Datum as StatedDatum
from evidence.model import Finding, Grade
from evidence.times import format_utc

NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
DOOR = LonLat(121.4737, 31.2304)
VISIT, CASE, BANK = uuid4(), uuid4(), uuid4()
APP = App(id="app", version="1", build="0" * 64, os="Linux", model="test", integrity=Integrity.NONE)


def position(place: LonLat = DOOR, *, accuracy_m: int = 10, datum: StatedDatum = StatedDatum.WGS84, mock: bool = False) -> Position:
    return Position(lat_e7=round(place.lat * 1e7), lon_e7=round(place.lon * 1e7), datum=datum, accuracy_cm=accuracy_m * 100,
                    fix_time=format_utc(NOW), provider=Provider.GPS, mock=mock)


def manifest(**changes: Any) -> Manifest:
    members: dict[str, Any] = {
        "manifest_id": "01a20064-0892-71c7-86f8-567b864a7f57", "tenant": "t", "bank": str(BANK), "case": str(CASE), "visit": str(VISIT),
        "visit_version": 1, "kind": Kind.CAPTURE, "device": "d" * 43, "actor": "a", "cosigner_device": None, "cosigner": None,
        "seq": 1, "prev": PREV_NONE,
        "captured": format_utc(NOW), "monotonic_ms": 30 * 86_400_000, "boot_id": "b", "beacon": None, "beacon_age_ms": None, "clock_offset_ms": None,
        "position": position(), "items": (), "app": APP, "facts": CaptureFacts(occasion="door_plate"),
    }
    return build_manifest(**(members | changes))


def visit(**changes: Any) -> VisitFacts:
    members: dict[str, Any] = {
        "visit_id": VisitId(VISIT), "version": 1, "case_id": CaseId(CASE), "bank_id": BankId(BANK), "branch_id": BranchId(UUID(int=1)),
        "pair": frozenset({StaffId(UUID(int=2))}), "is_open": True}
    return VisitFacts(**(members | changes))


def names(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.name for finding in findings}


# -- Statuses ------------------------------------------------------------------------------------------------------------------


def test_EVD_09_item_that_is_stored_stays_stored() -> None:
    for state in ItemState:
        for event in ItemEvent:
            if (state, event) in ITEM_TRANSITIONS:
                assert advance_item(state, event) is ITEM_TRANSITIONS[state, event]
            else:
                with pytest.raises(IllegalTransition):
                    advance_item(state, event)
    assert {state for state, _ in ITEM_TRANSITIONS} == {ItemState.NEEDED}


def test_EVD_09_upload_ends_once() -> None:
    for state in UploadState:
        for event in UploadEvent:
            if (state, event) in UPLOAD_TRANSITIONS:
                assert advance_upload(state, event) in (UploadState.FINISHED, UploadState.GONE)
            else:
                with pytest.raises(IllegalTransition):
                    advance_upload(state, event)


def finding(name: str, grade: Grade, pointer: str = "") -> Finding:
    return Finding(name=name, grade=grade, pointer=pointer)


@pytest.mark.parametrize(("found", "standing"), [
    ((), Standing.ACCEPTED),
    ((finding("weak-fix", Grade.INFO),), Standing.ACCEPTED),
    ((finding("late", Grade.DOUBT),), Standing.DOUBTFUL),
    ((finding("late", Grade.DOUBT), finding("signer-not-assigned", Grade.DOUBT)), Standing.BREACH),
    ((finding("after-hold", Grade.INFO),), Standing.ACCEPTED),
    ((finding("after-hold", Grade.INFO), finding("late", Grade.DOUBT)), Standing.DOUBTFUL),
    ((finding("signer-not-assigned", Grade.DOUBT), finding("mock-location", Grade.FRAUD_SIGN)), Standing.QUARANTINED),
    ((finding("chain-gap", Grade.DOUBT, "k/2"), finding("chain-gap-filled", Grade.INFO, "k/2")), Standing.ACCEPTED),
    ((finding("chain-gap", Grade.DOUBT, "k/3"), finding("chain-gap-filled", Grade.INFO, "k/2")), Standing.DOUBTFUL),
])
def test_VIS_01_standing_follows_the_heaviest_finding(found: tuple[Finding, ...], standing: Standing) -> None:
    assert standing_of(found) is standing


# -- Clocks --------------------------------------------------------------------------------------------------------------------


def test_EVD_10_without_a_beacon_the_claim_stands_but_never_after_its_arrival() -> None:
    early = bound_capture(manifest(), None, NOW + timedelta(hours=5))
    assert (early.judged_at, early.lower_at) == (NOW, None)
    ahead = bound_capture(manifest(captured=format_utc(NOW + timedelta(hours=2))), None, NOW)
    assert ahead.judged_at == NOW


def test_EVD_10_beacon_that_claims_more_time_than_passed_bounds_nothing() -> None:
    told = manifest(beacon="a" * 64, beacon_age_ms=2 * 3_600_000)
    bounds = bound_capture(told, NOW - timedelta(hours=1), NOW)
    assert bounds.lower_at is None
    assert "beacon-unusable" in names(judge_clock(told, bounds, NOW, DEFAULT_POLICY))


@given(claim_s=st.integers(-10**6, 10**6), issued_s=st.integers(0, 86_400), age_s=st.integers(0, 86_400), trip_s=st.integers(0, BEACON_TRIP_S_MAX))
def test_EVD_10_true_time_lies_within_the_bounds_whatever_the_wall_clock_says(claim_s: int, issued_s: int, age_s: int, trip_s: int) -> None:
    issued_at = NOW - timedelta(seconds=issued_s)
    true_at = issued_at + timedelta(seconds=trip_s + age_s)
    received_at = true_at + timedelta(seconds=30)
    told = manifest(captured=format_utc(NOW + timedelta(seconds=claim_s)), beacon="a" * 64, beacon_age_ms=age_s * 1000)
    bounds = bound_capture(told, issued_at, received_at)
    assert bounds.lower_at is not None
    assert bounds.lower_at <= true_at <= bounds.upper_at <= received_at
    assert bounds.lower_at <= bounds.judged_at <= bounds.upper_at
    assert abs(bounds.judged_at - true_at) <= timedelta(seconds=BEACON_TRIP_S_MAX + age_s * 2e-4 + 1)


def test_EVD_10_late_statement_is_a_doubt() -> None:
    received_at = NOW + timedelta(seconds=DEFAULT_POLICY.capture_age_s_max)
    bounds = bound_capture(manifest(), None, received_at)
    assert "late" not in names(judge_clock(manifest(), bounds, received_at, DEFAULT_POLICY))
    later = received_at + timedelta(seconds=1)
    assert "late" in names(judge_clock(manifest(), bound_capture(manifest(), None, later), later, DEFAULT_POLICY))


# -- Chains, devices, visits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seq", "prev", "same", "before", "expected"), [
    (1, PREV_NONE, set(), set(), set()),
    (2, "p", set(), {"p"}, set()),
    (2, "p", set(), set(), {"chain-gap"}),
    (2, "p", set(), {"q"}, {"chain-broken"}),
    (2, "p", {"other"}, {"p"}, {"chain-fork"}),
    (2, "p", {"own"}, {"p"}, set()),
    (2, "p", {"other"}, {"q"}, {"chain-fork", "chain-broken"}),
    (2, "p", set(), {"p", "q"}, set()),
])
def test_EVD_09_chain_is_judged_link_by_link(seq: int, prev: str, same: set[str], before: set[str], expected: set[str]) -> None:
    facts = ChainFacts(kid="k", seq=seq, prev=prev, digest="own", at_same_seq=frozenset(same), at_seq_before=frozenset(before))
    assert names(judge_chain(facts)) == expected


def test_EVD_09_key_lost_before_we_saw_it_is_a_fraud_sign_and_after_is_not() -> None:
    def of(**changes: Any) -> set[str]:
        device = SignedBy(kid="k", staff_id=StaffId(UUID(int=1)), state="active", **changes)
        return names(judge_devices([device], bound_capture(manifest(), None, NOW), NOW))

    assert of() == set()
    assert of(compromised_since=NOW) == {"key-compromised"}
    assert of(compromised_since=NOW + timedelta(seconds=1)) == set()
    assert of(revoked_at=NOW) == {"device-revoked-since"}


def test_EVD_09_what_a_revoked_device_sends_stands_only_by_its_bounds() -> None:
    def of(*, is_bounded: bool, is_renewed: bool = False) -> Grade:
        told = manifest(beacon="a" * 64, beacon_age_ms=60_000) if is_bounded else manifest()
        bounds = bound_capture(told, NOW - timedelta(hours=5) if is_bounded else None, NOW)
        device = SignedBy(kid="k", staff_id=StaffId(UUID(int=1)), state="revoked", revoked_at=NOW - timedelta(hours=1), is_renewed=is_renewed)
        (found,) = judge_devices([device], bounds, NOW)
        return found.grade

    assert of(is_bounded=False) is Grade.FRAUD_SIGN
    assert of(is_bounded=True) is Grade.DOUBT
    assert of(is_bounded=True, is_renewed=True) is Grade.INFO
    assert of(is_bounded=False, is_renewed=True) is Grade.DOUBT


@pytest.mark.parametrize(("after", "issued_hours", "age_min", "uptime_min", "expected"), [
    (timedelta(minutes=29), None, 0, 0, {("clock-unbounded", Grade.INFO)}),
    (timedelta(minutes=31), None, 0, 0, {("clock-unbounded", Grade.DOUBT)}),
    (timedelta(hours=20), 2, 120, 600, set()),                                                           # Offline for hours, bounded to the minute.
    (timedelta(hours=1), 0.5, 30, 600, set()),
    (timedelta(hours=1), 0.5, 30, 5, set()),                                                            # Restarted since: between beacon and arrival.
    (timedelta(hours=3), 0.5, 30, 5, {("clock-bound-wide", Grade.DOUBT)}),
])
def test_EVD_10_a_wide_bound_is_a_doubt_and_a_near_one_is_told(
    after: timedelta, issued_hours: float | None, age_min: int, uptime_min: int, expected: set[tuple[str, Grade]]
) -> None:
    told = manifest() if issued_hours is None else manifest(beacon="a" * 64, beacon_age_ms=age_min * 60_000, monotonic_ms=uptime_min * 60_000)
    issued_at = None if issued_hours is None else NOW - timedelta(hours=issued_hours)
    bounds = bound_capture(told, issued_at, NOW + after)
    assert {(one.name, one.grade) for one in judge_clock(told, bounds, NOW + after, DEFAULT_POLICY)} == expected


@pytest.mark.parametrize("off", [timedelta(hours=2), timedelta(hours=-2), timedelta(days=365), timedelta(days=-365)])
def test_EVD_10_a_wrong_clock_is_told_when_bounded_and_a_doubt_when_not(off: timedelta) -> None:
    wrong = manifest(captured=format_utc(NOW + off), beacon="a" * 64, beacon_age_ms=600_000)
    bounded = bound_capture(wrong, NOW - timedelta(minutes=10), NOW + timedelta(minutes=1))
    assert abs(bounded.judged_at - NOW) <= timedelta(seconds=BEACON_TRIP_S_MAX)
    assert {(one.name, one.grade) for one in judge_clock(wrong, bounded, NOW, DEFAULT_POLICY)} == {("clock-off", Grade.INFO)}
    alone = manifest(captured=format_utc(NOW + off))
    found = judge_clock(alone, bound_capture(alone, None, NOW), NOW, DEFAULT_POLICY)
    assert Grade.DOUBT in {one.grade for one in found}


def test_EVD_10_the_chain_bounds_what_no_beacon_does() -> None:
    told = manifest(captured=format_utc(NOW - timedelta(hours=6)))
    bounds = bound_capture(told, None, NOW, NOW - timedelta(hours=1))
    assert (bounds.judged_at, bounds.lower_at, bounds.proven_at) == (NOW - timedelta(hours=1), NOW - timedelta(hours=1), None)
    assert {one.name for one in judge_clock(told, bounds, NOW, DEFAULT_POLICY)} == {"clock-off"}


@pytest.mark.parametrize(("lower", "proven", "expected"), [
    (None, None, set()), (timedelta(0), timedelta(0), set()),
    (timedelta(seconds=1), None, {("time-runs-back", Grade.DOUBT)}),
    (timedelta(hours=1), timedelta(seconds=1), {("back-dated", Grade.FRAUD_SIGN)}),
])
def test_EVD_10_a_link_older_than_the_one_it_follows_is_back_dated(
    lower: timedelta | None, proven: timedelta | None, expected: set[tuple[str, Grade]]
) -> None:
    times = ChainTimes(
        kid="k", upper_at=NOW, lower_before_at=None if lower is None else NOW + lower, proven_before_at=None if proven is None else NOW + proven)
    assert {(one.name, one.grade) for one in judge_order(times)} == expected


@dataclass(frozen=True)
class VisitCase:
    changes: dict[str, Any]
    claim: dict[str, Any]
    expected: set[str]


@pytest.mark.parametrize("one", [
    VisitCase({}, {}, set()),
    VisitCase({}, {"case": "other"}, {"visit-differs"}),
    VisitCase({"version": 2}, {}, {"visit-version-stale"}),
    VisitCase({"is_open": False}, {}, {"visit-not-open"}),
    VisitCase({"is_open": False, "ended_at": NOW + timedelta(hours=1)}, {}, set()),
    VisitCase({"ended_at": NOW - timedelta(hours=1)}, {}, {"visit-not-open"}),
    VisitCase({"held_at": NOW - timedelta(minutes=1)}, {}, {"after-hold"}),
    VisitCase({"held_at": NOW + timedelta(minutes=1)}, {}, set()),
])
def test_DECL_01_visit_is_judged_at_the_time_of_capture(one: VisitCase) -> None:
    told = manifest(**one.claim)
    assert names(judge_visit(told, bound_capture(told, None, NOW + timedelta(days=1)), visit(**one.changes))) == one.expected


# -- Places ------------------------------------------------------------------------------------------------------------------------


def place(told: Manifest, policy: Policy = DEFAULT_POLICY, **changes: Any) -> set[str]:
    members: dict[str, Any] = {"address": DOOR, "positions": (), "bounds": bound_capture(told, None, NOW)}
    return names(judge_place(told, PlaceFacts(**(members | changes)), policy))


def moved(metres: float) -> LonLat:
    return LonLat(DOOR.lon, DOOR.lat + metres / 111_195)


def test_VIS_10_distance_allows_two_hundred_metres_or_twice_the_accuracy() -> None:
    assert place(manifest(position=position(moved(195)))) == set()
    assert place(manifest(position=position(moved(205)))) == {"far-from-address"}
    assert place(manifest(position=position(moved(590), accuracy_m=300))) == set()
    assert place(manifest(position=position(moved(610), accuracy_m=300))) == {"far-from-address"}


def test_VIS_10_position_in_gcj02_is_converted_not_suspected() -> None:
    shifted = from_wgs84(DOOR, Datum.GCJ02)
    assert place(manifest(position=position(shifted, datum=StatedDatum.GCJ02))) == set()
    assert place(manifest(position=position(shifted))) == {"far-from-address"}
    assert place(manifest(position=position(shifted, datum=StatedDatum.UNKNOWN))) == {"datum-unknown"}


def test_VIS_10_no_fix_and_weak_fix_are_told() -> None:
    assert place(manifest(position=None, no_fix_reason=NoFixReason.NO_SIGNAL)) == {"no-fix"}
    assert place(manifest(position=position(accuracy_m=600))) == {"weak-fix"}


def header(where: LonLat, *, mock: bool = False, accuracy_m: int = 10) -> HeaderPosition:
    lat_e7, lon_e7 = round(where.lat * 1e7), round(where.lon * 1e7)
    return HeaderPosition(lat_e7=lat_e7, lon_e7=lon_e7, datum=StatedDatum.WGS84, accuracy_cm=accuracy_m * 100, mock=mock)


def test_VIS_01_partners_stand_at_one_door() -> None:
    assert place(manifest(), positions=(header(DOOR), header(moved(160)))) == set()
    assert place(manifest(), positions=(header(DOOR), header(moved(180)))) == {"partners-apart"}
    assert place(manifest(), positions=(header(DOOR), header(DOOR, mock=True))) == {"mock-location"}


def test_EVD_09_travel_is_judged_by_the_longest_time_and_the_shortest_way() -> None:
    here = Arrival(place=DOOR, accuracy_m=10, at_latest=NOW)
    before, faster, fastest = (
        Fix(place=moved(30_000), accuracy_m=10, at_earliest=NOW - timedelta(minutes=minutes)) for minutes in (13, 11, 9))
    assert judge_travel(here, (before,), DEFAULT_POLICY) == ()
    (found,) = judge_travel(here, (before, fastest, faster), DEFAULT_POLICY, pointer="d")
    assert (found.name, found.grade, found.got, found.pointer) == ("impossible-travel", Grade.FRAUD_SIGN, "200 km/h", "d")
    assert judge_travel(here, (Fix(place=moved(300), accuracy_m=10, at_earliest=NOW),), DEFAULT_POLICY) == ()


# -- Items -------------------------------------------------------------------------------------------------------------------------


def test_EVD_09_reuse_across_visits_outweighs_reuse_within_one() -> None:
    assert [one.grade for one in judge_reuse("i", elsewhere=True, same_visit=True)] == [Grade.FRAUD_SIGN]
    assert [one.grade for one in judge_reuse("i", elsewhere=False, same_visit=True)] == [Grade.INFO]
    assert judge_reuse("i", elsewhere=False, same_visit=False) == ()


def captured(role: Role) -> Item:
    return Item(item_id="i", role=role, sha256="0" * 64, size=1, media_type="audio/mp4", started=format_utc(NOW), ended=format_utc(NOW))


def test_EVD_02_recordings_are_kept_two_years_and_longer_where_the_bank_asks() -> None:
    assert retained_until(captured(Role.AUDIO), DEFAULT_POLICY) == NOW + timedelta(days=731)
    assert retained_until(captured(Role.VIDEO), Policy(recording_kept_days_min=1_500)) == NOW + timedelta(days=1_500)
    assert retained_until(captured(Role.AUDIO), Policy(recording_kept_days_min=30)) == NOW + timedelta(days=731)


def test_EVD_09_everything_else_is_kept_without_end() -> None:
    assert {retained_until(captured(role), DEFAULT_POLICY) for role in set(Role) - {Role.AUDIO, Role.VIDEO}} == {None}
