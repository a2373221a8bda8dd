"""A small legal day to change in one place at a time."""

from datetime import date
from typing import Any
from uuid import UUID

import msgspec

from backend.cases.model import GenderRule
from backend.core.fen import Fen
from backend.core.geo import LonLat
from backend.core.ids import BankId, BranchId, CaseId, RequestId, StaffId
from backend.plans.facts import CollectorFacts, DayFacts, OfficeFacts, RequestFacts
from backend.staff.model import Gender

BANK_A, BANK_B = BankId(UUID(int=0xA)), BankId(UUID(int=0xB))
OFFICE = LonLat(121.4737, 31.2304)


def collector(number: int, **changed: Any) -> CollectorFacts:
    """Make a collector who may visit for both banks; odd ones are women, each carries recorder and camera."""
    clean = CollectorFacts(
        id=StaffId(UUID(int=100 + number)), is_active=True, is_qualified=True, is_lead=True, is_available=True,
        gender=Gender.F if number % 2 else Gender.M, credentials=frozenset({BANK_A, BANK_B}), certificates=frozenset(), languages=frozenset({"zh"}),
        shift_from_s=8 * 3600, shift_to_s=20 * 3600, start=None, end=None, has_audio=True, has_camera=True,
    )
    return msgspec.structs.replace(clean, **changed)


def request(number: int, **changed: Any) -> RequestFacts:
    """Make an approved request of bank A, `number` kilometres or so from the office."""
    clean = RequestFacts(
        id=RequestId(UUID(int=1000 + number)), case_id=CaseId(UUID(int=2000 + number)), bank_id=BANK_A, is_approved=True, effective_from_s=0,
        place=LonLat(OFFICE.lon + 0.01 * number, OFFICE.lat), is_in_territory=True, windows=((9 * 3600, 19 * 3600),), service_s=1800,
        is_mandatory=False, priority=3, required_certificate=None, required_language=None, gender_rule=GenderRule.ANY, excluded=frozenset(),
        cash_expected_fen=Fen(0), stops=frozenset(), unconfirmed=frozenset(), contacts_on_day=0,
    )
    return msgspec.structs.replace(clean, **changed)


def day(**changed: Any) -> DayFacts:
    """Make a Friday with two pairs and three requests."""
    clean = DayFacts(
        branch_id=BranchId(UUID(int=1)), branch_code="sh1", on=date(2026, 11, 27), timezone="Asia/Shanghai", office=OFFICE,
        collectors=tuple(collector(n) for n in range(4)), requests=tuple(request(n) for n in range(1, 4)),
        offices=tuple(
            OfficeFacts(id=str(UUID(int=3000 + n)), bank_id=bank, place=LonLat(121.48, 31.235), opens_s=9 * 3600, closes_s=17 * 3600, service_s=900)
            for n, bank in enumerate((BANK_A, BANK_B))
        ),
        conflicts=(), history={},
    )
    return msgspec.structs.replace(clean, **changed)
