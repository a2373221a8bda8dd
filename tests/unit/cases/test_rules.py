"""What keeps a case from being collected."""

import pytest

from backend.cases.model import Field, Stop
from backend.cases.rules import RULE_OF_STOP, judge_confirmations, judge_stops
from backend.core.rulebook import Rule


@pytest.mark.parametrize("stop", list(Stop))
def test_each_stop_is_a_breach_of_its_rule(stop: Stop) -> None:
    (breach,) = judge_stops(frozenset({stop}))
    assert (breach.rule, breach.got) == (RULE_OF_STOP[stop], stop.value)


def test_DECL_01_VIS_11_stops_are_named_together() -> None:
    assert {breach.rule for breach in judge_stops(frozenset({Stop.SUSPENDED, Stop.VULNERABLE}))} == {Rule.DECL_01, Rule.VIS_11}
    assert judge_stops(frozenset()) == ()


@pytest.mark.parametrize("field", list(Field))
def test_CONT_02_each_unconfirmed_field_alone_is_a_breach(field: Field) -> None:
    (breach,) = judge_confirmations(frozenset({field}))
    assert (breach.rule, breach.got) == (Rule.CONT_02, field.value)


def test_CONT_02_five_confirmed_fields_are_clean() -> None:
    assert judge_confirmations(frozenset()) == ()
