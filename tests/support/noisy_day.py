"""An honest day on cheap phones, and frauds planted in it: what ten pairs' phones sign at 200 doors, drawn from one seed.

The model of a cheap phone: a wall clock minutes off, a restart that loses the beacon and the monotonic clock, fixes that are weak, missing
or a street away with too good an accuracy, an incoming call that breaks a recording, a partner who comes late, statements that arrive out
of order in the evening. Contents are given as a decoder would measure them; everything else is signed, sent and judged for real.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.auth.actors import Role as StaffRole
from backend.core.geo import LonLat
from backend.core.ids import CaseId
from backend.exhibits import beacons, examinations
from backend.exhibits.actions import accept, quarantine_since
from backend.exhibits.model import Intake, ItemState, Standing, VisitFacts
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import ItemRow, ManifestRow
from backend.keys.keyring import Keyring
from backend.policies.model import DEFAULT_POLICY
from backend.staff.model import DeviceState
from backend.staff.tables import DeviceRow
from evidence.canonical import sha256_hex
from evidence.envelope import assemble, header_for
from evidence.examination import Audio, Examination, Exif, Photo, State, Tail
from evidence.facts import CaptureFacts, Kind
from evidence.manifest import Item, Provider, Role, decode_manifest
from evidence.times import format_utc
from tests.support.exhibits import ARRIVAL, Handset, close_facts, open_case, position, signed_once, visit_facts
from tests.support.world import Person, World, add_person

PAIRS, DOORS_PER_PAIR = 10, 20
FRAUDS = ("mock-location", "reused-exact", "impossible-travel", "chain-fork", "chain-broken", "back-dated", "recording-loops", "key-compromised",
          "device-revoked-since")
"""Every sign of fraud that stands on what phones send; each is planted on a pair of its own, after its honest day."""
_STREET_M = 111_000


@dataclass
class CheapPhone:
    """One collector's phone: a signing chain, a wall clock that is wrong, and perhaps a beacon."""

    hand: Handset
    off_s: float
    booted_at: datetime
    beacon: tuple[str, datetime] | None = None

    def clocks(self, at: datetime) -> dict[str, Any]:
        """Return what the phone states of time at a true instant."""
        return {
            "captured": format_utc(at + timedelta(seconds=self.off_s)), "monotonic_ms": _ms(at - self.booted_at),
            "beacon": self.beacon[0] if self.beacon else None, "beacon_age_ms": _ms(at - self.beacon[1]) if self.beacon else None}


@dataclass
class Day:
    """The generator's state: one session, one seed, the statements not sent yet."""

    session: Session
    keyring: Keyring
    made: World
    rng: random.Random
    case_id: CaseId
    starts_at: datetime
    visits: dict[UUID, VisitFacts] = field(default_factory=dict)
    contents: dict[str, Examination] = field(default_factory=dict)

    # -- Making ------------------------------------------------------------------------------------------------------------

    def phone(self, name: str) -> CheapPhone:
        """Return a new collector with a phone that has been on since the night."""
        person = add_person(self.session, self.keyring, name, StaffRole.FIELD_COLLECTOR, branch_id=self.made.sh1, now=self.made.now)
        phone = CheapPhone(Handset(person), self.rng.gauss(0, 90), self.starts_at - timedelta(hours=self.rng.uniform(2, 60)))
        if self.rng.random() < 0.2:
            phone.off_s = self.rng.choice((-1, 1)) * self.rng.uniform(300, 3_000)
        return phone

    def go_online(self, phone: CheapPhone, at: datetime) -> None:
        """Fetch a beacon."""
        token = beacons.issue(self.session, self.keyring, phone.hand.kid, f"{self.rng.getrandbits(128):032x}", at)
        phone.beacon = (sha256_hex(token.encode()), at + timedelta(seconds=self.rng.uniform(0.1, 4)))

    def restart(self, phone: CheapPhone, at: datetime) -> None:
        """Lose monotonic clock and beacon; some have no signal for a while."""
        phone.booted_at, phone.beacon = at, None
        if self.rng.random() < 0.6:
            self.go_online(phone, at + timedelta(seconds=40))

    def fix(self, at: datetime, place: LonLat, clocks: dict[str, Any]) -> dict[str, Any]:
        """Return a position as cheap receivers give it."""
        drawn = self.rng.random()
        if drawn < 0.06:
            return {"position": None, "no_fix_reason": "no_signal"}
        accuracy = self.rng.choice((8, 12, 20, 35, 60)) if drawn < 0.8 else self.rng.randint(100, 1_500)
        away = abs(self.rng.gauss(0, accuracy / 2))
        provider = Provider.GPS if accuracy < 60 else Provider.NETWORK
        if 0.06 <= drawn < 0.075:                     # A mast or a cached fix, a street or a district away, sure of itself.
            away, accuracy, provider = self.rng.uniform(800, 4_000), 100, Provider.NETWORK
        angle = self.rng.choice((-1, 1))
        found = position(LonLat(place.lon, place.lat + angle * away / _STREET_M), at, accuracy_m=accuracy)
        return {"position": msgspec.structs.replace(found, provider=provider, fix_time=clocks["captured"])}

    def file(self, role: Role, at: datetime, length: timedelta, seen: Examination) -> Item:
        """Return a file that nobody else has, and remember what a decoder sees in it."""
        digest = f"{self.rng.getrandbits(256):064x}"
        self.contents[digest] = seen
        media_type = "audio/mp4" if role is Role.AUDIO else "image/jpeg"
        return Item(
            item_id=f"i-{digest[:16]}", role=role, sha256=digest, size=self.rng.randint(20_000, 2_000_000), media_type=media_type,
            started=format_utc(at), ended=format_utc(at + length))

    def photo(self, at: datetime) -> Item:
        """Return a picture of its own."""
        bits = [f"{self.rng.getrandbits(64):016x}" for _ in range(4)]
        exif = Exif(taken=None, model=self.rng.choice((None, "A", "B")))
        return self.file(Role.PHOTO, at, timedelta(), Examination(state=State.EXAMINED, size=1, photo=Photo(
            width=1600, height=1200, frames=1, tail=Tail.NONE, tail_bytes=0, phash=bits[0], dhash=bits[1], mirror_phash=bits[2],
            mirror_dhash=bits[3], exif=exif)))

    def sound(self, at: datetime, length: timedelta, *, looped_pct: int = 0) -> Item:
        """Return a recording that decodes to what it claims."""
        return self.file(Role.AUDIO, at, length, Examination(state=State.EXAMINED, size=1, audio=Audio(
            codec="aac", decoded_ms=_ms(length), declared_ms=_ms(length), packets=100, bad_packets=self.rng.choice((0, 0, 0, 1)), sample_rate=16_000,
            rms_dbfs=-30, silent_pct=self.rng.randint(0, 60), clipped_pct=0, looped_pct=looped_pct, fingerprint="")))

    def visit(self, pair: tuple[CheapPhone, CheapPhone], place: LonLat, at: datetime) -> VisitFacts:
        """Return a visit of two people to a door."""
        people = frozenset(one.hand.person.id for one in pair)
        made = visit_facts(self.made, self.case_id, pair=people, address=place, started_at=at)
        self.visits[made.visit_id] = made
        return made

    def both(self, pair: tuple[CheapPhone, CheapPhone], payload: bytes, place: LonLat, at: datetime) -> bytes:
        """Sign by both, the partner beside the door by the partner's own receiver and clock."""
        first, second = pair
        shown = second.clocks(at)
        fix = self.fix(at, place, shown)
        pos = header_for(msgspec.structs.replace(decode_manifest(payload), **({"no_fix_reason": None} | fix))).pos
        member = second.hand.witness(payload, at + timedelta(seconds=second.off_s), pos=pos)
        return assemble(payload, [first.hand.sign(payload, decode_manifest(payload)), member])

    # -- Sending -----------------------------------------------------------------------------------------------------------

    def send(self, raw: bytes, visit: VisitFacts, person: Person, at: datetime) -> UUID:
        """Take one envelope in, as the server does."""
        statement = open_statement(self.session, raw, at)
        taken = accept(
            self.session, person.on_phone, statement, Intake(visit=visit, policy=DEFAULT_POLICY, keyring=self.keyring, tenant="fieldvisit"), at)
        return taken.manifest_id

    def examine(self, at: datetime) -> None:
        """Bring every declared file to rest as measured, and judge every statement."""
        rows = self.session.scalars(select(ItemRow).where(ItemRow.examined_at.is_(None))).all()
        for row in rows:
            row.state, row.stored_at, row.blob_key = ItemState.STORED, at, "b"
            row.examination, row.examined_at = msgspec.to_builtins(self.contents[row.sha256]), at
        self.session.flush()
        manifests = self.session.scalars(select(ManifestRow.id).order_by(ManifestRow.captured_at, ManifestRow.id)).all()
        for manifest_id in manifests:
            examinations.conclude(self.session, manifest_id, at)


def honest_visit(day: Day, pair: tuple[CheapPhone, CheapPhone], place: LonLat, at: datetime) -> Iterator[tuple[bytes, VisitFacts, Person]]:
    """Yield what two honest people sign at one door between `at` and some minutes later."""
    rng, (first, second) = day.rng, pair
    visit = day.visit(pair, place, at)
    length = timedelta(minutes=rng.uniform(4, 14))
    for phone in pair:
        if rng.random() < 0.04:
            day.restart(phone, at - timedelta(minutes=rng.uniform(0, 5)))
        elif phone.beacon is None and rng.random() < 0.5:
            day.go_online(phone, at - timedelta(minutes=1))
    late = timedelta(minutes=rng.uniform(5, 45)) if rng.random() < 0.08 else timedelta(seconds=rng.uniform(3, 40))

    def told(phone: CheapPhone, kind: Kind, facts: Any, when: datetime, **more: Any) -> bytes:
        clocks = phone.clocks(when)
        return phone.hand.payload(day.made, visit, kind, facts, boot_id=f"boot-{_ms(phone.booted_at - day.starts_at)}",
                                  **clocks, **day.fix(when, place, clocks), **more)

    arrival = told(first, Kind.ARRIVAL, ARRIVAL, at, partner=second.hand)
    yield day.both(pair, arrival, place, at + late), visit, first.hand.person
    sounds: list[tuple[CheapPhone, list[Item]]] = []
    for phone in pair:
        start, end = at - timedelta(seconds=70), at + length + timedelta(seconds=70)
        shown = timedelta(seconds=phone.off_s)
        if rng.random() < 0.15:                       # A call comes in: the recorder stops for a while.
            cut = at + length * rng.random()
            parts = [day.sound(start + shown, cut - start), day.sound(cut + timedelta(seconds=rng.uniform(5, 60)) + shown, end - cut)]
        else:
            parts = [day.sound(start + shown, end - start)]
        sounds.append((phone, parts))
    payload = told(first, Kind.CAPTURE, CaptureFacts(occasion="door_plate"), at + timedelta(seconds=60),
                   items=(day.photo(at + timedelta(seconds=60 + first.off_s)),))
    yield signed_once(first.hand, payload), visit, first.hand.person
    for phone, parts in sounds:
        payload = told(phone, Kind.CAPTURE, CaptureFacts(occasion="conversation"), at + length + timedelta(seconds=80), items=tuple(parts))
        yield signed_once(phone.hand, payload), visit, phone.hand.person
    facts = msgspec.structs.replace(
        close_facts(day.made, ()), arrived=format_utc(at + timedelta(seconds=first.off_s)),
        departed=format_utc(at + length + timedelta(seconds=first.off_s)))
    closed_at = at + length + timedelta(seconds=100)
    close = told(first, Kind.VISIT_CLOSE, facts, closed_at, partner=second.hand)
    yield day.both(pair, close, place, closed_at + late), visit, first.hand.person


def honest_day(session: Session, keyring: Keyring, made: World, seed: int) -> Day:
    """Make and send one honest day: what each pair signs arrives in spurts, a tenth of it out of order."""
    rng = random.Random(seed)
    starts_at = made.now - timedelta(hours=12)
    day = Day(session, keyring, made, rng, open_case(session, keyring, made), starts_at)
    for number in range(PAIRS):
        pair = (day.phone(f"noisy-a{number}"), day.phone(f"noisy-b{number}"))
        for phone in pair:
            day.go_online(phone, starts_at)
        at, place = starts_at + timedelta(minutes=20), LonLat(121.40 + number * 0.01, 31.20)
        waiting: list[tuple[bytes, VisitFacts, Person]] = []
        for _ in range(DOORS_PER_PAIR):
            waiting.extend(honest_visit(day, pair, place, at))
            at += timedelta(minutes=rng.uniform(26, 34))
            place = LonLat(place.lon + rng.uniform(-0.006, 0.006), place.lat + rng.uniform(-0.006, 0.006))
            if rng.random() < 0.5:                    # A signal: what waits is sent, a few in the wrong order.
                _deliver(day, waiting, at)
                waiting = []
        _deliver(day, waiting, made.now)
    return day


def _deliver(day: Day, waiting: list[tuple[bytes, VisitFacts, Person]], at: datetime) -> None:
    if len(waiting) > 1 and day.rng.random() < 0.1:
        day.rng.shuffle(waiting)
    # Nothing arrives before its last signature was made.
    moment = at + timedelta(minutes=60)
    for raw, visit, person in waiting:
        day.send(raw, visit, person, min(moment, day.made.now))


def plant(day: Day, fraud: str, number: int) -> UUID:
    """Plant one fraud on two people of their own; returns the statement that must be caught."""
    made = day.made
    pair = (day.phone(f"fraud-{fraud}-a{number}"), day.phone(f"fraud-{fraud}-b{number}"))
    for phone in pair:
        phone.off_s = 0.0
        day.go_online(phone, day.starts_at)
    first = pair[0]
    at, place = made.now - timedelta(hours=3), LonLat(121.6, 31.1)
    visit = day.visit(pair, place, at)

    def capture(when: datetime, *items: Item, where: LonLat = place, mock: bool = False, **changes: Any) -> UUID:
        members = {**first.clocks(when), "position": position(where, when, mock=mock), "items": items, **changes}
        payload = first.hand.payload(made, visit, Kind.CAPTURE, CaptureFacts(occasion="door_plate"), **members)
        return day.send(signed_once(first.hand, payload), visit, first.hand.person, made.now)

    acts: dict[str, Callable[[], UUID]] = {
        "mock-location": lambda: capture(at, mock=True),
        "reused-exact": lambda: capture(at, _again(day, at)),
        "impossible-travel": lambda: _after(lambda: capture(at), lambda: capture(at + timedelta(minutes=4), where=LonLat(121.6, 31.6))),
        "chain-fork": lambda: _after(lambda: capture(at), lambda: capture(at, seq=1, prev="0" * 64)),
        "chain-broken": lambda: _after(lambda: capture(at), lambda: capture(at + timedelta(minutes=1), prev="f" * 64)),
        "back-dated": lambda: _back_dated(day, first, capture, at),
        "recording-loops": lambda: capture(at, day.sound(at, timedelta(minutes=5), looped_pct=90)),
        "key-compromised": lambda: _compromised(day, first, capture, at),
        "device-revoked-since": lambda: _revoked(day, first, capture, at),
    }
    return acts[fraud]()


def _after(before: Callable[[], UUID], act: Callable[[], UUID]) -> UUID:
    before()
    return act()


def _again(day: Day, at: datetime) -> Item:
    """Take another visit's picture as one's own."""
    rows = day.session.scalars(select(ManifestRow).where(ManifestRow.kind == Kind.CAPTURE).order_by(ManifestRow.id).limit(200)).all()
    pictures = [item for row in rows for item in decode_manifest(row.payload).items if item.role is Role.PHOTO]
    return msgspec.structs.replace(day.rng.choice(pictures), item_id="mine", started=format_utc(at), ended=format_utc(at))


def _back_dated(day: Day, phone: CheapPhone, capture: Callable[..., UUID], at: datetime) -> UUID:
    """State something old after something whose beacon is younger."""
    old = phone.beacon
    day.go_online(phone, at)
    capture(at + timedelta(minutes=1))
    phone.beacon = old
    return capture(at - timedelta(hours=2))


def _compromised(day: Day, phone: CheapPhone, capture: Callable[..., UUID], at: datetime) -> UUID:
    made_id = capture(at)
    quarantine_since(day.session, day.made.amina.actor, phone.hand.kid, at, day.made.now)
    return made_id


def _revoked(day: Day, phone: CheapPhone, capture: Callable[..., UUID], at: datetime) -> UUID:
    """Sign after the revocation, saying it was before: nothing but the phone's word bounds it from below."""
    phone.beacon = None
    row = day.session.get_one(DeviceRow, phone.hand.kid)
    row.state, row.revoked_at = DeviceState.REVOKED, at + timedelta(minutes=30)
    day.session.flush()
    return capture(at)


def quarantined_visits(day: Day) -> set[UUID]:
    """Return visits with a statement in quarantine."""
    found = day.session.scalars(select(ManifestRow.visit_id).where(ManifestRow.standing == Standing.QUARANTINED))
    return {one for one in found if one is not None}


def _ms(length: timedelta) -> int:
    return round(length / timedelta(milliseconds=1))

