"""Leave to publish a plan: what may have changed since it was solved."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from backend.core.ids import BankId, RequestId, StaffId
from backend.core.rulebook import Rule
from backend.plans.rules import MemberFacts, PublicationFacts, PublishedRoute, StopFacts, judge_publication
from backend.policies.model import DEFAULT_POLICY

BANK_A, BANK_B = BankId(UUID(int=0xA)), BankId(UUID(int=0xB))


def member(number: int, **changed: Any) -> MemberFacts:
    clean = MemberFacts(id=StaffId(UUID(int=number)), is_active=True, is_qualified=True, credentials=frozenset({BANK_A}))
    return msgspec.structs.replace(clean, **changed)


def stop(**changed: Any) -> StopFacts:
    clean = StopFacts(
        place=1, request_id=RequestId(UUID(int=7)), bank_id=BANK_A, is_approved=True, is_begun=False,
        local_starts_at=datetime(2026, 11, 27, 9), local_ends_at=datetime(2026, 11, 27, 9, 30),  # noqa: DTZ001 - local
    )
    return msgspec.structs.replace(clean, **changed)


def publication(
    *, members: tuple[MemberFacts, ...] = (member(1), member(2)), stops: tuple[StopFacts, ...] = (stop(),), **changed: Any
) -> PublicationFacts:
    clean = PublicationFacts(routes=(PublishedRoute(number=1, members=members, stops=stops),), violations=(), is_day_over=False)
    return msgspec.structs.replace(clean, **changed)


def broken(facts: PublicationFacts) -> list[Rule]:
    return [breach.rule for breach in judge_publication(facts, DEFAULT_POLICY)]


@pytest.mark.parametrize("members", [(member(1),), (member(1), member(1)), (member(1), member(2, is_active=False))])
def test_VIS_01_a_route_with_fewer_than_two_active_people_is_not_published(members: tuple[MemberFacts, ...]) -> None:
    assert Rule.VIS_01 in broken(publication(members=members))


def test_VIS_01_nobody_is_in_two_pairs() -> None:
    routes = tuple(PublishedRoute(number=n, members=(member(1), member(1 + n)), stops=(stop(),)) for n in (1, 2))
    assert broken(publication(routes=routes)) == [Rule.VIS_01]


def test_TEAM_01_an_unqualified_member_is_not_published() -> None:
    assert broken(publication(members=(member(1), member(2, is_qualified=False)))) == [Rule.TEAM_01]


def test_VIS_06_a_member_without_the_credential_of_every_bank_on_the_route_is_not_published() -> None:
    assert broken(publication(members=(member(1), member(2, credentials=frozenset())))) == [Rule.VIS_06]
    assert broken(publication(stops=(stop(), stop(bank_id=BANK_B)))) == [Rule.VIS_06, Rule.VIS_06]


@pytest.mark.parametrize("starts,ends", [((7, 59), (8, 30)), ((20, 40), (21, 1))])
def test_VIS_10_a_stop_outside_the_hours_is_not_published(starts: tuple[int, int], ends: tuple[int, int]) -> None:
    late = stop(local_starts_at=datetime(2026, 11, 27, *starts), local_ends_at=datetime(2026, 11, 27, *ends))  # noqa: DTZ001 - local
    assert broken(publication(stops=(late,))) == [Rule.VIS_10]
    assert broken(publication(stops=(msgspec.structs.replace(late, is_hour_agreed=True),))) == []


def test_REQ_03_a_stop_whose_approval_is_gone_is_not_published() -> None:
    assert broken(publication(stops=(stop(is_approved=False),))) == [Rule.REQ_03]


@pytest.mark.parametrize("changed", [{"violations": ("pair_rotation",)}, {"is_day_over": True}, {"stops": (stop(is_begun=True),)}])
def test_REQ_04_a_plan_that_is_not_clean_or_too_late_is_not_published(changed: dict[str, Any]) -> None:
    assert broken(publication(**changed)) == [Rule.REQ_04]


def test_a_clean_plan_breaks_nothing() -> None:
    assert broken(publication()) == []
