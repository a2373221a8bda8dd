"""The status machine of a case, and what amount and age make of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.cases.model import (
    OPEN_STATUSES,
    TRANSITIONS,
    Bucket,
    CaseEvent,
    CaseStatus,
    Risk,
    Signal,
    advance,
    bucket_of,
    level_of,
    risk_of,
    score_of,
    visit_value,
)
from backend.core.fen import Fen
from backend.core.problems import IllegalTransition

TERMINAL = {CaseStatus.RECALLED, CaseStatus.ARCHIVED}
amounts = st.integers(min_value=1, max_value=10**13).map(Fen)
days = st.integers(min_value=0, max_value=20_000)
signal_sets = st.frozensets(st.sampled_from(list(Signal)))


@pytest.mark.parametrize("status", list(CaseStatus))
@pytest.mark.parametrize("event", list(CaseEvent))
def test_every_status_and_event_either_follows_the_table_or_is_refused(status: CaseStatus, event: CaseEvent) -> None:
    if (status, event) not in TRANSITIONS:
        with pytest.raises(IllegalTransition) as refused:
            advance(status, event, before=CaseStatus.PROMISED)
        assert refused.value.details == {"current": status.value, "event": event.value}
    else:
        following = TRANSITIONS[status, event]
        assert advance(status, event, before=CaseStatus.PROMISED) is (following or CaseStatus.PROMISED)


def test_every_status_is_reachable_and_terminals_are_silent() -> None:
    reached = {CaseStatus.RECEIVED}
    while True:
        more = {following for (status, _), following in TRANSITIONS.items() if status in reached and following is not None} - reached
        if not more:
            break
        reached |= more
    assert reached == set(CaseStatus)
    assert TERMINAL.isdisjoint(status for status, _ in TRANSITIONS)


@pytest.mark.parametrize("status", sorted(OPEN_STATUSES))
def test_DECL_01_every_open_status_can_be_suspended_and_resumed_to_itself(status: CaseStatus) -> None:
    assert advance(status, CaseEvent.SUSPEND) is CaseStatus.SUSPENDED
    assert advance(CaseStatus.SUSPENDED, CaseEvent.RESUME, before=status) is status


@pytest.mark.parametrize("before", [None, CaseStatus.PAID, CaseStatus.SUSPENDED])
def test_resumption_to_nowhere_is_refused(before: CaseStatus | None) -> None:
    with pytest.raises(IllegalTransition):
        advance(CaseStatus.SUSPENDED, CaseEvent.RESUME, before=before)


@pytest.mark.parametrize(
    ("past_due", "bucket", "risk"),
    [(0, Bucket.M0, Risk.PRIME), (1, Bucket.M1, Risk.PRIME), (30, Bucket.M1, Risk.PRIME), (31, Bucket.M2, Risk.LOW), (60, Bucket.M2, Risk.LOW),
     (61, Bucket.M3, Risk.HIGH), (90, Bucket.M3, Risk.HIGH), (91, Bucket.M3_PLUS, Risk.HIGH)],
)
def test_CF_09_bucket_and_risk_label_have_edges_of_their_own(past_due: int, bucket: Bucket, risk: Risk) -> None:
    assert (bucket_of(past_due), risk_of(past_due)) == (bucket, risk)


@given(amounts, amounts, days, days, signal_sets)
def test_CASE_26_priority_never_falls_with_amount_or_age(a: Fen, b: Fen, young: int, old: int, signals: frozenset[Signal]) -> None:
    small, large = min(a, b), max(a, b)
    young, old = min(young, old), max(young, old)
    assert score_of(small, young, signals=signals) <= score_of(large, old, signals=signals)
    assert level_of(score_of(small, young, signals=signals)) <= level_of(score_of(large, old, signals=signals))


def test_CASE_26_amount_alone_and_age_alone_raise_the_priority() -> None:
    none = frozenset[Signal]()
    assert level_of(score_of(Fen(100_000), 40, signals=none)) < level_of(score_of(Fen(20_000_000), 40, signals=none))
    assert level_of(score_of(Fen(100_000), 40, signals=none)) < level_of(score_of(Fen(100_000), 400, signals=none))


@given(amounts, days, st.sampled_from(list(Signal)))
def test_CASE_28_each_signal_raises_score_and_any_priority_below_the_top(amount: Fen, past_due: int, signal: Signal) -> None:
    calm, warned = (score_of(amount, past_due, signals=signals) for signals in (frozenset[Signal](), frozenset({signal})))
    assert warned > calm
    assert level_of(warned) > level_of(calm) or level_of(calm) == 5


@given(amounts, days, st.integers(min_value=0, max_value=50))
def test_VIS_14_and_VIS_15_value_grows_with_score_and_failed_calls(amount: Fen, past_due: int, failed: int) -> None:
    score = score_of(amount, past_due, signals=frozenset())
    priority, value = visit_value(score, failed)
    assert value == 2 ** (priority - 1)
    assert visit_value(score, failed + 1)[1] >= value
    assert visit_value(score + 1, failed)[1] >= value


def test_VIS_14_amount_and_age_enter_the_value() -> None:
    assert visit_value(score_of(Fen(100_000), 40, signals=frozenset()), 0) < visit_value(score_of(Fen(20_000_000), 40, signals=frozenset()), 0)


def test_VIS_15_poor_phone_results_enter_the_value() -> None:
    assert visit_value(140, 0)[1] < visit_value(140, 3)[1]
