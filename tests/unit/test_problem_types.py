"""The names of protocol §2.6: each is a type with its status and a page, and where statements meet the condition, a finding of a known name."""

import re
from pathlib import Path

import pytest

from backend.cases.rules import RULE_OF_STOP, judge_stops
from backend.cli import app as _whole  # noqa: F401 - every type is known once the application is.
from backend.core.problems import PROBLEM_TYPES
from backend.core.rulebook import Breach, Rule, RulesBreached
from backend.exhibits.refusals import ChainFork

SHARED = Path(__file__).resolve().parents[3] / "shared" / "protocol.md"
NAMED = {
    "malformed-envelope": 400, "payload-not-canonical": 422, "schema-violation": 422, "unsupported-media-type": 415, "too-large": 413,
    "quota-exceeded": 429, "unknown-device": 403, "device-not-active": 403, "device-revoked": 403, "signature-invalid": 422,
    "wrong-algorithm": 422, "cosignature-missing": 409, "cosigner-not-distinct": 422, "signer-not-assigned": 403, "visit-not-open": 409,
    "visit-version-stale": 409, "case-on-hold": 409, "manifest-conflict": 409, "chain-fork": 409, "item-not-declared": 409, "size-mismatch": 409,
    "digest-mismatch": 422, "checksum-mismatch": 460, "offset-mismatch": 409, "upload-locked": 423, "upload-gone": 410, "id-sides-missing": 422,
    "template-not-approved": 422, "cash-not-authorised": 403, "authorisation-expired": 403, "authorisation-exhausted": 409, "cap-exceeded": 422,
    "account-not-designated": 422, "receipt-number-not-leased": 409, "receipt-already-used": 409, "retention-active": 409, "legal-hold": 409,
    "in-progress": 409, "idempotency-conflict": 409, "storage-unavailable": 503,
}
FINDINGS = {                                          # What a statement is judged with instead of being refused.
    "signer-not-assigned": "signer-not-assigned", "cosignature-missing": "cosignature-missing", "visit-not-open": "visit-not-open",
    "visit-version-stale": "visit-version-stale", "case-on-hold": "after-hold", "chain-fork": "chain-fork", "id-sides-missing": "id-sides-missing",
    "template-not-approved": "template-not-approved", "cash-not-authorised": "cash-not-authorised", "authorisation-expired": "authorisation-expired",
    "authorisation-exhausted": "authorisation-exhausted", "cap-exceeded": "cap-exceeded", "account-not-designated": "account-not-designated",
    "receipt-number-not-leased": "receipt-number-not-leased", "receipt-already-used": "receipt-already-used",
}


def test_every_name_of_the_protocol_is_a_type_with_its_status() -> None:
    assert {name: PROBLEM_TYPES[name].status for name in NAMED if name in PROBLEM_TYPES} == NAMED


def test_every_condition_that_statements_meet_tells_the_finding_s_name() -> None:
    assert {code: kind.finding for code, kind in PROBLEM_TYPES.items() if kind.finding} == FINDINGS
    assert [code for code, kind in PROBLEM_TYPES.items() if not kind.is_refusal] == ["chain-fork"]


def test_a_finding_only_type_is_never_raised() -> None:
    with pytest.raises(AssertionError, match="chain-fork"):
        ChainFork()


def test_DECL_01_whatever_stops_a_case_is_answered_as_case_on_hold_and_beside_other_breaches_as_rules_breached() -> None:
    for stop in RULE_OF_STOP:
        refused = RulesBreached(judge_stops(frozenset({stop})))
        assert (refused.answered_code, refused.answered_status, len(refused.breaches)) == ("case-on-hold", 409, 1), stop
    stopped = judge_stops(frozenset(RULE_OF_STOP))
    assert RulesBreached(stopped).answered_code == "case-on-hold"
    assert RulesBreached((*stopped, Breach(Rule.VIS_10, "outside-hours"))).answered_code == "rules-breached"


@pytest.mark.skipif(not SHARED.exists(), reason="the protocol is not here")
def test_the_table_here_is_the_protocol_s() -> None:
    text = SHARED.read_text(encoding="utf-8")
    table = text[text.index("### 2.6") : text.index("### 2.7")]
    told: dict[str, int] = {}
    for line in table.splitlines():
        if line.startswith("| `"):
            _, names, statuses, *_ = line.split("|")
            of_line = [int(status) for status in re.findall(r"\d{3}", statuses)]
            types = re.findall(r"`([a-z-]+)`", names)
            told |= dict(zip(types, of_line if len(of_line) == len(types) else of_line * len(types), strict=True))
    assert told == NAMED
