"""RFC 3161 §4, RFC 5280 §5: which stamps a withdrawn certificate leaves standing, and what a list cannot tell, is never fine."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ReasonFlags

from evidence import revocation, time_stamps, verify_pack
from evidence.revocation import Status, read_lists
from evidence.time_stamps import CertificateRevoked
from tests.support.time_authority import TimeAuthority
from tests.unit.evidence.packs import House
from tests.unit.evidence.test_verify_pack import asked, stamped

MESSAGE, DAY = b"a signed checkpoint", timedelta(days=1)
NOW = datetime.now(UTC)
PEM, DER = Encoding.PEM, Encoding.DER


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> TimeAuthority:
    return TimeAuthority(tmp_path_factory.mktemp("tsa"))


@pytest.fixture(scope="module")
def answer(house: TimeAuthority) -> bytes:
    return house.answer(time_stamps.ask(MESSAGE, 7))


def status(house: TimeAuthority, answer: bytes, raw: bytes, at: datetime = NOW, pinned: list[x509.Certificate] | None = None) -> Status:
    try:
        return time_stamps.judge(answer, MESSAGE, pinned or house.pinned, lists=read_lists(raw, at)).standing.status
    except CertificateRevoked:
        return Status.REVOKED


@pytest.mark.parametrize("reason", [None, *(one for one in ReasonFlags if one is not ReasonFlags.remove_from_crl)])
def test_EVD_09_a_certificate_revoked_before_the_stamp_makes_it_worthless_for_any_reason(
    house: TimeAuthority, answer: bytes, reason: ReasonFlags | None
) -> None:
    assert status(house, answer, house.crl(NOW - DAY, reason).public_bytes(PEM)) is Status.REVOKED


@pytest.mark.parametrize("reason", [
    None, ReasonFlags.key_compromise, ReasonFlags.ca_compromise, ReasonFlags.aa_compromise, ReasonFlags.privilege_withdrawn])
def test_EVD_09_a_key_in_other_hands_or_no_reason_given_leaves_no_stamp_good_whatever_the_date(
    house: TimeAuthority, answer: bytes, reason: ReasonFlags | None
) -> None:
    late = house.crl(NOW + DAY, reason, last=NOW + 2 * DAY, ends=NOW + 9 * DAY)
    assert status(house, answer, late.public_bytes(DER), NOW + 3 * DAY) is Status.REVOKED
    with pytest.raises(CertificateRevoked, match="CN=time authority was revoked from"):
        time_stamps.judge(answer, MESSAGE, house.pinned, lists=read_lists(late.public_bytes(DER), NOW + 3 * DAY))


@pytest.mark.parametrize("reason", [
    ReasonFlags.unspecified, ReasonFlags.affiliation_changed, ReasonFlags.superseded, ReasonFlags.cessation_of_operation])
def test_EVD_09_revoked_later_for_another_reason_the_stamp_stands_and_it_is_told(house: TimeAuthority, answer: bytes, reason: ReasonFlags) -> None:
    late: dict[str, Any] = {"last": NOW + 2 * DAY, "ends": NOW + 9 * DAY}
    assert status(house, answer, house.crl(NOW + DAY, reason, **late).public_bytes(PEM), NOW + 3 * DAY) is Status.REVOKED_LATER
    bad_before = house.crl(NOW + DAY, reason, invalid_from=NOW - DAY, **late)
    assert status(house, answer, bad_before.public_bytes(PEM), NOW + 3 * DAY) is Status.REVOKED


def test_EVD_09_a_hold_that_nobody_has_decided_yet_is_unknown(house: TimeAuthority, answer: bytes) -> None:
    assert status(house, answer, house.crl(NOW + DAY, ReasonFlags.certificate_hold).public_bytes(PEM)) is Status.UNKNOWN


def test_EVD_09_a_list_in_force_that_does_not_name_it_is_good_news_and_nothing_else_is(
    house: TimeAuthority, answer: bytes, tmp_path: Path
) -> None:
    good = house.crl().public_bytes(PEM)
    assert status(house, answer, good) is Status.GOOD
    twin = TimeAuthority(tmp_path, "time")                                # The same names, other keys.
    changed = bytearray(house.crl().public_bytes(DER))
    changed[-1] ^= 1
    unknown = {
        "ended": house.crl(last=NOW - 9 * DAY, ends=NOW - DAY), "not begun": house.crl(last=NOW + DAY, ends=NOW + 9 * DAY), "by another": twin.crl(),
        "of a part": house.crl(extension=(x509.IssuingDistributionPoint(None, None, False, True, None, False, False), True)),
        "a change": house.crl(extension=(x509.DeltaCRLIndicator(3), True)),
        "strange": house.crl(extension=(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True))}
    for name, crl in unknown.items():
        assert status(house, answer, crl.public_bytes(PEM)) is Status.UNKNOWN, name
    for raw in (b"", b"not a list", bytes(changed), good[:-60]):
        assert status(house, answer, raw) is Status.UNKNOWN
    assert status(house, answer, TimeAuthority(tmp_path, "other").crl().public_bytes(PEM) + good) is Status.GOOD
    assert status(house, answer, good, pinned=[house.certificate]) is Status.GOOD                   # The token brings its issuer along.
    revoked = house.crl(NOW - DAY, ReasonFlags.superseded, last=NOW - 9 * DAY, ends=NOW - DAY)
    assert time_stamps.judge(answer, MESSAGE, house.pinned, lists=read_lists(good, None)).standing.status is Status.UNKNOWN    # At no instant.
    assert status(house, answer, revoked.public_bytes(PEM)) is Status.REVOKED                       # What it says stays said.


def test_EVD_09_a_list_made_after_the_certificate_had_ended_need_not_name_it(tmp_path: Path) -> None:
    short = TimeAuthority(tmp_path, starts_days=-1, ends_days=1)
    answer = short.answer(time_stamps.ask(MESSAGE, 7))
    later = short.crl(last=NOW + 5 * DAY, ends=NOW + 9 * DAY).public_bytes(PEM)
    assert status(short, answer, later, NOW + 6 * DAY) is Status.UNKNOWN
    assert status(short, answer, short.crl().public_bytes(PEM)) is Status.GOOD


@pytest.mark.parametrize(("kind", "code", "word"), [
    ("good", 0, "good"), ("revoked", 1, "stamp-revoked"), ("later", 0, "revoked-later"), ("ended", 0, "revocation-unknown")])
def test_EVD_09_the_offline_verifier_judges_a_packs_stamps_by_lists_with_its_one_companion_file(
    house: TimeAuthority, tmp_path: Path, kind: str, code: int, word: str
) -> None:
    lists = {"good": house.crl(), "revoked": house.crl(NOW - DAY, ReasonFlags.superseded), "later": house.crl(NOW + DAY, ReasonFlags.superseded),
             "ended": house.crl(last=NOW - 9 * DAY, ends=NOW - DAY)}
    packed = House()
    (tmp_path / "pack.zip").write_bytes(stamped(packed, lambda text: asked(house, text)))
    (tmp_path / "trust.json").write_bytes(packed.trust())
    (tmp_path / "list.crl").write_bytes(lists[kind].public_bytes(DER))
    command = [sys.executable, "verify_pack.py", "pack.zip", "--trust", "trust.json", "--tsa", str(house.root), "--crl", "list.crl", "--json",
               "--at", NOW.isoformat()]
    shutil.copy(str(verify_pack.__file__), tmp_path)
    alone = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (alone.returncode, json.loads(alone.stdout)["verdict"]) == (2, "unreadable")          # Not judged is never fine.
    shutil.copy(str(revocation.__file__), tmp_path)
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == code, told.stdout + told.stderr
    outcome = json.loads(told.stdout)
    (name, at), = outcome["stamps"].items()
    assert bool(at) is (code == 0)
    assert outcome["revocation"][name][0] in (word, "revoked")
    assert [one["name"] for one in outcome["findings"]] == (["stamp-revoked"] if code else [])
    arguments = ["pack.zip", "--trust", "trust.json", "--tsa", str(house.root), "--crl", "list.crl", "--at", NOW.isoformat()]
    assert verify_pack.main([str(tmp_path / one) if one.endswith((".zip", ".json", ".crl")) else one for one in arguments]) == code
