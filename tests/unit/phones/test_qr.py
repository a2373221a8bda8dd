"""Two phones co-sign by QR codes alone (F07): at most two acts an ordinary visit, within ten seconds on a modelled slow phone."""

import itertools
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
import segno

from evidence.canonical import canonicalise, parse_strict
from evidence.envelope import COSIGNED_KINDS, check_shape, verify_signatures
from evidence.errors import MalformedError
from evidence.facts import ArrivalFacts, CaptureFacts, DepartureFacts, Facts, IdentityPresented, RightParty, VisitCloseFacts
from evidence.keys import generate_key
from evidence.manifest import Role, decode_manifest
from mobile_api import phone_qr
from mobile_api.phone import Capture, Phone, Place
from mobile_api.phone_qr import Camera, NotForMe, Slow, accept, act_ms, answer, frames_of, offer
from tests.unit.phones.test_wallet import NOW, Hand

BUDGET_MS = 10_000
ACTS_MAX = 2


@pytest.fixture
def hand(tmp_path: Path) -> Hand:
    found = Hand(tmp_path)
    found.keep()
    for phone in (found.first, found.second):
        phone.place = Place(lon=121.4737001, lat=31.2304002)
    return found


class Acts:
    """Counts acts and codes while two phones hold each other's screen; no phone has a network."""

    def __init__(self, hand: Hand) -> None:
        self.hand, self.count, self.spent_ms, self.frames = hand, 0, 0, list[str]()

    def together(self, digest: str) -> None:
        shown = offer(self.hand.first, digest)
        replied = answer(self.hand.second, self.read(shown))
        accept(self.hand.first, digest, self.read(replied))
        self.count += 1
        self.spent_ms += act_ms(len(shown), len(replied), Slow())
        self.frames += [*shown, *replied]
        assert len(replied) == 1, "the answer is one code"

    def read(self, shown: tuple[str, ...]) -> bytes:
        camera = Camera()
        for text in shown:
            content = camera.see(text)
        assert content is not None
        return content


def ordinary_visit(hand: Hand, acts: Acts) -> list[str]:
    """Live a visit of nine statements, as the demo's phones do; two of them are due twice."""
    door, digests = hand.door(hand.second), list[str]()

    def state(facts: Facts, captures: list[Capture] | None = None) -> None:
        digest = hand.first.state(door, facts, captures or [])
        digests.append(digest)
        if decode_manifest(hand.first.shown(digest)).kind in COSIGNED_KINDS:
            acts.together(digest)

    state(ArrivalFacts(lead=hand.first.staff_id, credential_worn=True, cosigner_credential_worn=True, audio_device=True, camera_device=True,
                       recording_running=True))
    photo = Capture(role=Role.PHOTO, content=b"photo", media_type="image/jpeg", started=NOW, ended=NOW)
    for _ in range(6):
        state(CaptureFacts(occasion="conversation", identity_presented=IdentityPresented.AGENCY, right_party=RightParty.CONFIRMED), [photo])
    state(DepartureFacts(reason="finished", recording_stopped=True))
    state(VisitCloseFacts(
        outcome="promise_to_pay", entered=False, right_party=RightParty.CONFIRMED, identity_presented=IdentityPresented.AGENCY,
        arrived="2026-11-27T02:00:00.000Z", departed="2026-11-27T02:20:00.000Z", manifests=tuple(digests)))
    return digests


# -- Refused -------------------------------------------------------------------------------------------------------------------


def changed(content: bytes, **changes: Any) -> bytes:
    return canonicalise({**parse_strict(content), **changes})


def test_F07_a_partner_signs_nothing_that_was_changed_or_comes_from_somebody_else(hand: Hand) -> None:
    digest = hand.first.state(hand.door(hand.second), ARRIVED)
    content = Acts(hand).read(offer(hand.first, digest))
    members = parse_strict(content)
    other = Hand()
    manifest: Any = members["manifest"]
    foreign = Acts(other).read(offer(other.first, other.first.state(other.door(other.second), ARRIVED)))
    for forged in (
        changed(content, manifest={**manifest, "case": "another"}), changed(content, manifest={**manifest, "extra": 1}),
        changed(content, signature=("A" if str(members["signature"])[0] != "A" else "B") + str(members["signature"])[1:]),
        changed(content, x=members["y"]), changed(content, more=1), changed(content, header={}), foreign, b"{}", b"", b"\xff",
    ):
        with pytest.raises(NotForMe):
            answer(hand.second, forged)
    with pytest.raises(NotForMe):
        answer(hand.first, content)                              # Nobody witnesses their own statement.
    assert hand.second.notebook.next_link().seq == 1, "nothing was signed"


def test_F07_an_answer_for_another_statement_or_by_another_phone_is_not_taken(hand: Hand) -> None:
    first, second = (hand.first.state(hand.door(hand.second), ARRIVED) for _ in range(2))
    acts = Acts(hand)
    reply = acts.read(answer(hand.second, acts.read(offer(hand.first, first))))
    members = parse_strict(reply)
    stranger = Phone(hand.second.link, hand.second.notebook, staff_id="x", tenant="t", clock=lambda: NOW)
    with pytest.raises(NotForMe):
        accept(hand.first, second, reply)
    with pytest.raises(NotForMe):
        accept(hand.first, second, changed(reply, digest=second))
    with pytest.raises(NotForMe):
        accept(hand.first, first, changed(reply, signature="A" * 86))
    own = phone_qr._written(hand.first, check_shape(hand.first.notebook.statement(first).envelope).signatures[0], {"digest": first})  # type: ignore[union-attr]
    with pytest.raises(NotForMe):
        accept(hand.first, first, own)
    stranger.link.take_key(generate_key())
    with pytest.raises(NotForMe):
        answer(stranger, acts.read(offer(hand.first, first)))
    assert members["digest"] == first
    assert hand.first.notebook.statement(first).is_complete is False  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", "hello", "FV1/0123456789ABCDEF/2/1/AB", "FV1/0123456789ABCDEF/0/1/AB", "FV1/0123456789ABCDEF/1/999/AB",
                                  "FV1/0123456789abcdef/1/1/AB", "FV1/0123456789ABCDEF/1/1/" + "A" * 2_000])
def test_F07_codes_of_anything_else_do_not_disturb(text: str) -> None:
    frames, camera = frames_of(bytes(random.Random(7).randbytes(3_000))), Camera()
    seen = [camera.see(one) for one in itertools.chain.from_iterable((frame, text) for frame in frames)]
    assert any(seen)


def test_F07_codes_that_do_not_make_what_their_name_promises_are_refused() -> None:
    frame, = frames_of(b"content")
    head, _, body = frame.rpartition("/")
    bomb = phone_qr.base45(zlib.compress(bytes(10_000_000), 9))[:900]
    for text in (f"{head}/{body[:-1]}", f"{head}/AAA", f"{head}/:::", f"FV1/{'0' * 16}/1/1/{body}", f"{head}/{bomb}", f"{head}/"):
        with pytest.raises(MalformedError):
            Camera().see(text)
    with pytest.raises(ValueError, match="bytes go over"):
        frames_of(bytes(phone_qr.CONTENT_BYTES_MAX + 1))


# -- Kept ----------------------------------------------------------------------------------------------------------------------


def test_F07_an_ordinary_visit_takes_two_acts_within_ten_seconds_on_a_slow_phone(hand: Hand) -> None:
    acts = Acts(hand)
    digests = ordinary_visit(hand, acts)
    assert (len(digests), acts.count) == (9, ACTS_MAX)
    assert acts.spent_ms <= BUDGET_MS, f"{acts.spent_ms} ms over {len(acts.frames)} codes"
    keys = {phone.kid: phone.link.key.public_key() for phone in (hand.first, hand.second)}
    for digest in digests:
        statement = hand.first.notebook.statement(digest)
        assert statement is not None
        assert statement.is_complete
        envelope = check_shape(statement.envelope)
        is_due_twice = decode_manifest(envelope.payload).kind in COSIGNED_KINDS
        assert len(verify_signatures(envelope, keys.get)) == 1 + is_due_twice


def test_F07_every_code_is_of_a_size_that_phones_read(hand: Hand) -> None:
    acts = Acts(hand)
    ordinary_visit(hand, acts)
    full = frames_of(random.Random(1).randbytes(20_000))
    for text in (*acts.frames, *full):
        code = segno.make(text, error=phone_qr.ERROR_CORRECTION, boost_error=False, micro=False)
        assert (code.mode, int(code.version) <= phone_qr.VERSION_MAX) == ("alphanumeric", True)


def test_F07_an_animation_is_read_in_any_order_with_codes_missed() -> None:
    chance = random.Random(20261127)
    content = chance.randbytes(30_000)
    frames, camera, found = frames_of(content), Camera(), None
    while found is None:
        for text in chance.sample(frames, len(frames)):
            if found is None and chance.random() < 0.5:
                found = camera.see(text)
    assert found == content
    assert len(frames) > 20


@pytest.mark.parametrize(("raw", "text"), [
    (b"AB", "BB8"), (b"Hello!!", "%69 VD92EX0"), (b"base-45", "UJCLQE7W581"), (b"ietf!", "QED8WEX0"), (b"", "")])
def test_base45_follows_RFC_9285(raw: bytes, text: str) -> None:
    assert phone_qr.base45(raw) == text
    assert phone_qr.unbase45(text) == raw


ARRIVED = ArrivalFacts(
    lead="staff-first", credential_worn=True, cosigner_credential_worn=True, audio_device=True, camera_device=True, recording_running=True)
