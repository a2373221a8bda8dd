"""The states of money: walked pair by pair, and the same in the code and in the database."""

import importlib.util
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from backend.cash.claim_model import CLAIM_TRANSITIONS, ClaimEvent, ClaimStatus, advance_claim
from backend.cash.model import (
    DEPOSIT_TRANSITIONS,
    HANDOVER_TRANSITIONS,
    NUMBER_TRANSITIONS,
    REQUEST_TRANSITIONS,
    VARIANCE_TRANSITIONS,
    DepositEvent,
    DepositStatus,
    HandoverEvent,
    HandoverStatus,
    NumberEvent,
    NumberStatus,
    RequestEvent,
    RequestStatus,
    VarianceEvent,
    VarianceStatus,
    advance_deposit,
    advance_handover,
    advance_number,
    advance_request,
    advance_variance,
)
from backend.core.problems import IllegalTransition
from backend.db.migrations import versions
from backend.offers.model import PROMISE_TRANSITIONS, PROPOSAL_TRANSITIONS

MACHINES: dict[str, tuple[type[StrEnum], type[StrEnum], Mapping[Any, Any], Callable[[Any, Any], Any], StrEnum]] = {
    "authorisation_requests": (RequestStatus, RequestEvent, REQUEST_TRANSITIONS, advance_request, RequestStatus.REQUESTED),
    "receipt_numbers": (NumberStatus, NumberEvent, NUMBER_TRANSITIONS, advance_number, NumberStatus.LEASED),
    "handovers": (HandoverStatus, HandoverEvent, HANDOVER_TRANSITIONS, advance_handover, HandoverStatus.OFFERED),
    "deposits": (DepositStatus, DepositEvent, DEPOSIT_TRANSITIONS, advance_deposit, DepositStatus.HELD),
    "variances": (VarianceStatus, VarianceEvent, VARIANCE_TRANSITIONS, advance_variance, VarianceStatus.OPEN),
    "direct_payments": (ClaimStatus, ClaimEvent, CLAIM_TRANSITIONS, advance_claim, ClaimStatus.CLAIMED),
}


@pytest.mark.parametrize("table", MACHINES)
def test_every_pair_of_status_and_event_is_decided(table: str) -> None:
    statuses, events, transitions, advance, _ = MACHINES[table]
    for status in statuses:
        for event in events:
            if (status, event) in transitions:
                assert advance(status, event) is transitions[status, event]
            else:
                with pytest.raises(IllegalTransition):
                    advance(status, event)


@pytest.mark.parametrize("table", MACHINES)
def test_every_status_is_reached_from_the_first(table: str) -> None:
    statuses, _, transitions, _, first = MACHINES[table]
    reached = {first}
    for _ in statuses:
        reached |= {following for (status, _), following in transitions.items() if status in reached}
    assert reached == set(statuses)


@pytest.mark.parametrize(("table", "transitions"), [
    *((table, machine[2]) for table, machine in MACHINES.items()), ("promises", PROMISE_TRANSITIONS), ("proposals", PROPOSAL_TRANSITIONS),
], ids=lambda one: one if isinstance(one, str) else "")
def test_CASH_08_the_database_follows_the_same_states(table: str, transitions: Mapping[tuple[StrEnum, StrEnum], StrEnum]) -> None:
    path = Path(versions.__path__[0]) / "2026_11_22_cash_states.py"
    spec = importlib.util.spec_from_file_location("cash_states", path)
    assert spec is not None
    assert spec.loader is not None
    migration = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(migration)
    guarded = {(before, after) for before, following in migration._STATES[table][1].items() for after in following}
    assert guarded == {(before.value, after.value) for (before, _), after in transitions.items() if before is not after}
    ended = {after.value for after in transitions.values()} - {before.value for before, _ in transitions}
    assert set(migration._ENDED.get(table, ended)) == ended
