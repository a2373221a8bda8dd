"""Why a visit has no stop, as a stable code with parameters, and the sentence for it in English and Simplified Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from routing.changes import Change
from routing.model import Unserved, VisitId


class ReasonCode(StrEnum):
    """In the order in which they are tried; the first that is true is given."""

    NOT_APPROVED = "not_approved"
    DEBTOR_VISITED = "debtor_visited"
    NO_PAIR_TODAY = "no_pair_today"
    NO_LEGAL_PAIR = "no_legal_pair"
    NO_TIME_ALONE = "no_time_alone"
    CASH_NOT_DEPOSITABLE = "cash_not_depositable"
    DEBTOR_ONCE = "debtor_once"
    PAIRS_AT_WORK = "pairs_at_work"
    DISPLACED = "displaced"
    PAIR_NOT_FORMED = "pair_not_formed"
    NOT_WORTH_A_PAIR = "not_worth_a_pair"
    SOLVER_MISSED = "solver_missed"


HARD_REASONS = frozenset({
    ReasonCode.NOT_APPROVED, ReasonCode.DEBTOR_VISITED, ReasonCode.NO_PAIR_TODAY, ReasonCode.NO_LEGAL_PAIR, ReasonCode.NO_TIME_ALONE,
    ReasonCode.CASH_NOT_DEPOSITABLE,
})


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """The first true reason for one visit, with its numbers, and the smallest known change that would serve it (empty: none known)."""

    visit: VisitId
    code: ReasonCode
    params: dict[str, Any]
    changes: tuple[Change, ...] = ()

    def text(self) -> str:
        """Return the English sentence."""
        return _ENGLISH[self.code].format_map(_Shown(self.params))

    def text_zh(self) -> str:
        """Return the sentence in Simplified Chinese."""
        return _CHINESE[self.code].format_map(_Shown(self.params, is_chinese=True))

    def unserved(self) -> Unserved:
        """Return the plan's entry for the visit."""
        changes = tuple(msgspec.to_builtins(change) for change in self.changes)
        return Unserved(id=self.visit, reason=self.text(), reason_zh=self.text_zh(), code=self.code.value, params=self.params, changes=changes)


_ENGLISH = {
    ReasonCode.NOT_APPROVED: "The approval is {status}, so the visit may not be planned (REQ-03).",
    ReasonCode.DEBTOR_VISITED: "The same debtor is visited today already, by {visits}: one visit per debtor and day (CONT-05).",
    ReasonCode.DEBTOR_ONCE: "The same debtor is visited by {visits} today: one visit per debtor and day (CONT-05).",
    ReasonCode.PAIRS_AT_WORK: "Only people who are at work in other pairs could make it together; those pairs stay as they are today.",
    ReasonCode.NO_PAIR_TODAY: "No pair can be formed today: {collectors} collectors are available, at most {pairs_max} pairs may work (VIS-01).",
    ReasonCode.NO_LEGAL_PAIR: "No pair of today's collectors may make this visit; missing: {missing}.",
    ReasonCode.NO_TIME_ALONE: "There is no time for it even alone: pair {pair} would reach the place at {arrival_s:time} "
    "and be back at {return_s:time}; service may start {windows}, the shift ends at {shift_end_s:time}.",
    ReasonCode.CASH_NOT_DEPOSITABLE: "The cash ({cash_fen:yuan} yuan) could not be deposited in time: after the visit "
    "no office that takes this money can be reached before it closes, "
    "or the amount is above the carrying limit of {carry_limit_fen:yuan} yuan (CASH-06).",
    ReasonCode.DISPLACED: "Pair {pair} could make it only instead of {visits}; that would cost {price} more than it gains.",
    ReasonCode.PAIR_NOT_FORMED: "Only pairs that were not formed could make it, such as {pair}; "
    "forming that one would give up {visits} and cost {price} more than it gains.",
    ReasonCode.NOT_WORTH_A_PAIR: "The idle pair {pair} could make it, but sending two people out for it costs {price} more than it gains.",
    ReasonCode.SOLVER_MISSED: "The visit could be added to the route of pair {pair}: this plan is not finished.",
}

_CHINESE = {
    ReasonCode.NOT_APPROVED: "审批状态为{status},不得列入计划(REQ-03)。",
    ReasonCode.DEBTOR_VISITED: "同一债务人今天已由{visits}外访:每位债务人每天只外访一次(CONT-05)。",
    ReasonCode.DEBTOR_ONCE: "同一债务人今天已安排{visits}:每位债务人每天只外访一次(CONT-05)。",
    ReasonCode.PAIRS_AT_WORK: "只有正在其他搭档中执行任务的人员才能一起执行;这些搭档今天保持不变。",
    ReasonCode.NO_PAIR_TODAY: "今天无法组成搭档:可出勤人员{collectors}人,最多{pairs_max}组(VIS-01)。",
    ReasonCode.NO_LEGAL_PAIR: "今天没有任何一组人员可以执行本次外访;缺少:{missing}。",
    ReasonCode.NO_TIME_ALONE: "即使只安排这一户,时间也不够:搭档{pair}最早{arrival_s:time}到达,"
    "{return_s:time}返回;可开始时间为{windows},班次{shift_end_s:time}结束。",
    ReasonCode.CASH_NOT_DEPOSITABLE: "现金({cash_fen:yuan}元)无法按时缴存:外访后没有受理这笔款项的银行网点来得及办理,"
    "或金额超过携带上限{carry_limit_fen:yuan}元(CASH-06)。",
    ReasonCode.DISPLACED: "搭档{pair}只有放弃{visits}才能执行本次外访;代价比收益高{price}。",
    ReasonCode.PAIR_NOT_FORMED: "只有未组成的搭档(如{pair})可以执行;若组成该搭档,须放弃{visits},代价比收益高{price}。",
    ReasonCode.NOT_WORTH_A_PAIR: "空闲搭档{pair}可以执行,但为此派出两人,代价比收益高{price}。",
    ReasonCode.SOLVER_MISSED: "本次外访可以加入搭档{pair}的路线:本计划尚未完成。",
}

_NEEDS_ZH = {
    "certificate": "资质", "language": "语言", "gender": "性别要求", "not excluded": "未被回避的人员",
    "credential of both": "两人均持有该银行证件", "pinned to": "指定人员",
    "one pair with all of": "同时具备以下条件的一组人员",
}

_STATUSES_ZH = {
    "pending": "待审批", "requested": "待审批", "refused": "未批准", "rejected": "未批准", "withdrawn": "已撤回", "expired": "已过期",
    "postponed": "已改期",
}
"""The words that days use for an approval that is not granted; any other is shown as it was given."""


class _Time(int):
    def __format__(self, form: str) -> str:
        return f"{self // 3600:02d}:{self % 3600 // 60:02d}" if form == "time" else super().__format__(form)


class _Yuan(int):
    def __format__(self, form: str) -> str:
        return f"{self // 100}.{self % 100:02d}" if form == "yuan" else super().__format__(form)


class _Shown(dict[str, Any]):
    """Parameters as people read them: times of day, yuan, joined names."""

    def __init__(self, params: Mapping[str, Any], *, is_chinese: bool = False) -> None:
        super().__init__({key: _shown(key, value, is_chinese=is_chinese) for key, value in params.items()})


def _shown(key: str, value: Any, *, is_chinese: bool) -> Any:
    comma = "、" if is_chinese else ", "
    if key == "windows":
        return comma.join(f"{_Time(lo):time}–{_Time(hi):time}" for lo, hi in value) or ("无" if is_chinese else "never")
    if key == "status" and is_chinese:
        return _STATUSES_ZH.get(value, f"“{value}”")
    if key == "missing":
        return comma.join(_need(one, is_chinese=is_chinese) for one in value)
    if key == "pair":
        return "+".join(value)
    if key == "visits":
        return comma.join(value) or ("无" if is_chinese else "no other visit")
    if key.endswith("_fen"):
        return _Yuan(value)
    return _Time(value) if key.endswith("_s") else value


def _need(need: str, *, is_chinese: bool) -> str:
    kind, _, name = need.partition(":")
    return f"{_NEEDS_ZH[kind]}{name}" if is_chinese else f"{kind} {name}".strip()
