"""The statuses of a plan: every pair of status and event."""

from itertools import product

import pytest

from backend.core.problems import IllegalTransition
from backend.plans.model import TRANSITIONS, PlanEvent, PlanStatus, advance


def test_every_pair_of_status_and_event_either_leads_on_or_is_refused() -> None:
    for status, event in product(PlanStatus, PlanEvent):
        if (status, event) in TRANSITIONS:
            assert advance(status, event) is TRANSITIONS[status, event]
        else:
            with pytest.raises(IllegalTransition):
                advance(status, event)


def test_every_status_is_reached_from_the_queue_and_the_ends_are_silent() -> None:
    reached = {PlanStatus.QUEUED}
    for _ in PlanStatus:
        reached |= {following for (status, _), following in TRANSITIONS.items() if status in reached}
    assert reached == set(PlanStatus)
    assert set(PlanStatus) - {status for status, _ in TRANSITIONS} == {PlanStatus.FAILED, PlanStatus.SUPERSEDED, PlanStatus.CANCELLED}
