"""Requests: transitions, refusals and the policy's verdict."""

from typing import Any

import msgspec
import pytest

from backend.cases.model import Field, Stop
from backend.core.fen import Fen
from backend.core.ids import StaffId, new_id
from backend.core.problems import IllegalTransition
from backend.core.rulebook import Rule
from backend.policies.model import DEFAULT_POLICY
from backend.requests.model import (
    BULK_MAX,
    OPEN_STATUSES,
    TRANSITIONS,
    Choice,
    DecisionFacts,
    RequestEvent,
    RequestFacts,
    RequestStatus,
    TriageFacts,
    Verdict,
    advance,
)
from backend.requests.rules import judge_bulk, judge_decision, judge_request, triage

HANA, PETRA, AMINA = (StaffId(new_id()) for _ in range(3))
BARRED = msgspec.structs.replace(DEFAULT_POLICY, is_analyst_barred=True)


def request_facts(**changes: Any) -> RequestFacts:
    clean: dict[str, Any] = {
        "phone_contacts": 1, "unconfirmed": frozenset(), "stops": frozenset(), "is_address_current": True, "window_from_s": 28_800,
        "window_to_s": 75_600, "is_hour_agreed": False,
    }
    return RequestFacts(**{**clean, **changes})


def decision_facts(**changes: Any) -> DecisionFacts:
    clean: dict[str, Any] = {
        "choice": Choice.APPROVE, "requester": HANA, "analyst": PETRA, "decider": AMINA, "stops": frozenset(), "unconfirmed": frozenset(),
    }
    return DecisionFacts(**{**clean, **changes})


def triage_facts(**changes: Any) -> TriageFacts:
    plain: dict[str, Any] = {
        "is_located": True, "is_served": True, "confidence_pct": 80, "bucket_days": 95, "failed_contacts": 2, "has_safety_note": False,
        "has_hours_outside": False, "cash_expected_fen": Fen(0), "amount_fen": Fen(1_000_000), "stops": frozenset(), "unconfirmed": frozenset(),
    }
    return TriageFacts(**{**plain, **changes})


@pytest.mark.parametrize("status", list(RequestStatus))
@pytest.mark.parametrize("event", list(RequestEvent))
def test_every_status_and_event_either_follows_the_table_or_is_refused(status: RequestStatus, event: RequestEvent) -> None:
    if (status, event) in TRANSITIONS:
        assert advance(status, event) is TRANSITIONS[status, event]
    else:
        with pytest.raises(IllegalTransition):
            advance(status, event)


def test_REQ_02_nothing_leads_to_approval_but_an_analysed_request() -> None:
    assert {status for (status, _), following in TRANSITIONS.items() if following is RequestStatus.APPROVED} == {RequestStatus.ANALYSED}
    assert all(status in OPEN_STATUSES for status, _ in TRANSITIONS)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [({"phone_contacts": 0}, Rule.REQ_01), ({"unconfirmed": frozenset({Field.AGE})}, Rule.CONT_02),
     ({"stops": frozenset({Stop.SUSPENDED})}, Rule.DECL_01),
     ({"stops": frozenset({Stop.VULNERABLE})}, Rule.VIS_11), ({"is_address_current": False}, Rule.VIS_16),
     ({"window_from_s": 28_799}, Rule.VIS_10), ({"window_to_s": 75_601}, Rule.VIS_10)],
)
def test_REQ_01_CONT_02_DECL_01_VIS_10_request_that_lacks_something_is_a_breach(changes: dict[str, Any], rule: Rule) -> None:
    assert [breach.rule for breach in judge_request(request_facts(**changes), DEFAULT_POLICY)] == [rule]


def test_clean_request_and_agreed_hours_are_no_breach() -> None:
    assert judge_request(request_facts(), DEFAULT_POLICY) == ()
    assert judge_request(request_facts(window_to_s=77_000, is_hour_agreed=True), DEFAULT_POLICY) == ()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [({"analyst": None}, Rule.REQ_02), ({"decider": HANA}, Rule.REQ_03), ({"stops": frozenset({Stop.SUSPENDED})}, Rule.DECL_01),
     ({"unconfirmed": frozenset({Field.OCCUPATION})}, Rule.CONT_02)],
)
def test_REQ_02_REQ_03_approval_that_lacks_something_is_a_breach(changes: dict[str, Any], rule: Rule) -> None:
    assert [breach.rule for breach in judge_decision(decision_facts(**changes), DEFAULT_POLICY)] == [rule]


def test_REQ_03_self_rejection_is_a_breach_too_but_a_stopped_case_may_be_rejected() -> None:
    assert [breach.rule for breach in judge_decision(decision_facts(choice=Choice.REJECT, decider=HANA), DEFAULT_POLICY)] == [Rule.REQ_03]
    assert judge_decision(decision_facts(choice=Choice.REJECT, stops=frozenset({Stop.SUSPENDED})), DEFAULT_POLICY) == ()


def test_REQ_03_analyst_may_decide_unless_the_policy_bars_it() -> None:
    assert judge_decision(decision_facts(decider=PETRA), DEFAULT_POLICY) == ()
    assert [breach.code for breach in judge_decision(decision_facts(decider=PETRA), BARRED)] == ["analyst-decided"]


@pytest.mark.parametrize("verdicts", [(), (Verdict.GREEN, Verdict.AMBER), (Verdict.RED,), (None,), (Verdict.GREEN,) * (BULK_MAX + 1)])
def test_REQ_03_batches_are_green_and_bounded(verdicts: tuple[Verdict | None, ...]) -> None:
    assert [breach.rule for breach in judge_bulk(verdicts)] == [Rule.REQ_03]
    assert judge_bulk((Verdict.GREEN,) * BULK_MAX) == ()


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [({}, Verdict.GREEN), ({"is_located": False}, Verdict.RED), ({"is_served": False}, Verdict.RED),
     ({"stops": frozenset({Stop.HOLD})}, Verdict.RED), ({"unconfirmed": frozenset({Field.AGE})}, Verdict.RED), ({"bucket_days": 60}, Verdict.AMBER),
     ({"failed_contacts": 0}, Verdict.AMBER), ({"confidence_pct": 59}, Verdict.AMBER), ({"has_safety_note": True}, Verdict.AMBER),
     ({"has_hours_outside": True}, Verdict.AMBER), ({"cash_expected_fen": Fen(1)}, Verdict.AMBER), ({"amount_fen": Fen(20_000_001)}, Verdict.AMBER)],
)
def test_VIS_14_VIS_15_VIS_16_triage_reads_age_amount_phone_results_and_place(changes: dict[str, Any], verdict: Verdict) -> None:
    assert triage(triage_facts(**changes), DEFAULT_POLICY) is verdict
