"""The statuses of a visit: every pair of status and event, and facts that arrive in any order."""

from itertools import permutations, product

import msgspec
import pytest

from backend.core.problems import IllegalTransition
from backend.visits.model import TRANSITIONS, Told, VisitEvent, VisitStatus, advance, settle


def test_every_pair_of_status_and_event_either_leads_on_or_is_refused() -> None:
    for status, event in product(VisitStatus, VisitEvent):
        if (status, event) in TRANSITIONS:
            assert advance(status, event) is TRANSITIONS[status, event]
        else:
            with pytest.raises(IllegalTransition) as refusal:
                advance(status, event)
            assert refusal.value.details == {"current": status.value, "event": event.value}


def test_every_status_is_reached_from_dispatch_and_archived_is_silent() -> None:
    reached = {VisitStatus.DISPATCHED}
    for _ in VisitStatus:
        reached |= {following for (status, _), following in TRANSITIONS.items() if status in reached}
    assert reached == set(VisitStatus)
    assert {status for status, _ in TRANSITIONS} == set(VisitStatus) - {VisitStatus.ARCHIVED}
    assert {event for _, event in TRANSITIONS} == set(VisitEvent)


def test_facts_that_arrive_in_any_order_end_in_the_same_status() -> None:
    names = ("is_started", "is_entered", "is_concluded", "is_reported")
    for order in permutations(names):
        status, told = VisitStatus.DISPATCHED, Told()
        for name in order:
            told = msgspec.structs.replace(told, **{name: True})
            status = settle(status, told)
        assert status is VisitStatus.REPORTED, order


def test_an_outcome_without_a_start_waits() -> None:
    assert settle(VisitStatus.DISPATCHED, Told(is_concluded=True, is_reported=True)) is VisitStatus.DISPATCHED


def test_a_cancelled_visit_that_happened_is_a_started_one() -> None:
    assert settle(VisitStatus.CANCELLED, Told(is_started=True)) is VisitStatus.STARTED


@pytest.mark.parametrize("status", [VisitStatus.RETURNED, VisitStatus.REVIEWED, VisitStatus.ARCHIVED])
def test_what_was_told_before_a_review_does_not_undo_it(status: VisitStatus) -> None:
    assert settle(status, Told(is_started=True, is_concluded=True, is_reported=True)) is status
