"""Taking signed statements in: refused only when provably not ours, kept and graded whatever they say."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from backend.audit.tables import LogEntryRow
from backend.auth.actors import Actor, Role
from backend.core.geo import LonLat
from backend.core.problems import Forbidden, NotFound
from backend.db import upgrade
from backend.exhibits import beacons
from backend.exhibits.actions import accept, quarantine_since
from backend.exhibits.examinations import camera_facts
from backend.exhibits.findings import add_findings
from backend.exhibits.model import Accepted, Intake, LinkRole, ManifestState, Standing, Verdict, VisitFacts
from backend.exhibits.refusals import (
    CosignatureMissing,
    CosignerNotDistinct,
    DeviceNotActive,
    DeviceRevoked,
    MalformedEnvelope,
    ManifestConflict,
    PayloadNotCanonical,
    SchemaViolation,
    SignatureInvalid,
    UnknownDevice,
    WrongAlgorithm,
)
from backend.exhibits.reviews import Decide, decide
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import ChainLinkRow, FindingRow, FixRow, ItemRow, ManifestRow, SignatureRow
from backend.policies.model import DEFAULT_POLICY
from backend.staff.model import DeviceState
from backend.staff.tables import DeviceRow
from evidence.canonical import b64u_encode, canonicalise, parse_strict, sha256_hex
from evidence.envelope import SignerRole, assemble, check_shape, header_for
from evidence.facts import Kind
from evidence.keys import generate_key, thumbprint
from evidence.manifest import NoFixReason, decode_manifest
from evidence.model import Finding, Grade
from tests.support.engines import Database
from tests.support.exhibits import (
    ARRIVAL,
    CAPTURE,
    DOOR,
    Handset,
    close_facts,
    envelope_of,
    item,
    open_case,
    position,
    signed_once,
    signed_twice,
    visit_facts,
)
from tests.support.world import Person, World, add_person, shared_keyring, world

KEYRING = shared_keyring()


@dataclass
class Scene:
    """Bilal and dong at a door, with their phones in hand."""

    session: Session
    made: World
    visit: VisitFacts
    bilal: Handset
    dong: Handset

    @property
    def at(self) -> datetime:
        return self.made.now - timedelta(minutes=5)

    def send(self, raw: bytes, *, actor: Actor | None = None, visit: VisitFacts | str | None = "", now: datetime | None = None) -> Accepted:
        received_at = now or self.made.now
        statement = open_statement(self.session, raw, received_at)
        known = self.visit if visit == "" else visit
        assert not isinstance(known, str)
        intake = Intake(visit=known, policy=DEFAULT_POLICY, keyring=KEYRING, tenant="fieldvisit")
        return accept(self.session, actor or self.made.bilal.on_phone, statement, intake, received_at)

    def arrival(self, **changes: object) -> bytes:
        return self.bilal.payload(self.made, self.visit, Kind.ARRIVAL, ARRIVAL, partner=self.dong, **changes)

    def capture(self, phone: Handset | None = None, **changes: object) -> bytes:
        holder = phone or self.bilal
        return signed_once(holder, holder.payload(self.made, self.visit, Kind.CAPTURE, CAPTURE, **changes))


@pytest.fixture
def scene(session: Session, now: datetime) -> Scene:
    made = world(session, KEYRING, now)
    return Scene(session, made, visit_facts(made, open_case(session, KEYRING, made)), Handset(made.bilal), Handset(made.dong))


def names(accepted: Accepted) -> set[str]:
    return {finding.name for finding in accepted.findings}


# -- Refused: provably no statement of ours --------------------------------------------------------------------------------


def test_EVD_09_tampered_payload_is_refused(scene: Scene) -> None:
    raw = parse_strict(scene.capture())
    payload = parse_strict(_payload(raw))
    payload["visit_version"] = 2
    raw["payload"] = b64u_encode(canonicalise(payload))
    with pytest.raises(SignatureInvalid):
        scene.send(canonicalise(raw))
    assert scene.session.scalars(select(ManifestRow)).all() == []


def test_EVD_09_duplicate_keys_are_refused(scene: Scene) -> None:
    raw = scene.capture()
    with pytest.raises(MalformedEnvelope):
        scene.send(raw.replace(b'{"payload":', b'{"payload":"","payload":', 1))


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{}", b"\xff", b'{"payload":1e3}', b'{"payload":"","signatures":[]}', b"[" * 5000])
def test_EVD_09_what_is_no_envelope_is_refused(scene: Scene, raw: bytes) -> None:
    with pytest.raises(MalformedEnvelope):
        scene.send(raw)


def test_EVD_09_another_algorithm_is_refused(scene: Scene) -> None:
    raw = parse_strict(scene.capture())
    signature = raw["signatures"][0]  # type: ignore[index,call-overload]
    header = parse_strict(_unb64(signature["protected"]))  # type: ignore[index,call-overload]
    header["alg"] = "none"
    signature["protected"] = b64u_encode(canonicalise(header))  # type: ignore[index,call-overload]
    with pytest.raises(WrongAlgorithm):
        scene.send(canonicalise(raw))


def test_EVD_09_non_canonical_payload_is_refused_though_its_signature_is_good(scene: Scene) -> None:
    payload = scene.bilal.payload(scene.made, scene.visit, Kind.CAPTURE, CAPTURE)
    spaced = payload.replace(b'","', b'", "', 1)
    with pytest.raises(PayloadNotCanonical):
        scene.send(assemble(spaced, [scene.bilal.sign(spaced, decode_manifest(payload))]))


def test_EVD_09_unknown_member_is_refused_with_its_place(scene: Scene) -> None:
    payload = scene.bilal.payload(scene.made, scene.visit, Kind.CAPTURE, CAPTURE)
    members = parse_strict(payload)
    members["extra"] = 1
    odd = canonicalise(members)
    with pytest.raises(SchemaViolation):
        scene.send(assemble(odd, [scene.bilal.sign(odd, decode_manifest(payload))]))


def test_EVD_09_unknown_device_is_refused(scene: Scene) -> None:
    stranger = Handset(msgspec_replace_phone(scene.made))
    with pytest.raises(UnknownDevice):
        scene.send(scene.capture(stranger))


def test_EVD_09_signature_of_a_device_the_payload_does_not_name_is_refused(scene: Scene) -> None:
    payload = scene.bilal.payload(scene.made, scene.visit, Kind.CAPTURE, CAPTURE)
    manifest = msgspec.structs.replace(decode_manifest(payload), device=scene.dong.kid)
    with pytest.raises(SignatureInvalid):
        scene.send(assemble(payload, [scene.dong.sign(payload, manifest)]))


def test_EVD_09_device_never_approved_is_refused(scene: Scene) -> None:
    scene.session.execute(update(DeviceRow).where(DeviceRow.kid == scene.bilal.kid).values(state=DeviceState.PENDING))
    with pytest.raises(DeviceNotActive):
        scene.send(scene.capture())


def test_EVD_09_signed_after_revocation_is_refused_and_before_it_is_kept(scene: Scene) -> None:
    raw = scene.capture()
    scene.session.execute(update(DeviceRow).where(DeviceRow.kid == scene.bilal.kid).values(
        state=DeviceState.REVOKED, revoked_at=scene.at + timedelta(minutes=1)))
    kept = scene.send(raw)
    # Nothing but the phone's word says that it was before: quarantined, not refused.
    assert ("device-revoked-since" in names(kept), kept.standing) == (True, Standing.QUARANTINED)
    with pytest.raises(DeviceRevoked):
        scene.send(scene.capture(at=scene.at + timedelta(minutes=2)))


def test_VIS_01_one_person_signing_twice_is_refused(scene: Scene) -> None:
    payload = scene.arrival()
    manifest = decode_manifest(payload)
    twice = [scene.bilal.sign(payload, manifest), scene.bilal.sign(payload, manifest, role=SignerRole.WITNESS)]
    raw = canonicalise({"payload": b64u_encode(payload), "signatures": [{"protected": one.protected, "signature": one.signature} for one in twice]})
    with pytest.raises(CosignerNotDistinct):
        scene.send(raw)


def test_VIS_01_two_devices_of_one_person_are_refused(scene: Scene) -> None:
    scene.session.execute(update(DeviceRow).where(DeviceRow.kid == scene.dong.kid).values(staff_id=scene.made.bilal.id, state=DeviceState.SUSPENDED))
    with pytest.raises(CosignerNotDistinct):
        scene.send(signed_twice(scene.bilal, scene.dong, scene.arrival(), scene.at))


def test_VIS_01_close_that_names_one_signer_is_refused(scene: Scene) -> None:
    payload = scene.bilal.payload(scene.made, scene.visit, Kind.VISIT_CLOSE, close_facts(scene.made, ()))
    with pytest.raises(CosignatureMissing):
        scene.send(signed_once(scene.bilal, payload))


def test_EVD_09_id_that_stands_for_other_content_is_refused(scene: Scene) -> None:
    first = scene.capture()
    manifest_id = scene.send(first).manifest.manifest_id
    with pytest.raises(ManifestConflict):
        scene.send(scene.capture(manifest_id=manifest_id))


def test_SEC_01_another_pairs_phone_gets_404_and_the_office_403(scene: Scene) -> None:
    raw = scene.capture()
    with pytest.raises(NotFound):
        scene.send(raw, actor=scene.made.zhen.on_phone)
    with pytest.raises(Forbidden):
        scene.send(raw, actor=scene.made.amina.actor)


# -- Kept: two signatures ----------------------------------------------------------------------------------------------------


def test_VIS_01_first_signature_waits_and_the_second_completes_the_same_payload(scene: Scene) -> None:
    payload = scene.arrival()
    first = scene.send(signed_once(scene.bilal, payload))
    assert (first.state, first.is_new, first.is_completed_now, first.standing) == (ManifestState.AWAITING_COSIGNATURE, True, False, Standing.ACCEPTED)
    second = scene.send(signed_twice(scene.bilal, scene.dong, payload, scene.at), actor=scene.made.dong.on_phone)
    assert (second.state, second.is_new, second.is_completed_now) == (ManifestState.COMPLETE, False, True)
    assert second.manifest_id == first.manifest_id
    assert names(second) == {"clock-unbounded"}
    again = scene.send(signed_twice(scene.bilal, scene.dong, payload, scene.at))
    assert again.is_replay
    assert scene.session.scalars(select(SignatureRow.kid)).all().__len__() == 2


def test_VIS_01_the_witness_may_arrive_first(scene: Scene) -> None:
    payload = scene.arrival()
    witness = scene.dong.witness(payload, scene.at)
    first = scene.send(assemble(payload, [witness]), actor=scene.made.dong.on_phone)
    assert first.state is ManifestState.AWAITING_COSIGNATURE
    assert scene.send(signed_once(scene.bilal, payload)).is_completed_now


def test_VIS_01_signatures_far_apart_are_a_doubt_however_late_they_arrive(scene: Scene) -> None:
    payload = scene.arrival(at=scene.made.now - timedelta(hours=3))
    near = scene.send(signed_twice(scene.bilal, scene.dong, payload, scene.made.now - timedelta(hours=3) + timedelta(minutes=20)))
    assert "cosignature-late" not in names(near)
    late = scene.arrival(at=scene.made.now - timedelta(hours=3))
    assert "cosignature-late" in names(scene.send(signed_twice(scene.bilal, scene.dong, late, scene.made.now - timedelta(hours=2))))


def test_VIS_01_arrival_of_one_person_is_kept_as_a_breach_and_lapsed_at_once(scene: Scene) -> None:
    alone = scene.bilal.payload(scene.made, scene.visit, Kind.ARRIVAL, ARRIVAL)
    accepted = scene.send(signed_once(scene.bilal, alone))
    assert (accepted.state, accepted.standing) == (ManifestState.LAPSED, Standing.BREACH)
    assert "cosignature-missing" in names(accepted)


# -- Kept and graded: whatever an authentic statement says --------------------------------------------------------------------


def test_VIS_01_signer_who_is_not_assigned_is_a_breach_not_a_refusal(scene: Scene) -> None:
    visit = visit_facts(scene.made, scene.visit.case_id, visit_id=scene.visit.visit_id, pair=frozenset({scene.made.dong.id, scene.made.zhen.id}))
    accepted = scene.send(scene.capture(), visit=visit)
    assert accepted.standing is Standing.BREACH
    assert "signer-not-assigned" in names(accepted)


def test_EVD_09_statement_about_an_unknown_visit_is_kept_in_doubt(scene: Scene) -> None:
    accepted = scene.send(scene.capture(), visit=None)
    assert (accepted.standing, accepted.visit_id) == (Standing.DOUBTFUL, None)
    assert "visit-unknown" in names(accepted)


def test_DECL_01_evidence_after_a_hold_is_kept_and_an_arrival_then_is_a_breach(scene: Scene) -> None:
    held = visit_facts(scene.made, scene.visit.case_id, visit_id=scene.visit.visit_id, held_at=scene.at - timedelta(minutes=1))
    capture = scene.send(scene.capture(), visit=held)
    assert "after-hold" in names(capture)
    assert capture.standing is Standing.ACCEPTED
    arrival = scene.send(signed_twice(scene.bilal, scene.dong, scene.arrival(), scene.at), visit=held)
    assert arrival.standing is Standing.BREACH


def test_EVD_09_gap_in_a_chain_is_a_doubt_until_the_missing_link_arrives(scene: Scene) -> None:
    first, second = scene.capture(), scene.capture()
    held = scene.send(second)
    assert held.standing is Standing.DOUBTFUL
    scene.send(first)
    healed = scene.send(second)
    assert healed.standing is Standing.ACCEPTED
    assert {"chain-gap", "chain-gap-filled"} <= names(healed)


def test_EVD_09_witnessing_is_a_link_of_the_witness_own_chain(scene: Scene) -> None:
    scene.send(signed_twice(scene.bilal, scene.dong, scene.arrival(), scene.at))
    accepted = scene.send(scene.capture(scene.dong), actor=scene.made.dong.on_phone)
    assert "chain-gap" not in names(accepted)
    links = scene.session.scalars(select(ChainLinkRow.seq).where(ChainLinkRow.device == scene.dong.kid).order_by(ChainLinkRow.seq)).all()
    assert links == [1, 2]


def test_EVD_09_fork_keeps_both_sides_and_suspends_the_device(scene: Scene) -> None:
    seq, prev = scene.bilal.seq, scene.bilal.prev
    one = scene.send(scene.capture())
    scene.bilal.seq, scene.bilal.prev = seq, prev
    other = scene.send(scene.capture(at=scene.at + timedelta(seconds=1)))
    assert other.standing is Standing.QUARANTINED
    stored = {row.id: row.standing for row in scene.session.scalars(select(ManifestRow))}
    assert stored == {one.manifest_id: Standing.QUARANTINED, other.manifest_id: Standing.QUARANTINED}
    assert scene.session.get_one(DeviceRow, scene.bilal.kid).state is DeviceState.SUSPENDED
    assert "device-suspended" in names(scene.send(scene.capture()))


def test_EVD_09_broken_link_is_a_fraud_sign(scene: Scene) -> None:
    scene.send(scene.capture())
    scene.bilal.prev = "f" * 64
    accepted = scene.send(scene.capture())
    assert accepted.standing is Standing.QUARANTINED
    assert "chain-broken" in names(accepted)


def test_EVD_09_same_bytes_under_another_visit_are_a_fraud_sign_on_both_sides(scene: Scene) -> None:
    photo = item(b"the same photograph", at=scene.at)
    first = scene.send(scene.capture(items=(photo,)))
    other = visit_facts(scene.made, open_case(scene.session, KEYRING, scene.made))
    raw = signed_once(scene.bilal, scene.bilal.payload(scene.made, other, Kind.CAPTURE, CAPTURE, items=(photo,)))
    second = scene.send(raw, visit=other)
    assert second.standing is Standing.QUARANTINED
    assert "reused-exact" in names(second)
    assert scene.session.get_one(ManifestRow, first.manifest_id).standing is Standing.QUARANTINED


def test_EVD_09_same_bytes_again_in_one_visit_are_told_only(scene: Scene) -> None:
    photo = item(b"one photograph, declared twice", at=scene.at)
    scene.send(scene.capture(items=(photo,)))
    accepted = scene.send(scene.capture(items=(photo,)))
    assert "repeated-item" in names(accepted)
    assert accepted.standing is Standing.ACCEPTED


@pytest.mark.parametrize(("place", "mock", "name", "standing"), [
    (LonLat(121.60, 31.23), False, "far-from-address", Standing.DOUBTFUL),
    (DOOR, True, "mock-location", Standing.QUARANTINED),
])
def test_VIS_10_place_is_judged_never_refused(scene: Scene, place: LonLat, mock: bool, name: str, standing: Standing) -> None:
    accepted = scene.send(scene.capture(position=position(place, scene.at, mock=mock)))
    assert name in names(accepted)
    assert accepted.standing is standing


def test_EVD_10_wrong_clock_bounded_by_a_beacon_is_told_and_unbounded_is_a_doubt(scene: Scene) -> None:
    token = beacons.issue(scene.session, KEYRING, scene.bilal.kid, "n", scene.made.now - timedelta(hours=1))
    age_ms = 50 * 60 * 1000
    wrong = scene.made.now - timedelta(days=2)
    bounded = scene.send(scene.capture(at=wrong, beacon=sha256_hex(token.encode()), beacon_age_ms=age_ms))
    true_at = scene.made.now - timedelta(minutes=10)
    assert abs(bounded.captured_at - true_at) < timedelta(seconds=2)
    assert "clock-off" in names(bounded)
    assert bounded.standing is Standing.ACCEPTED
    ahead = scene.send(scene.capture(at=scene.made.now + timedelta(days=2)))
    assert ahead.captured_at == scene.made.now
    assert (ahead.standing, "clock-off" in names(ahead)) == (Standing.DOUBTFUL, True)


def beacon_of(scene: Scene, ago: timedelta, phone: Handset | None = None) -> str:
    """Fetch a beacon for a phone some time ago; returns its digest."""
    holder = phone or scene.bilal
    return sha256_hex(beacons.issue(scene.session, KEYRING, holder.kid, "n" * 16, scene.made.now - ago).encode())


def test_EVD_10_statement_without_a_beacon_hours_before_its_arrival_is_a_doubt(scene: Scene) -> None:
    assert scene.send(scene.capture(at=scene.made.now - timedelta(minutes=20))).standing is Standing.ACCEPTED
    accepted = scene.send(scene.capture(at=scene.made.now - timedelta(hours=3)))
    assert (accepted.standing, "clock-unbounded" in names(accepted)) == (Standing.DOUBTFUL, True)


def test_EVD_09_link_that_says_it_is_older_than_the_signed_time_before_it_is_back_dated(scene: Scene) -> None:
    morning, noon = beacon_of(scene, timedelta(hours=5)), beacon_of(scene, timedelta(hours=1))
    first = scene.capture(at=scene.made.now - timedelta(minutes=50), beacon=noon, beacon_age_ms=600_000)
    assert scene.send(first).standing is Standing.ACCEPTED
    forged = scene.capture(at=scene.made.now - timedelta(hours=4), beacon=morning, beacon_age_ms=3_600_000)
    accepted = scene.send(forged)
    assert (accepted.standing, "back-dated" in names(accepted)) == (Standing.QUARANTINED, True)


def test_EVD_09_back_dated_link_is_found_whichever_arrives_first(scene: Scene) -> None:
    morning, noon = beacon_of(scene, timedelta(hours=5)), beacon_of(scene, timedelta(hours=1))
    first = scene.capture(at=scene.made.now - timedelta(minutes=50), beacon=noon, beacon_age_ms=600_000)
    forged = scene.send(scene.capture(at=scene.made.now - timedelta(hours=4), beacon=morning, beacon_age_ms=3_600_000))
    assert "back-dated" not in names(forged)
    scene.send(first)
    assert scene.session.get_one(ManifestRow, forged.manifest_id).standing is Standing.QUARANTINED


def test_EVD_09_partners_beacon_bounds_what_follows_in_the_witness_chain(scene: Scene) -> None:
    noon, morning = beacon_of(scene, timedelta(hours=1)), beacon_of(scene, timedelta(hours=5), scene.dong)
    met = scene.arrival(at=scene.made.now - timedelta(minutes=50), beacon=noon, beacon_age_ms=600_000)
    scene.send(signed_twice(scene.bilal, scene.dong, met, scene.made.now - timedelta(minutes=50)))
    raw = scene.capture(scene.dong, at=scene.made.now - timedelta(hours=4), beacon=morning, beacon_age_ms=3_600_000)
    assert "back-dated" in names(scene.send(raw, actor=scene.made.dong.on_phone))


def test_EVD_10_restarted_phone_is_bounded_by_its_beacon_and_its_arrival(scene: Scene) -> None:
    near = scene.send(scene.capture(beacon=beacon_of(scene, timedelta(hours=1)), beacon_age_ms=3_000_000, monotonic_ms=60_000))
    assert near.captured_upper_at == scene.made.now
    assert near.captured_lower_at == scene.made.now - timedelta(hours=1)
    assert near.standing is Standing.ACCEPTED
    wide = scene.send(scene.capture(beacon=beacon_of(scene, timedelta(hours=9)), beacon_age_ms=3_000_000, monotonic_ms=60_000))
    assert "clock-bound-wide" in names(wide)


def test_EVD_10_beacon_of_another_device_bounds_nothing(scene: Scene) -> None:
    token = beacons.issue(scene.session, KEYRING, scene.dong.kid, "n", scene.made.now - timedelta(hours=1))
    accepted = scene.send(scene.capture(beacon=sha256_hex(token.encode()), beacon_age_ms=1_000))
    assert accepted.captured_lower_at is None
    assert "beacon-unusable" in names(accepted)


def test_EVD_09_impossible_travel_is_a_fraud_sign(scene: Scene) -> None:
    token = beacons.issue(scene.session, KEYRING, scene.bilal.kid, "n", scene.made.now - timedelta(hours=1))
    beacon = sha256_hex(token.encode())
    start = scene.made.now - timedelta(hours=1)
    scene.send(scene.capture(at=start + timedelta(minutes=10), beacon=beacon, beacon_age_ms=600_000))
    far_at = start + timedelta(minutes=20)
    accepted = scene.send(scene.capture(at=far_at, beacon=beacon, beacon_age_ms=1_200_000, position=position(LonLat(116.4, 39.9), far_at)))
    assert "impossible-travel" in names(accepted)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_EVD_09_impossible_travel_is_found_in_any_order_and_behind_statements_without_a_fix(scene: Scene, order: tuple[int, ...]) -> None:
    start = scene.made.now - timedelta(hours=1)
    beacon = sha256_hex(beacons.issue(scene.session, KEYRING, scene.bilal.kid, "n", start).encode())
    places = (position(DOOR, start), None, position(LonLat(116.4, 39.9), start))
    told = []
    for number, place in enumerate(places):
        minutes = 10 * (number + 1)
        told.append(scene.capture(
            at=start + timedelta(minutes=minutes), beacon=beacon, beacon_age_ms=minutes * 60_000, position=place,
            no_fix_reason=None if place else NoFixReason.DENIED))
    stored = {number: scene.send(told[number]).manifest_id for number in order}
    accused = {row.manifest_id for row in scene.session.scalars(select(FindingRow).where(FindingRow.code == "impossible-travel"))}
    assert accused == {stored[2]}
    assert scene.session.get_one(ManifestRow, stored[2]).standing is Standing.QUARANTINED


def test_F24_a_release_given_before_a_sign_of_fraud_does_not_count_towards_the_two(scene: Scene) -> None:
    accepted = scene.send(scene.capture(position=position(LonLat(121.60, 31.23), scene.at)))
    row = scene.session.get_one(ManifestRow, accepted.manifest_id)
    later = scene.made.now + timedelta(hours=1)
    second, third = (
        add_person(scene.session, KEYRING, name, Role.SUPERVISOR, branch_id=scene.made.sh1, now=scene.made.now) for name in ("su", "tan"))

    def release(person: Person, at: datetime) -> Standing:
        command = Decide(manifest_id=accepted.manifest_id, verdict=Verdict.RELEASE, reason="heard both")
        return decide(scene.session, person.actor, KEYRING, command, at)

    assert release(scene.made.amina, scene.made.now) is Standing.ACCEPTED
    add_findings(scene.session, row, (
        Finding(name="reused-exact", grade=Grade.FRAUD_SIGN, rules=(), pointer="", expected="bytes of this visit", got="another's"),), later)
    assert row.standing is Standing.QUARANTINED
    assert release(second, later) is Standing.QUARANTINED
    assert release(third, later + timedelta(minutes=1)) is Standing.ACCEPTED


def test_EVD_09_a_cameras_words_are_held_against_the_branchs_wall_clock_and_the_enrolled_phone(scene: Scene) -> None:
    known = scene.send(scene.capture())
    strange = scene.send(scene.capture(), visit=None)
    for accepted in (known, strange):
        facts = camera_facts(scene.session, scene.session.get_one(ManifestRow, accepted.manifest_id))
        assert facts.local_zone == ZoneInfo("Asia/Shanghai")
        assert facts.phone_model == scene.session.get_one(DeviceRow, scene.bilal.kid).model


def test_EVD_09_key_lost_before_the_server_saw_the_statement_is_a_fraud_sign(scene: Scene) -> None:
    scene.session.execute(update(DeviceRow).where(DeviceRow.kid == scene.bilal.kid).values(
        state=DeviceState.SUSPENDED, compromised_since=scene.made.now - timedelta(days=1)))
    assert scene.send(scene.capture()).standing is Standing.QUARANTINED


def test_EVD_09_key_reported_lost_later_quarantines_what_came_since_and_leaves_what_came_before(scene: Scene) -> None:
    before = scene.send(scene.capture(), now=scene.made.now - timedelta(hours=2))
    after = scene.send(scene.capture(), now=scene.made.now)
    quarantined = quarantine_since(scene.session, scene.made.amina.actor, scene.bilal.kid, scene.made.now - timedelta(hours=1), scene.made.now)
    assert quarantined == 1
    assert scene.session.get_one(ManifestRow, before.manifest_id).standing is not Standing.QUARANTINED
    assert scene.session.get_one(ManifestRow, after.manifest_id).standing is Standing.QUARANTINED


# -- The database keeps it ----------------------------------------------------------------------------------------------------


def test_EVD_09_statement_is_logged_with_its_payload(scene: Scene) -> None:
    accepted = scene.send(signed_twice(scene.bilal, scene.dong, scene.arrival(), scene.at))
    entries = {row.entry_type: row.payload_sha256 for row in scene.session.scalars(select(LogEntryRow))}
    assert entries["manifest"] == accepted.digest
    assert "cosignature" in entries


@pytest.mark.parametrize("statement", [
    delete(ManifestRow), delete(SignatureRow), delete(FindingRow), delete(ChainLinkRow), delete(ItemRow),
    update(ManifestRow).values(payload=b"{}"), update(ManifestRow).values(digest="0" * 64), update(SignatureRow).values(signature="x"),
    update(FindingRow).values(code="x"), update(ItemRow).values(sha256="0" * 64), update(ItemRow).values(size=1),
])
def test_EVD_09_evidence_cannot_be_deleted_or_rewritten(scene: Scene, statement: object) -> None:
    scene.send(scene.capture(items=(item(b"photo", at=scene.at),)))
    with pytest.raises(Exception) as refused, scene.session.begin_nested():
        scene.session.execute(statement)  # type: ignore[call-overload]
    # The append-only tables refuse the application's role before their triggers are asked.
    assert isinstance(refused.value, IntegrityError) or "permission denied" in str(refused.value)


def test_EVD_02_recording_cannot_lose_its_two_years(scene: Scene) -> None:
    from evidence.manifest import Role

    accepted = scene.send(scene.capture(items=(item(b"sound", Role.AUDIO, "audio/mp4", at=scene.at),)))
    row = scene.session.scalars(select(ItemRow).where(ItemRow.manifest_id == accepted.manifest_id)).one()
    assert row.retained_until_at is not None
    assert row.retained_until_at - row.ended_at >= timedelta(days=731)
    for shorter in (row.retained_until_at - timedelta(days=1), None):
        with pytest.raises(IntegrityError), scene.session.begin_nested():
            scene.session.execute(update(ItemRow).where(ItemRow.id == row.id).values(retained_until_at=shorter))
    with scene.session.begin_nested():
        scene.session.execute(update(ItemRow).where(ItemRow.id == row.id).values(retained_until_at=row.retained_until_at + timedelta(days=365)))


def test_EVD_02_key_of_kept_evidence_cannot_be_shredded(scene: Scene) -> None:
    accepted = scene.send(scene.capture(items=(item(b"photo", at=scene.at),)))
    row = scene.session.scalars(select(ItemRow).where(ItemRow.manifest_id == accepted.manifest_id)).one()
    scene.session.execute(update(ItemRow).where(ItemRow.id == row.id).values(
        state="stored", blob_key="items/x", wrapped_key=b"w", stored_at=scene.made.now))
    with pytest.raises(IntegrityError), scene.session.begin_nested():
        scene.session.execute(update(ItemRow).where(ItemRow.id == row.id).values(wrapped_key=None))
    with pytest.raises(IntegrityError), scene.session.begin_nested():
        scene.session.execute(
            text("UPDATE case_keys SET wrapped = NULL, destroyed_at = created_at WHERE subject_id = :id"),
            {"id": row.seal_subject if scene.session.get_bind().dialect.name == "postgresql" else row.seal_subject.hex})


def msgspec_replace_phone(made: World) -> object:
    """Return bilal with a phone nobody enrolled."""
    from dataclasses import replace

    from tests.support.world import Phone

    key = generate_key()
    return replace(made.bilal, phone=Phone(key, thumbprint(key)))


def _payload(raw: dict[str, object]) -> bytes:
    return check_shape(canonicalise(raw)).payload  # type: ignore[arg-type]


def _unb64(text_: str) -> bytes:
    from evidence.canonical import b64u_decode

    return b64u_decode(text_)


def test_EVD_09_what_our_phone_signed_for_another_agency_is_kept_in_doubt(scene: Scene) -> None:
    """Authentic, so never refused (protocol §2.7); it closes nothing until a supervisor has decided."""
    ours, theirs = scene.send(scene.capture()), scene.send(scene.capture(tenant="another-agency"))
    assert ("tenant-differs" in names(ours), "tenant-differs" in names(theirs)) == (False, True)
    assert (theirs.standing, theirs.state) == (Standing.DOUBTFUL, ManifestState.COMPLETE)
    (found,) = (one for one in theirs.findings if one.name == "tenant-differs")
    assert (found.pointer, found.expected, "another-agency" in found.got) == ("/tenant", "fieldvisit", False)


# -- Journeys ------------------------------------------------------------------------------------------------------------------

BEIJING = LonLat(116.4, 39.9)


class Morning:
    """An hour with beacons for both phones: minutes count from its begin."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.start = scene, scene.made.now - timedelta(hours=1)
        self.beacons = {
            phone.kid: sha256_hex(beacons.issue(scene.session, KEYRING, phone.kid, "n", self.start).encode()) for phone in (scene.bilal, scene.dong)}

    def clocks(self, phone: Handset, minute: float) -> dict[str, object]:
        return {"at": self.start + timedelta(minutes=minute), "beacon": self.beacons[phone.kid], "beacon_age_ms": round(minute * 60_000)}

    def capture(self, phone: Handset, minute: float, place: LonLat | None, accuracy_m: int = 12) -> Accepted:
        at = self.start + timedelta(minutes=minute)
        where = {"position": position(place, at, accuracy_m=accuracy_m)} if place else {"position": None, "no_fix_reason": NoFixReason.DENIED}
        return self.scene.send(self.scene.capture(phone, **self.clocks(phone, minute), **where), actor=phone.person.on_phone)

    def arrival(self, minute: float, place: LonLat = DOOR, *, witness_at: LonLat, signed_minute: float | None = None) -> Accepted:
        """Have bilal capture and dong sign it where dong says to be."""
        bilal, dong = self.scene.bilal, self.scene.dong
        at, signed_at = (self.start + timedelta(minutes=one) for one in (minute, minute if signed_minute is None else signed_minute))
        payload = self.scene.arrival(**self.clocks(bilal, minute), position=position(place, at))
        header = header_for(msgspec.structs.replace(decode_manifest(payload), position=position(witness_at, signed_at)))
        return self.scene.send(envelope_of(
            payload, bilal.sign(payload, decode_manifest(payload)), dong.witness(payload, signed_at, pos=header.pos)))

    def accused(self) -> dict[object, str]:
        rows = self.scene.session.scalars(select(FindingRow).where(FindingRow.code == "impossible-travel"))
        return {row.manifest_id: row.params["pointer"] for row in rows}


def test_EVD_09_a_partner_who_was_elsewhere_a_moment_ago_is_found_on_the_statement_that_was_witnessed(scene: Scene) -> None:
    morning = Morning(scene)
    morning.capture(scene.dong, 5, BEIJING)
    witnessed = morning.arrival(10, witness_at=DOOR)
    assert morning.accused() == {witnessed.manifest_id: scene.dong.kid}
    assert scene.session.get_one(ManifestRow, witnessed.manifest_id).standing is Standing.QUARANTINED


def test_EVD_09_a_partner_who_is_elsewhere_within_the_hour_is_found(scene: Scene) -> None:
    morning = Morning(scene)
    morning.arrival(5, witness_at=DOOR)
    assert morning.accused() == {}
    after = morning.capture(scene.dong, 45, BEIJING)
    assert morning.accused() == {after.manifest_id: ""}


def test_F24_a_partner_who_signs_late_and_further_on_has_made_no_journey(scene: Scene) -> None:
    morning, near = Morning(scene), LonLat(DOOR.lon + 0.1, DOOR.lat)
    morning.capture(scene.dong, 5, DOOR)
    late = morning.arrival(6, witness_at=near, signed_minute=26)
    morning.capture(scene.dong, 27, near)
    assert "partners-apart" in names(late)
    assert morning.accused() == {}


def test_EVD_09_no_flood_of_statements_hides_a_journey(scene: Scene) -> None:
    """Statements without a fix, vague ones and ones at the place of arrival lie between; each way round it is found, once."""
    morning, away = Morning(scene), LonLat(DOOR.lon + 0.6, DOOR.lat)
    morning.capture(scene.bilal, 10, DOOR)
    for number in range(60):
        morning.capture(scene.bilal, 10.5 + number / 100, None)
    for number in range(5):
        morning.capture(scene.bilal, 11.5 + number / 100, LonLat(DOOR.lon + 0.3, DOOR.lat), accuracy_m=60_000)
    assert morning.accused() == {}
    jumped = morning.capture(scene.bilal, 13, away)
    assert morning.accused() == {jumped.manifest_id: ""}


def test_EVD_09_the_database_keeps_fixes_and_the_upgrade_enters_those_from_before(
        sessions: sessionmaker[Session], cloned: Database, now: datetime) -> None:
    with sessions.begin() as session:
        made = world(session, KEYRING, now)
        scene = Scene(session, made, visit_facts(made, open_case(session, KEYRING, made)), Handset(made.bilal), Handset(made.dong))
        morning = Morning(scene)
        morning.capture(scene.bilal, 5, DOOR)
        morning.capture(scene.bilal, 6, None)
        morning.arrival(10, witness_at=DOOR)

    def kept() -> list[tuple[object, ...]]:
        with sessions() as session:
            rows = session.scalars(select(FixRow).where(FixRow.role == LinkRole.CAPTURER).order_by(FixRow.judged_us))
            return [tuple(getattr(row, column.name) for column in FixRow.__table__.columns) for row in rows]

    before = kept()
    assert len(before) == 2
    for statement in ("UPDATE person_fixes SET lat_e7 = 0", "DELETE FROM person_fixes"):
        with sessions.begin() as session, pytest.raises(DBAPIError, match=r"append-only|permission denied"):
            session.execute(text(statement))
    upgrade.downgrade(cloned.url, "fraud_follow_ups")
    upgrade.upgrade(cloned.url)
    assert kept() == before
