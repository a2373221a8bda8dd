"""Which rules are enforced and tested: the coverage table, and the proof that dropping a breach turns a test red."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from backend.core.rulebook import Rule, RuleClass, rule_class
from tests.architecture.tree import ROOT, sources
from tests.support.dropped_rules import rules_of

# Refused from day one: each refusal is an answer to a request for leave, so `demand` is where it bites.
REFUSED = (
    Rule.VIS_01, Rule.VIS_10, Rule.REQ_03, Rule.DECL_01, Rule.CONT_02, Rule.VIS_06, Rule.CASH_01, Rule.CASH_03, Rule.CASH_04, Rule.CASH_05,
    Rule.CASH_06, Rule.CASH_07, Rule.CASH_09, Rule.REQ_01, Rule.REQ_02, Rule.VIS_04, Rule.VIS_05, Rule.TEAM_01, Rule.CONT_05,
)
# Closed by type, schema or signature instead of by `demand`: the breach cannot be written down in a request.
BY_CONSTRUCTION = frozenset({Rule.CASH_05, Rule.CASH_07, Rule.CASH_09})


def rules_tested() -> dict[str, int]:
    """Return for each rule how many tests carry its id."""
    counts: dict[str, int] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")):
            for rule in rules_of(name):
                counts[rule] = counts.get(rule, 0) + 1
    return counts


def rules_cited() -> set[str]:
    """Return the rules that the code names as `Rule.X`."""
    texts = [source.text for source in sources("backend", "routing", "evidence")]
    return {found.replace("_", "-") for text in texts for found in re.findall(r"Rule\.([A-Z]+_\d\d)", text)}


def test_the_coverage_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    tested, cited = rules_tested(), rules_cited()
    with capsys.disabled():
        print()
        for kind in RuleClass:
            rules = [rule for rule in Rule if rule_class(rule) is kind]
            named, proven = (sum(rule in known for rule in rules) for known in (cited, tested))
            print(f"{kind.value:9} {len(rules):3} rules, {named:3} named in code, {proven:3} tested")
    assert set(tested) <= set(Rule), "a test is named after a rule that the catalogue does not have"


@pytest.mark.parametrize("rule", REFUSED, ids=str)
def test_every_rule_refused_from_day_one_has_a_test_under_its_id(rule: Rule) -> None:
    assert rules_tested().get(rule, 0) > 0


@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_dropping_a_breach_turns_one_of_its_tests_red(tmp_path: Path) -> None:
    report = tmp_path / "dropped.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.support.dropped_rules",
               "--dropped-report", str(report), "-m", "not slow and not soak", "tests"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=1_200)
    found = json.loads(report.read_text(encoding="utf-8"))
    toothless = [rule.value for rule in REFUSED if rule not in BY_CONSTRUCTION and not found.get(rule.value, {}).get("red")]
    assert toothless == [], found
