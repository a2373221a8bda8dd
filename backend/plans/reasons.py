"""Why a request cannot even enter a day's instance: one true sentence each, in both languages. Pure.

The texts are kept with the plan, so they are made here and not looked up later.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from backend.cases.model import Stop
from backend.core.ids import RequestId
from backend.plans.facts import DayFacts, RequestFacts
from backend.policies.model import Policy


class Reason(StrEnum):
    """Stable names of the reasons, in the order in which they are looked for."""

    NOT_APPROVED = "not_approved"
    CASE_STOPPED = "case_stopped"
    UNCONFIRMED = "unconfirmed"
    EFFECTIVE_LATER = "effective_later"
    NO_PIN = "no_pin"
    OUTSIDE_TERRITORY = "outside_territory"
    NO_CREDENTIAL = "no_credential"
    WINDOW_OUTSIDE_HOURS = "window_outside_hours"
    DAILY_CAP = "daily_cap"
    SAME_CASE = "same_case"
    OTHER_BANKS_CASH = "other_banks_cash"


_TEXTS: Mapping[Reason, tuple[str, str]] = MappingProxyType({
    Reason.NOT_APPROVED: ("申请未获批准，未批准的申请不得排入计划。", "The request is not approved; only approved requests may be planned."),
    Reason.CASE_STOPPED: ("案件已停止催收（{stop}），不得外访。", "The case is not open for collection ({stop}); it must not be visited."),
    Reason.UNCONFIRMED: ("下列信息尚未确认：{fields}。", "These data are not confirmed: {fields}."),
    Reason.EFFECTIVE_LATER: ("批准在该日之后才生效。", "The approval takes effect only after this day."),
    Reason.NO_PIN: ("地址尚未定位，请先在地图上标点。", "The address has no position yet; pin it on the map first."),
    Reason.OUTSIDE_TERRITORY: ("地址不在本分部的服务区域内。", "The address lies outside the branch's territory."),
    Reason.NO_CREDENTIAL: (
        "当日可出勤且持有该银行有效证件的外访员只有 {holders} 人，至少需要 2 人。",
        "Only {holders} available collector(s) hold a valid credential of this bank; two are needed.",
    ),
    Reason.WINDOW_OUTSIDE_HOURS: (
        "允许的时间段与催收时间没有交集，或不足以完成外访。", "The permitted time does not meet the legal hours, or is too short for the visit.",
    ),
    Reason.DAILY_CAP: (
        "该日对债务人的联系已达 {contacts} 次上限。", "The debtor has already been contacted {contacts} times that day, the most permitted.",
    ),
    Reason.SAME_CASE: ("同一案件当日已有另一份申请排入计划。", "Another request for the same case is planned on this day."),
    Reason.OTHER_BANKS_CASH: (
        "当日现金已按另一家银行的网点安排存款，本案请改日或取消预计现金。",
        "Cash of another bank is deposited on this day; choose another day or plan without cash.",
    ),
})
_CHANGES: Mapping[Reason, dict[str, Any]] = MappingProxyType({
    Reason.NO_PIN: {"do": "pin_address"},
    Reason.UNCONFIRMED: {"do": "confirm_fields"},
    Reason.OTHER_BANKS_CASH: {"do": "choose_another_day"},
    Reason.NO_CREDENTIAL: {"do": "add_credential"},
})


class Unplannable(msgspec.Struct, frozen=True, kw_only=True):
    """A request that stays outside the instance, and why."""

    request_id: RequestId
    reason: Reason
    params: Mapping[str, Any]

    @property
    def text_zh(self) -> str:
        """The sentence in simplified Chinese."""
        return _TEXTS[self.reason][0].format(**self.params)

    @property
    def text_en(self) -> str:
        """The sentence in English."""
        return _TEXTS[self.reason][1].format(**self.params)

    @property
    def change(self) -> dict[str, Any] | None:
        """What would help, where something general does."""
        return _CHANGES.get(self.reason)


def screen(facts: DayFacts, policy: Policy) -> tuple[tuple[RequestFacts, ...], tuple[Unplannable, ...]]:
    """Split a day's requests into those that may enter the instance and those that may not, each with its first true reason."""
    holders = Counter(bank for collector in facts.collectors if collector.may_visit for bank in collector.credentials)
    entering: list[RequestFacts] = []
    refused: list[Unplannable] = []
    for request in sorted(facts.requests, key=_precedence):
        found = _own_reason(request, policy, holders[request.bank_id]) or _reason_beside(request, entering)
        if found is None:
            entering.append(request)
        else:
            reason, params = found
            refused.append(Unplannable(request_id=request.id, reason=reason, params=params))
    return tuple(entering), tuple(refused)


def _precedence(request: RequestFacts) -> tuple[bool, int, str]:
    return not request.is_mandatory, -request.priority, str(request.id)


def _own_reason(request: RequestFacts, policy: Policy, holders: int) -> tuple[Reason, dict[str, Any]] | None:
    if not request.is_approved:
        return Reason.NOT_APPROVED, {}
    if request.stops:
        return Reason.CASE_STOPPED, {"stop": ", ".join(stop.value for stop in Stop if stop in request.stops)}
    if request.unconfirmed:
        return Reason.UNCONFIRMED, {"fields": ", ".join(sorted(field.value for field in request.unconfirmed))}
    if request.effective_from_s >= policy.hours_to_s:
        return Reason.EFFECTIVE_LATER, {}
    if request.place is None:
        return Reason.NO_PIN, {}
    if not request.is_in_territory:
        return Reason.OUTSIDE_TERRITORY, {}
    if holders < policy.pair_min:
        return Reason.NO_CREDENTIAL, {"holders": holders}
    if not permitted_windows(request, policy):
        return Reason.WINDOW_OUTSIDE_HOURS, {}
    if request.contacts_on_day >= policy.contacts_per_day_max:
        return Reason.DAILY_CAP, {"contacts": request.contacts_on_day}
    return None


def _reason_beside(request: RequestFacts, entering: list[RequestFacts]) -> tuple[Reason, dict[str, Any]] | None:
    """Look for what stands in the way among the requests that already entered.

    `fieldday/1` lets any office take any cash, but a bank's money goes to an account of that bank (CASH-06): so one day's
    expected cash is of one bank, that of the first request with cash in order of precedence.
    """
    if any(other.case_id == request.case_id for other in entering):
        return Reason.SAME_CASE, {}
    if request.cash_expected_fen and any(other.cash_expected_fen and other.bank_id != request.bank_id for other in entering):
        return Reason.OTHER_BANKS_CASH, {}
    return None


def permitted_windows(request: RequestFacts, policy: Policy) -> tuple[tuple[int, int], ...]:
    """Return the spans in which the visit may start: the request's own, inside the hours, leaving time for the service (VIS-10)."""
    last_start_s = policy.hours_to_s - request.service_s
    earliest_s = max(policy.hours_from_s, request.effective_from_s)
    spans = ((max(opens, earliest_s), min(closes, last_start_s)) for opens, closes in request.windows)
    return tuple((opens, closes) for opens, closes in spans if opens <= closes)
