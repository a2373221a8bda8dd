"""A small legal day to change in one place at a time."""

from datetime import date
from typing import Any
from uuid import UUID

import msgspec

from backend.cases.model import GenderRule
from backend.core.fen import Fen
from backend.core.geo import LonLat
from backend.core.ids import AddressId, BankId, BranchId, CaseId, RequestId, StaffId
from backend.plans.facts import CollectorFacts, DayFacts, OfficeFacts
from backend.requests.model import Withheld
from backend.requests.queries import PlannableRequest, WithheldRequest
from backend.staff.model import Gender

BANK_A, BANK_B = BankId(UUID(int=0xA)), BankId(UUID(int=0xB))
BRANCH = BranchId(UUID(int=1))
OFFICE = LonLat(121.4737, 31.2304)


def collector(number: int, **changed: Any) -> CollectorFacts:
    """Make a collector who may visit for both banks; odd ones are women, each carries recorder and camera."""
    clean = CollectorFacts(
        id=StaffId(UUID(int=100 + number)), is_active=True, is_qualified=True, is_lead=True,
        gender=Gender.F if number % 2 else Gender.M, credentials=frozenset({BANK_A, BANK_B}),
        certificates=frozenset(), languages=frozenset({"zh"}),
        shift_from_s=8 * 3600, shift_to_s=20 * 3600, start=None, end=None, has_audio=True, has_camera=True,
    )
    return msgspec.structs.replace(clean, **changed)


def request(number: int, **changed: Any) -> PlannableRequest:
    """Make a plannable request of bank A, `number` kilometres or so from the office."""
    clean = PlannableRequest(
        request_id=RequestId(UUID(int=1000 + number)), case_id=CaseId(UUID(int=2000 + number)), bank_id=BANK_A, branch_id=BRANCH,
        address_id=AddressId(UUID(int=4000 + number)), point=LonLat(OFFICE.lon + 0.01 * number, OFFICE.lat), timezone="Asia/Shanghai", service_s=1800,
        window_from_s=9 * 3600, window_to_s=19 * 3600, effective_from_s=0, priority=3, value=4, is_mandatory=False, gender_rule=GenderRule.ANY,
        required_certificate=None, required_language=None, excluded_staff=frozenset(), cash_expected_fen=Fen(0), policy_version="default-1",
    )
    return msgspec.structs.replace(clean, **changed)


def withheld(number: int, reason: Withheld) -> WithheldRequest:
    """Make a request that may not be planned."""
    params = {"on": "2026-11-27", "status": "approved", "amount_as_of_on": "2026-01-01", "term_ends_on": "2026-11-26"}
    return WithheldRequest(
        request_id=RequestId(UUID(int=1000 + number)), case_id=CaseId(UUID(int=2000 + number)), bank_id=BANK_A, reasons=(reason,), params=params,
    )


def day(**changed: Any) -> DayFacts:
    """Make a Friday with two pairs and three requests."""
    clean = DayFacts(
        branch_id=BRANCH, branch_code="sh1", on=date(2026, 11, 27), timezone="Asia/Shanghai", office=OFFICE,
        collectors=tuple(collector(n) for n in range(4)), ready=tuple(request(n) for n in range(1, 4)), withheld=(),
        offices=tuple(
            OfficeFacts(id=str(UUID(int=3000 + n)), bank_id=bank, place=LonLat(121.48, 31.235), opens_s=9 * 3600, closes_s=17 * 3600, service_s=900)
            for n, bank in enumerate((BANK_A, BANK_B))
        ),
        conflicts=frozenset(), history={},
    )
    return msgspec.structs.replace(clean, **changed)
