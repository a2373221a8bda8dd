"""What is thought of an authentic statement: pure functions from facts to graded findings. Empty means clean.

None of them refuses anything: a statement of what happened is kept whatever it says (design decision 4, F23).
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from backend.core.geo import Datum, LonLat, distance_m, to_wgs84
from backend.exhibits.model import GAP, RECORDING_DAYS_MIN, RECORDING_ROLES, Bounds, LinkRole, SignedBy, VisitFacts
from backend.exhibits.recording_model import OCCASION
from backend.policies.model import Policy
from evidence.envelope import HeaderPosition, Signer, SignerRole
from evidence.facts import CaptureFacts, Kind
from evidence.manifest import Datum as StatedDatum
from evidence.manifest import Item, Manifest, Position
from evidence.model import Finding, Grade
from evidence.times import parse_utc

BEACON_TRIP_S_MAX = 60
"""Longest time between a beacon's signing here and its arrival on the phone."""
DRIFT = 1e-4
"""A phone's monotonic clock gains or loses at most this share; twice what cheap crystals do."""
AGE_S_MAX = 10 * 366 * 86_400
"""No phone runs longer; keeps sums within the calendar."""
PARTNERS_M_MAX = 150
"""Two people who sign one statement stand at one door."""
WEAK_FIX_M = 500
SPEED_KMH_MAX = 150
DOOR_KINDS = frozenset({Kind.ARRIVAL, Kind.CAPTURE, Kind.DECLARATION, Kind.CASH_RECEIPT, Kind.DEPARTURE})
"""Statements made at the address; a close or a void may be signed in the car."""
DEMANDING_KINDS = frozenset({Kind.ARRIVAL, Kind.CASH_RECEIPT})
"""What may not follow a suspension. Declarations and leaving do follow it: a denial suspends at once (DECL-01)."""


def is_at_door(manifest: Manifest) -> bool:
    """Whether a statement is made at the address. Accepting a recorder's file is a capture at a desk, in the evening (F06)."""
    return manifest.kind in DOOR_KINDS and not (isinstance(manifest.facts, CaptureFacts) and manifest.facts.occasion == OCCASION)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A phone's three clocks at an act: wall, monotonic since its boot, and the age of the beacon it names by that clock."""

    claimed_at: datetime
    monotonic_ms: int
    beacon_age_ms: int | None


def bound_capture(manifest: Manifest, beacon_issued_at: datetime | None, received_at: datetime, chain_lower_at: datetime | None = None) -> Bounds:
    """Bound the true time of capture by the beacon named, the monotonic time since, the device's chain, and the statement's arrival.

    Args:
        chain_lower_at: The lower bound of an earlier link of the device's chain: whose digest it follows was made before it.
    """
    told = Told(claimed_at=parse_utc(manifest.captured), monotonic_ms=manifest.monotonic_ms, beacon_age_ms=manifest.beacon_age_ms)
    return bound_claim(told, beacon_issued_at, received_at, chain_lower_at)


def bound_claim(told: Told, beacon_issued_at: datetime | None, received_at: datetime, chain_lower_at: datetime | None = None) -> Bounds:
    """Bound a phone's claimed time as `bound_capture` does that of a statement.

    Without a beacon only the chain bounds from below. An age that reaches beyond the arrival bounds nothing; one longer than the
    phone has run was not measured (it was restarted since), so that the beacon's own time is all there is.
    """
    lower_at, upper_at, proven_at = None, received_at, None
    if beacon_issued_at is not None and told.beacon_age_ms is not None and beacon_issued_at <= received_at:
        age_s = told.beacon_age_ms / 1000
        earliest = beacon_issued_at + timedelta(seconds=min(age_s, AGE_S_MAX) * (1 - DRIFT))
        if told.beacon_age_ms > told.monotonic_ms:
            lower_at = proven_at = beacon_issued_at
        elif earliest <= received_at:
            lower_at, proven_at = earliest, beacon_issued_at
            upper_at = min(received_at, beacon_issued_at + timedelta(seconds=age_s * (1 + DRIFT) + BEACON_TRIP_S_MAX))
    if lower_at is None and chain_lower_at is not None and chain_lower_at <= received_at:
        lower_at = chain_lower_at
    judged_at = min(max(told.claimed_at, lower_at or told.claimed_at), upper_at)
    return Bounds(claimed_at=told.claimed_at, lower_at=lower_at, upper_at=upper_at, judged_at=judged_at, proven_at=proven_at)


def judge_clock(manifest: Manifest, bounds: Bounds, received_at: datetime, policy: Policy) -> tuple[Finding, ...]:
    """Judge the three clocks. A wrong wall clock that a beacon bounds is only told (F24)."""
    findings: list[Finding] = []
    off_s = abs((bounds.claimed_at - bounds.judged_at).total_seconds())
    if manifest.beacon is not None and bounds.proven_at is None:
        findings.append(_found("beacon-unusable", Grade.DOUBT, "a beacon fetched by this device, no older than its age", "another"))
    elif bounds.lower_at is None:
        # Back-dating cannot be told from an old capture; near to its arrival there is little to gain by it.
        away_s = (received_at - bounds.judged_at).total_seconds()
        grade = Grade.DOUBT if away_s > policy.clock_unbounded_s_max else Grade.INFO
        findings.append(_found("clock-unbounded", grade, f"a beacon, or arrival within {policy.clock_unbounded_s_max} s", f"{away_s:.0f} s"))
    elif (width_s := (bounds.upper_at - bounds.lower_at).total_seconds()) > policy.clock_bound_s_max:
        findings.append(_found("clock-bound-wide", Grade.DOUBT, f"bounded within {policy.clock_bound_s_max} s", f"{width_s:.0f} s"))
    if off_s > policy.clock_offset_s_max:
        grade = Grade.INFO if bounds.proven_at is not None else Grade.DOUBT
        findings.append(_found("clock-off", grade, f"at most {policy.clock_offset_s_max} s", f"{off_s:.0f} s"))
    late_s = (received_at - bounds.judged_at).total_seconds()
    if late_s > policy.capture_age_s_max:
        findings.append(_found("late", Grade.DOUBT, f"within {policy.capture_age_s_max} s of capture", f"{late_s:.0f} s", "EVD-10"))
    return tuple(findings)


class ChainTimes(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of a statement and the latest bounds of the links before it in one device's chain."""

    kid: str
    upper_at: datetime
    lower_before_at: datetime | None         # Measured by the phone's own monotonic clock.
    proven_before_at: datetime | None        # A server's signature: the link before names a beacon of that time.


def judge_order(times: ChainTimes) -> tuple[Finding, ...]:
    """Judge whether a link can be as old as it says: it follows a link that was made later (EVD-09, EVD-10)."""
    for name, grade, before_at in (
        ("back-dated", Grade.FRAUD_SIGN, times.proven_before_at), ("time-runs-back", Grade.DOUBT, times.lower_before_at),
    ):
        if before_at is not None and times.upper_at < before_at:
            got = f"at most {times.upper_at:%Y-%m-%dT%H:%M:%SZ}"
            return (_found(name, grade, f"after {before_at:%Y-%m-%dT%H:%M:%SZ}, as the link before", got, "EVD-09", "EVD-10", pointer=times.kid),)
    return ()


class ChainFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One link of a device's chain and its neighbours as stored before."""

    kid: str
    seq: int
    prev: str
    digest: str
    at_same_seq: frozenset[str]              # Digests stored under this number.
    at_seq_before: frozenset[str]            # Digests stored under the number before.
    last: tuple[int, str] | None = None      # The key was renewed, and signed that this number and digest are its last.


def judge_chain(link: ChainFacts) -> tuple[Finding, ...]:
    """Judge one link: a second payload under one number is a fork, a missing predecessor a gap, another one a break."""
    pointer = f"{link.kid}/{link.seq}"
    findings: list[Finding] = []
    if link.at_same_seq - {link.digest}:
        findings.append(_found("chain-fork", Grade.FRAUD_SIGN, "one payload per number", "two", "EVD-09", pointer=pointer))
    if link.last is not None and (link.seq > link.last[0] or (link.seq == link.last[0] and link.digest != link.last[1])):
        findings.append(_found("chain-after-renewal", Grade.FRAUD_SIGN, f"{link.last[0]} as the last", str(link.seq), "EVD-09", pointer=pointer))
    if link.seq > 1 and not link.at_seq_before:
        findings.append(_found(GAP, Grade.DOUBT, f"number {link.seq - 1}", "not yet here", "EVD-09", pointer=pointer))
    elif link.seq > 1 and link.prev not in link.at_seq_before:
        findings.append(_found("chain-broken", Grade.FRAUD_SIGN, "the digest of the payload before", "another", "EVD-09", pointer=pointer))
    return tuple(findings)


def links_of(manifest: Manifest, signers: Iterable[Signer]) -> tuple[tuple[Signer, LinkRole], ...]:
    """Return which chains a statement is a link of: that of its own device and that of each witness."""
    return tuple((signer, LinkRole.CAPTURER if signer.kid == manifest.device else LinkRole.WITNESS) for signer in signers)


def judge_devices(devices: Iterable[SignedBy], bounds: Bounds, received_at: datetime) -> tuple[Finding, ...]:
    """Judge the signing devices' standing; a key lost before this statement was seen here is a fraud sign.

    What a revoked device sent afterwards stands only by its bounds: a doubt when they end before the revocation, a fraud sign when
    nothing but the phone's word says so. A device that was renewed is in nobody else's hands.
    """
    findings: list[Finding] = []
    for device in devices:
        if device.compromised_since is not None and received_at >= device.compromised_since:
            findings.append(key_compromised(device.kid, device.compromised_since))
        elif device.revoked_at is not None:
            is_before = bounds.lower_at is not None and bounds.upper_at < device.revoked_at
            grade = Grade.INFO if device.is_renewed and is_before else Grade.DOUBT if is_before or device.is_renewed else Grade.FRAUD_SIGN
            findings.append(_found("device-revoked-since", grade, f"bounded before {device.revoked_at:%Y-%m-%dT%H:%MZ}", device.kid))
        elif device.state == "suspended":
            findings.append(_found("device-suspended", Grade.DOUBT, "an active device", device.kid))
    return tuple(findings)


def key_compromised(kid: str, since: datetime) -> Finding:
    """Return the finding about a statement that arrived when its device's key was in other hands."""
    return _found("key-compromised", Grade.FRAUD_SIGN, f"seen before {since:%Y-%m-%dT%H:%MZ}", kid)


def judge_visit(manifest: Manifest, bounds: Bounds, visit: VisitFacts | None) -> tuple[Finding, ...]:
    """Judge what the statement says about its visit against what is known of that visit."""
    if visit is None:
        return (_found("visit-unknown", Grade.DOUBT, "a visit of this agency", "no such visit"),)
    findings: list[Finding] = []
    if (manifest.case, manifest.bank) != (str(visit.case_id), str(visit.bank_id)):
        findings.append(_found("visit-differs", Grade.DOUBT, "the visit's case and bank", "another", pointer="/case"))
    if manifest.visit_version != visit.version:
        findings.append(_found("visit-version-stale", Grade.INFO, str(visit.version), str(manifest.visit_version), pointer="/visit_version"))
    is_after_end = visit.ended_at is not None and bounds.judged_at > visit.ended_at and is_at_door(manifest)
    if is_after_end or (not visit.is_open and visit.ended_at is None):
        findings.append(_found("visit-not-open", Grade.DOUBT, "an open visit", "closed or cancelled"))
    if visit.held_at is not None and bounds.judged_at > visit.held_at:
        grade = Grade.DOUBT if manifest.kind in DEMANDING_KINDS else Grade.INFO
        # The name makes a standing a breach only where it is a doubt.
        findings.append(_found("after-hold", grade, f"before {visit.held_at:%Y-%m-%dT%H:%MZ}", f"{bounds.judged_at:%Y-%m-%dT%H:%MZ}", "DECL-01"))
    return tuple(findings)


def judge_tenant(manifest: Manifest, tenant: str) -> tuple[Finding, ...]:
    """Judge whether a statement was signed for this deployment (protocol §2.2); what our phone signed for another one stays evidence, in doubt."""
    if manifest.tenant == tenant:
        return ()
    return (_found("tenant-differs", Grade.DOUBT, tenant, "another agency", "EVD-09", pointer="/tenant"),)


class Fix(msgspec.Struct, frozen=True, kw_only=True):
    """One earlier fix of a person: where, how exactly, and when at the earliest."""

    place: LonLat
    accuracy_m: float
    at_earliest: datetime


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """Where a person's journey ended: where, how exactly, and when at the latest."""

    place: LonLat
    accuracy_m: float
    at_latest: datetime


class PlaceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the judgement of place needs besides the statement."""

    address: LonLat | None
    positions: tuple[HeaderPosition | None, ...]     # Of the signers, as signed by each.
    bounds: Bounds


def judge_place(manifest: Manifest, facts: PlaceFacts, policy: Policy) -> tuple[Finding, ...]:
    """Judge position and partner. Distances are judged with the stated accuracy in the person's favour."""
    findings: list[Finding] = []
    if manifest.position is None:
        findings.append(_found("no-fix", Grade.INFO, "a position", str(manifest.no_fix_reason or ""), pointer="/position"))
    else:
        findings.extend(_judge_fix(manifest, manifest.position, facts, policy))
    if any(position is not None and position.mock for position in (manifest.position, *facts.positions)):
        findings.append(_found("mock-location", Grade.FRAUD_SIGN, "a real fix", "a mock provider", pointer="/position/mock"))
    known = [position for position in facts.positions if position is not None]
    if len(known) == 2:
        apart_m = distance_m(_wgs84(known[0]), _wgs84(known[1])) - (known[0].accuracy_cm + known[1].accuracy_cm) / 100
        if apart_m > PARTNERS_M_MAX:
            findings.append(_found("partners-apart", Grade.DOUBT, f"at most {PARTNERS_M_MAX} m", f"{apart_m:.0f} m", "VIS-01"))
    return tuple(findings)


def _judge_fix(manifest: Manifest, position: Position, facts: PlaceFacts, policy: Policy) -> Iterable[Finding]:
    place, accuracy_m = _wgs84(position), position.accuracy_cm / 100
    if accuracy_m > WEAK_FIX_M:
        yield _found("weak-fix", Grade.INFO, f"within {WEAK_FIX_M} m", f"{accuracy_m:.0f} m", pointer="/position")
    if position.datum is StatedDatum.UNKNOWN:
        yield _found("datum-unknown", Grade.INFO, "wgs84 or gcj02", "unknown", pointer="/position/datum")
    if facts.address is not None and is_at_door(manifest):
        allowed_m = max(float(policy.distance_m_max), 2 * accuracy_m)
        candidates = [place] if position.datum is not StatedDatum.UNKNOWN else [place, to_wgs84(place, Datum.GCJ02)]
        away_m = min(distance_m(candidate, facts.address) for candidate in candidates)
        if away_m > allowed_m:
            yield _found("far-from-address", Grade.DOUBT, f"at most {allowed_m:.0f} m", f"{away_m:.0f} m", pointer="/position")


def judge_travel(here: Arrival, before: Iterable[Fix], policy: Policy, *, pointer: str = "") -> tuple[Finding, ...]:
    """Judge the journeys from earlier fixes of a person to this one: the shortest way in the longest time. The fastest of them is told."""
    fastest_kmh = 0.0
    for fix in before:
        travelled_m = distance_m(here.place, fix.place) - here.accuracy_m - fix.accuracy_m
        longest_s = max((here.at_latest - fix.at_earliest).total_seconds(), 1.0)
        # Twice the door radius: neighbouring doors within a second are no journey.
        if travelled_m > 2 * policy.distance_m_max:
            fastest_kmh = max(fastest_kmh, travelled_m / longest_s * 3.6)
    if fastest_kmh <= SPEED_KMH_MAX:
        return ()
    return (_found("impossible-travel", Grade.FRAUD_SIGN, f"at most {SPEED_KMH_MAX} km/h", f"{fastest_kmh:.0f} km/h", pointer=pointer),)


def judge_reuse(item_id: str, *, elsewhere: bool, same_visit: bool) -> tuple[Finding, ...]:
    """Judge whether the same bytes were declared before: under another visit is a fraud sign, under this one is told."""
    if elsewhere:
        return (_found("reused-exact", Grade.FRAUD_SIGN, "bytes of this visit", "bytes of another visit", "EVD-09", pointer=item_id),)
    if same_visit:
        return (_found("repeated-item", Grade.INFO, "bytes declared once", "declared again in this visit", pointer=item_id),)
    return ()


def retained_until(item: Item, policy: Policy) -> datetime | None:
    """Return until when an item is kept at least: recordings by EVD-02 and EVD-03, all else without end (CF-10)."""
    return parse_utc(item.ended) + timedelta(days=max(policy.recording_kept_days_min, RECORDING_DAYS_MIN)) if item.role in RECORDING_ROLES else None


def place_of(position: Position | HeaderPosition) -> LonLat:
    """Return a stated position in WGS-84; one of unknown datum is taken as stated."""
    return _wgs84(position)


def is_capturer(signer: Signer) -> bool:
    """Whether the signature is that of the phone that captured."""
    return signer.header.role is SignerRole.CAPTURER


def _wgs84(position: Position | HeaderPosition) -> LonLat:
    place = LonLat(position.lon_e7 / 1e7, position.lat_e7 / 1e7)
    return to_wgs84(place, Datum.GCJ02) if position.datum is StatedDatum.GCJ02 else place


def _found(name: str, grade: Grade, expected: str, got: str, *rules: str, pointer: str = "") -> Finding:
    return Finding(name=name, grade=grade, rules=tuple(rules), expected=expected, got=got, pointer=pointer)
