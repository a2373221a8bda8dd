"""Leave to publish a plan: what may have changed since it was solved."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from backend.core.ids import BankId, RequestId, StaffId
from backend.core.rulebook import Rule
from backend.plans.rules import PublicationFacts, PublishedRoute, StopFacts, judge_publication
from backend.policies.model import DEFAULT_POLICY
from backend.staff.model import EquipmentKind
from backend.staff.rules import CredentialFacts, EquipmentFacts, MemberFacts, PairFacts

FRIDAY = date(2026, 11, 27)
BANK_A, BANK_B = BankId(UUID(int=0xA)), BankId(UUID(int=0xB))


def member(number: int, *, banks: tuple[BankId, ...] = (BANK_A,), **changed: Any) -> MemberFacts:
    papers = tuple(CredentialFacts(bank_id=bank, valid_from_on=date(2026, 1, 1), valid_to_on=date(2026, 12, 31)) for bank in banks)
    clean = MemberFacts(
        staff_id=StaffId(UUID(int=number)), is_active=True, is_of_the_agency=True, credentials=papers, field_qualified_to_on=date(2026, 12, 31),
        is_lead=True,
    )
    return msgspec.structs.replace(clean, **changed)


def stop(**changed: Any) -> StopFacts:
    clean = StopFacts(
        position=1, request_id=RequestId(UUID(int=7)), is_approved=True,
        local_starts_at=datetime(2026, 11, 27, 9), local_ends_at=datetime(2026, 11, 27, 9, 30),  # noqa: DTZ001 - local
    )
    return msgspec.structs.replace(clean, **changed)


def route(
    *members: MemberFacts, number: int = 1, banks: tuple[BankId, ...] = (BANK_A,), kinds: tuple[EquipmentKind, ...] = tuple(EquipmentKind)
) -> PublishedRoute:
    carried = tuple(EquipmentFacts(kind=kind, is_passed=True, next_due_on=date(2026, 12, 31)) for kind in kinds)
    pairs = tuple(PairFacts(on=FRIDAY, bank_id=bank, members=members, equipment=carried) for bank in banks)
    return PublishedRoute(number=number, members=tuple(one.staff_id for one in members), absent=frozenset(), pairs=pairs, stops=(stop(),))


def publication(*routes: PublishedRoute, **changed: Any) -> PublicationFacts:
    clean = PublicationFacts(routes=routes or (route(member(1), member(2)),), violations=(), is_day_over=False)
    return msgspec.structs.replace(clean, **changed)


def broken(facts: PublicationFacts) -> list[Rule]:
    return [breach.rule for breach in judge_publication(facts, DEFAULT_POLICY)]


def with_stop(**changed: Any) -> PublicationFacts:
    return publication(msgspec.structs.replace(route(member(1), member(2)), stops=(stop(**changed),)))


@pytest.mark.parametrize("members", [(member(1),), (member(1), member(1)), (member(1), member(2, is_active=False))])
def test_VIS_01_a_route_with_fewer_than_two_active_people_is_not_published(members: tuple[MemberFacts, ...]) -> None:
    assert Rule.VIS_01 in broken(publication(route(*members)))


def test_VIS_01_nobody_is_in_two_pairs() -> None:
    assert broken(publication(route(member(1), member(2)), route(member(1), member(3), number=2))) == [Rule.VIS_01]


def test_VIS_04_a_pair_without_a_camera_is_not_published() -> None:
    assert broken(publication(route(member(1), member(2), kinds=(EquipmentKind.AUDIO,)))) == [Rule.VIS_04]


def test_REQ_09_a_member_who_does_not_work_that_day_is_not_published() -> None:
    absent = msgspec.structs.replace(route(member(1), member(2)), absent=frozenset({StaffId(UUID(int=2))}))
    assert broken(publication(absent)) == [Rule.REQ_09]


def test_TEAM_01_an_unqualified_member_is_not_published() -> None:
    assert broken(publication(route(member(1), member(2, field_qualified_to_on=None)))) == [Rule.TEAM_01]


def test_VIS_06_a_member_without_the_credential_of_every_bank_on_the_route_is_not_published() -> None:
    assert broken(publication(route(member(1), member(2, banks=())))) == [Rule.VIS_06]
    both, one = member(1, banks=(BANK_A, BANK_B)), member(2)
    assert broken(publication(route(both, one, banks=(BANK_A, BANK_B)))) == [Rule.VIS_06]


def test_what_is_wrong_with_a_pair_is_named_once_however_many_banks_it_serves() -> None:
    both = member(1, banks=(BANK_A, BANK_B)), member(2, banks=(BANK_A, BANK_B), field_qualified_to_on=None)
    assert broken(publication(route(*both, banks=(BANK_A, BANK_B)))) == [Rule.TEAM_01]


@pytest.mark.parametrize(("starts", "ends"), [((7, 59), (8, 30)), ((20, 40), (21, 1))])
def test_VIS_10_a_stop_outside_the_hours_is_not_published(starts: tuple[int, int], ends: tuple[int, int]) -> None:
    times = {"local_starts_at": datetime(2026, 11, 27, *starts), "local_ends_at": datetime(2026, 11, 27, *ends)}  # noqa: DTZ001 - local
    assert broken(with_stop(**times)) == [Rule.VIS_10]
    assert broken(with_stop(**times, is_hour_agreed=True)) == []


def test_REQ_03_a_stop_whose_approval_is_gone_is_not_published() -> None:
    assert broken(with_stop(is_approved=False)) == [Rule.REQ_03]


@pytest.mark.parametrize("changed", [{"violations": ("pair_rotation",)}, {"is_day_over": True}])
def test_REQ_04_a_plan_that_is_not_clean_or_too_late_is_not_published(changed: dict[str, Any]) -> None:
    assert broken(publication(**changed)) == [Rule.REQ_04]


def test_a_clean_plan_breaks_nothing() -> None:
    assert broken(publication()) == []
