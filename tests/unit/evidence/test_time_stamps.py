"""RFC 3161: a stamp is over exactly this message, answers exactly this request, and comes from whom we pinned."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from evidence import time_stamps
from evidence.errors import LogProofInvalid
from tests.support.time_authority import OTHER_POLICY, POLICY, TimeAuthority
from tests.unit.evidence.samples import sample_json

MESSAGE, NONCE = b"a signed checkpoint", 0x1234_5678_9ABC_DEF0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> TimeAuthority:
    return TimeAuthority(tmp_path_factory.mktemp("tsa"))


@pytest.fixture(scope="module")
def answer(house: TimeAuthority) -> bytes:
    return house.answer(time_stamps.ask(MESSAGE, NONCE, POLICY))


def refused(response: bytes, house: TimeAuthority, message: bytes = MESSAGE, nonce: int = NONCE, policy: str = POLICY) -> str:
    with pytest.raises(LogProofInvalid) as fault:
        time_stamps.judge(response, message, house.pinned, nonce=nonce, policy=policy)
    return fault.value.reason


def test_EVD_09_a_stamp_over_another_message_request_or_policy_is_refused(house: TimeAuthority, answer: bytes) -> None:
    assert "another message" in refused(answer, house, MESSAGE + b".")
    assert "another request" in refused(answer, house, nonce=NONCE + 1)
    assert "another policy" in refused(answer, house, policy=OTHER_POLICY)


def test_EVD_09_another_authority_vouches_for_nothing(house: TimeAuthority, answer: bytes, tmp_path: Path) -> None:
    other = TimeAuthority(tmp_path, "time")                   # The same names, other keys.
    assert "no pinned certificate" in refused(answer, other)
    assert "no pinned certificate" in refused(other.answer(time_stamps.ask(MESSAGE, NONCE, POLICY)), house)
    with pytest.raises(LogProofInvalid):
        time_stamps.judge(answer, MESSAGE, ())


def test_EVD_09_a_certificate_for_other_uses_stamps_nothing(monkeypatch: pytest.MonkeyPatch, answer: bytes, house: TimeAuthority) -> None:
    class NotCritical:
        critical = False

    real = x509.Extensions.get_extension_for_class
    monkeypatch.setattr(x509.Extensions, "get_extension_for_class",
                        lambda self, kind: NotCritical if kind is x509.ExtendedKeyUsage else real(self, kind))
    assert "something else" in refused(answer, house)         # openssl itself refuses to stamp with such a certificate.


@pytest.mark.parametrize("days", [(-20, -10), (10, 20)])
def test_EVD_09_a_stamp_made_outside_its_certificates_days_is_refused(tmp_path: Path, days: tuple[int, int]) -> None:
    ended = TimeAuthority(tmp_path, starts_days=days[0], ends_days=days[1])
    assert "not valid when" in refused(ended.answer(time_stamps.ask(MESSAGE, NONCE, POLICY)), ended)


def test_EVD_09_cuts_and_flips_are_refused(house: TimeAuthority, answer: bytes) -> None:
    for length in {*range(0, len(answer), 7), len(answer) - 1}:
        refused(answer[:length], house)
    refused(answer + b"\x00", house)
    refused(bytes(70_000), house)
    good = time_stamps.judge(answer, MESSAGE, house.pinned, nonce=NONCE, policy=POLICY)
    for position in range(0, len(answer), 3):
        changed = answer[:position] + bytes([answer[position] ^ 1]) + answer[position + 1:]
        try:
            assert time_stamps.judge(changed, MESSAGE, house.pinned, nonce=NONCE, policy=POLICY) == good, position     # Outside what is signed.
        except LogProofInvalid:
            continue


def test_EVD_09_an_authoritys_refusal_is_no_stamp(house: TimeAuthority) -> None:
    request = time_stamps.ask(MESSAGE, NONCE, "1.2.3.4.5")
    assert "refused" in refused(house.answer(request), house, policy="1.2.3.4.5")


def test_EVD_09_a_good_stamp_says_when(house: TimeAuthority, answer: bytes) -> None:
    stamp = time_stamps.judge(answer, MESSAGE, house.pinned, nonce=NONCE, policy=POLICY)
    assert stamp.policy == POLICY
    assert abs(stamp.at - datetime.now(UTC)) < timedelta(hours=1)
    assert time_stamps.judge(house.answer(time_stamps.ask(MESSAGE, NONCE)), MESSAGE, house.pinned, nonce=NONCE).policy == POLICY


@pytest.mark.parametrize("number", [0, 1])
def test_published_responses_are_answered_as_their_readme_demands(number: int) -> None:
    vector = sample_json("rfc3161/vectors.json")[number]
    pinned = x509.load_pem_x509_certificates(vector["chain_pem"].encode())
    response = base64.b64decode(vector["response_der_b64"])
    if vector["expect"] == "valid":
        assert time_stamps.judge(response, vector["message"].encode(), pinned).serial > 0
    else:
        with pytest.raises(LogProofInvalid):
            time_stamps.judge(response, vector["message"].encode(), pinned)
