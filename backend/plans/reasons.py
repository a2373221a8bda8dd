"""Why a request cannot even enter a day's instance: one true sentence each, in both languages. Pure.

The texts are kept with the plan, so they are made here and not looked up later.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from backend.core.ids import BankId, RequestId
from backend.plans.facts import DayFacts
from backend.policies.model import Policy
from backend.requests.model import Withheld
from backend.requests.queries import PlannableRequest


class Beside(StrEnum):
    """Reasons that lie in the day and not in the request itself."""

    NO_CREDENTIAL = "no-credential"
    TIME_TOO_SHORT = "time-too-short"


Reason = Withheld | Beside
_STOPPED_ZH, _STOPPED_EN = "案件已停止催收：{why}。", "The case is not open for collection: {why}."


def _stopped(why_zh: str, why_en: str) -> tuple[str, str]:
    return _STOPPED_ZH.format(why=why_zh), _STOPPED_EN.format(why=why_en)


_TEXTS: Mapping[Reason, tuple[str, str]] = MappingProxyType({
    Withheld.NOT_APPROVED: ("申请未获批准，未批准的申请不得排入计划。", "The request is not approved; only approved requests may be planned."),
    Withheld.NOT_YET_EFFECTIVE: ("批准在 {on} 之后才生效。", "The approval takes effect only after {on}."),
    Withheld.APPROVAL_EXPIRED: ("批准已过有效期，请重新申请。", "The approval has run out; raise a new request."),
    Withheld.NEEDS_PIN: ("地址尚未定位，请先在地图上标点。", "The address has no position yet; pin it on the map first."),
    Withheld.OUTSIDE_TERRITORY: ("地址不在本分部的服务区域内。", "The address lies outside the branch's territory."),
    Withheld.ADDRESS_REPLACED: ("申请所用地址已被新地址取代。", "The request's address has been replaced by a newer one."),
    Withheld.UNCONFIRMED: (
        "卡号、金额、年龄、身份、职业五项信息尚未全部确认。", "Card number, amount, age, identity and occupation are not all confirmed.",
    ),
    Withheld.AMOUNT_TOO_OLD: (
        "欠款金额截至 {amount_as_of_on}，已超过银行允许的期限，不得据此外访。",
        "The amount is as of {amount_as_of_on}, older than the bank permits to be spoken.",
    ),
    Withheld.DAILY_CAP: ("该日对债务人的联系次数已达上限。", "The debtor has already been contacted as often as is permitted that day."),
    Withheld.NO_HOURS: ("申请的时间段与允许的催收时间没有交集。", "The requested time does not meet the permitted hours."),
    Withheld.SUSPENDED: _stopped("持卡人否认或有异议，已暂停", "suspended, because the cardholder denies or disputes it"),
    Withheld.DECEASED: _stopped("债务人已故", "the debtor has died"),
    Withheld.PAID: _stopped("已还清", "it is paid"),
    Withheld.PAYMENT_CLAIMED: _stopped("债务人已直接向银行还款，待银行核实", "the debtor was seen paying the bank, which has yet to confirm it"),
    Withheld.RECALLED: _stopped("银行已收回", "the bank has recalled it"),
    Withheld.TERM_OVER: ("委托期限已于 {term_ends_on} 届满。", "The placement's term ended on {term_ends_on}."),
    Withheld.VULNERABLE: _stopped("存在重病、怀孕等特殊情况，须主管安排", "somebody there is ill, pregnant or alike; a supervisor arranges it"),
    Withheld.COMPLAINT: _stopped("投诉处理中", "a complaint is being handled"),
    Withheld.HOLD: _stopped("已按决定暂缓", "held by decision"),
    Withheld.CLOSED: _stopped("案件已结束", "it has ended"),
    Beside.NO_CREDENTIAL: (
        "当日出勤且持有该银行有效证件的外访员只有 {holders} 人，至少需要 {needed} 人。",
        "Collectors who work that day and hold a valid credential of this bank: {holders}; needed: {needed}.",
    ),
    Beside.TIME_TOO_SHORT: ("允许的时间不足以完成 {minutes} 分钟的外访。", "The permitted time is too short for a visit of {minutes} minutes."),
})
_CHANGES: Mapping[Reason, dict[str, Any]] = MappingProxyType({
    Withheld.NEEDS_PIN: {"do": "pin_address"},
    Withheld.UNCONFIRMED: {"do": "confirm_fields"},
    Withheld.AMOUNT_TOO_OLD: {"do": "update_amount"},
    Withheld.APPROVAL_EXPIRED: {"do": "raise_request"},
    Withheld.ADDRESS_REPLACED: {"do": "raise_request"},
    Beside.NO_CREDENTIAL: {"do": "add_credential"},
})
assert set(_TEXTS) == {*Withheld, *Beside}


class Chosen(StrEnum):
    """Why a version made by hand leaves a visit out: somebody drew it so."""

    TAKEN_OUT = "taken-out-by-hand"
    LEFT_OUT = "left-out-by-hand"


_CHOSEN_TEXTS: Mapping[Chosen, tuple[str, str]] = MappingProxyType({
    Chosen.TAKEN_OUT: ("调度员在第 {version} 版的基础上手工取消了本次外访。", "The dispatcher took it out of version {version} by hand."),
    Chosen.LEFT_OUT: (
        "第 {version} 版未安排本次外访，手工调整时也未加入。", "Version {version} had no stop for it, and the change by hand gave it none.",
    ),
})


def chosen_texts(code: Chosen, params: Mapping[str, Any]) -> tuple[str, str]:
    """Return the sentence in simplified Chinese and in English."""
    zh, en = _CHOSEN_TEXTS[code]
    return zh.format(**params), en.format(**params)


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
    def changes(self) -> tuple[dict[str, Any], ...]:
        """What would help, where something general does."""
        return (_CHANGES[self.reason],) if self.reason in _CHANGES else ()


def screen(facts: DayFacts, policy: Policy) -> tuple[tuple[PlannableRequest, ...], tuple[Unplannable, ...]]:
    """Split a day's requests into those that may enter the instance and those that may not, each with its weightiest true reason."""
    holders = Counter(bank for collector in facts.collectors if collector.may_visit for bank in collector.credentials)
    entering: list[PlannableRequest] = []
    refused = [Unplannable(request_id=one.request_id, reason=one.reasons[0], params=one.params) for one in facts.withheld]
    for request in sorted(facts.ready, key=lambda one: (not one.is_mandatory, -one.priority, str(one.request_id))):
        found = _reason_beside(request, holders, policy)
        if found is None:
            entering.append(request)
        else:
            reason, params = found
            refused.append(Unplannable(request_id=request.request_id, reason=reason, params=params))
    return tuple(entering), tuple(refused)


def _reason_beside(request: PlannableRequest, holders: Counter[BankId], policy: Policy) -> tuple[Beside, dict[str, Any]] | None:
    """Look for what stands in the way that day."""
    if holders[request.bank_id] < policy.pair_min:
        return Beside.NO_CREDENTIAL, {"holders": holders[request.bank_id], "needed": policy.pair_min}
    if permitted_window(request, policy) is None:
        return Beside.TIME_TOO_SHORT, {"minutes": -(-request.service_s // 60)}
    return None


def permitted_window(request: PlannableRequest, policy: Policy) -> tuple[int, int] | None:
    """Return when the visit may start, so that it also ends in time; None when nothing is left.

    It ends within the hours (VIS-10); a window that reaches beyond them does so by agreement and is itself the limit.
    """
    last_start_s = min(request.window_to_s, max(policy.hours_to_s, request.window_to_s) - request.service_s)
    first_start_s = max(request.window_from_s, request.effective_from_s)
    return (first_start_s, last_start_s) if first_start_s <= last_start_s else None
