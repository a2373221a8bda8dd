"""What the day is told with: the summary's rows, and the record that the page shows, made from what the desks and phones were answered."""

from datetime import datetime
from importlib.metadata import version
from typing import Any

from mobile_api.demo import page, shown
from mobile_api.demo.city import BANKS, DAY, OFFICE
from mobile_api.demo.record import (
    DayRecord,
    Place,
    Refusal,
    Route,
    Said,
    StageContribution,
    Stop,
    StopKind,
    SummaryRow,
    Tone,
    UnservedVisit,
    VerifierRun,
)
from mobile_api.demo.stage import Scene, bank_of

_ROWS: tuple[tuple[str, str, str], ...] = (
    ("visits planned", "计划外访", "visits planned"), ("visits served", "已跑小组完成的外访", "visits served by the driven pairs"),
    ("visits dropped", "未安排（均有原因）", "visits left out, each with its reason"), ("signatures", "签名", "signatures"),
    ("files", "证据文件", "evidence files"), ("receipts", "收条", "receipts"),
    ("cases", "案件", "cases"), ("rejected rows", "被拒行", "rejected rows"), ("requests", "外访申请", "visit requests"), ("approved", "批准", "approved"),
    ("stops withdrawn", "撤回站点", "stops withdrawn"), ("pairs driven", "经 HTTP 跑完的小组", "pairs driven through HTTP"),
    ("bytes", "上传字节", "bytes uploaded"), ("cuts survived", "断线后续传", "cut uploads resumed"), ("authorisations", "银行现金授权", "cash authorisations"),
    ("deposits", "存款", "deposits"), ("declarations", "声明书", "declarations"), ("cash breaches", "违规收款（已入账并上报）", "cash taken without authority, booked and escalated"),
    ("visits reviewed", "复核", "visits reviewed"), ("refusals", "被拒绝的请求", "requests refused"), ("pack bytes", "证据包字节", "bytes of the pack"),
)
_HEADLINES = frozenset({"visits planned", "visits served", "visits dropped", "signatures", "files", "receipts"})
_OUTCOMES: dict[str, tuple[str, str, Tone]] = {
    "nobody_met": ("未遇人", "nobody met", Tone.PLAIN), "no_answer_intercom": ("门禁无人应答", "no answer at the intercom", Tone.PLAIN),
    "gate_refused": ("门卫拒绝", "gate refused", Tone.PLAIN), "only_minor": ("仅未成年人在家", "only a minor at home", Tone.CARE),
    "third_party_met": ("遇第三人，未透露任何信息", "third party met, nothing disclosed", Tone.PLAIN), "paid_directly": ("已通过手机银行直接还款", "paid directly by mobile bank", Tone.GOOD),
    "promise": ("承诺还款（金额与日期已确认）", "promise to pay, confirmed", Tone.GOOD), "promise_vague": ("含糊承诺", "vague promise", Tone.PLAIN),
    "hardship": ("经济困难，转银行方案", "hardship, passed to the bank", Tone.CARE), "filmed_by_debtor": ("被债务人拍摄", "filmed by the debtor", Tone.CARE),
    "cash_taken": ("收取现金并出具收条", "cash taken with a receipt", Tone.GOOD), "declaration_taken": ("否认办卡，已签声明书", "card denied, declaration taken", Tone.BAD),
    "refused_to_pay": ("拒绝还款", "refused to pay", Tone.PLAIN), "self_harm_threat": ("出现轻生言语，立即停止", "self-harm words, stopped at once", Tone.BAD),
    "deceased": ("已故", "deceased", Tone.BAD),
}


def summary_rows(scene: Scene, took_s: float) -> tuple[SummaryRow, ...]:
    """Return the summary table's rows."""
    rows = [
        SummaryRow(label=Said(zh=zh, en=en), value=f"{scene.counts.get(name, 0):,}", is_headline=name in _HEADLINES) for name, zh, en in _ROWS
    ]
    rows += [
        SummaryRow(label=Said(zh=f"未安排原因：{code}", en=f"left out: {code}"), value=str(number)) for code, number in sorted(scene.notes["reasons"].items())
    ]
    findings = scene.notes["books"]["differences"]
    rows.append(SummaryRow(label=Said(zh="账簿差异", en="differences in the books"), value=str(len(findings)), tone=Tone.BAD if findings else Tone.GOOD))
    rows.append(SummaryRow(label=Said(zh="用时", en="time"), value=f"{took_s:.0f} s"))
    return tuple(rows)


def page_of(scene: Scene, took_s: float) -> str:
    """Return the day's page."""
    return page.render(record_of(scene, took_s))


def record_of(scene: Scene, took_s: float) -> DayRecord:
    """Return everything that the page shows."""
    return DayRecord(
        agency=Said(zh="示范催收机构", en="Demonstration agency"), branch=Said(zh="上海一部", en="Shanghai One"), on=DAY, timezone="Asia/Shanghai",
        engine=scene.stage.engine, version=version("fieldvisit"), made_at=scene.clock(), summary=summary_rows(scene, took_s), routes=_routes(scene),
        places=(
            Place(name=Said(zh="办公室", en="office"), lon=OFFICE[0], lat=OFFICE[1], is_office=True),
            *(Place(name=Said(zh=name, en=f"{bank.name_en} counter"), lon=lon, lat=lat) for bank in BANKS for name, lon, lat in bank.offices),
        ),
        unserved=_unserved(scene), contributions=_contributions(scene.plan["contributions"]), door=shown.door_of(scene), cash=shown.cash_of(scene),
        ledger=shown.ledger_of(scene), denial=shown.denial_of(scene),
        refusals=tuple(
            Refusal(tried=Said(zh=one["zh"], en=one["en"]), problem=one["problem"], status=one["status"], rules=tuple(one["rules"])) for one in scene.refusals
        ),
        verifier=tuple(
            VerifierRun(
                meaning=Said(zh="完整的证据包", en="the pack as exported") if one["exit"] == 0 else Said(zh="改动其中一个字节之后", en="with one byte flipped"),
                command=one["command"], exit_code=one["exit"], output=one["output"],
            ) for one in scene.notes["verifier"]
        ),
    )


def outcome_said(code: str) -> tuple[Said, Tone]:
    """Return an outcome in both languages and how it looks."""
    zh, en, tone = _OUTCOMES.get(code, (code, code, Tone.PLAIN))
    return Said(zh=zh, en=en), tone


def _routes(scene: Scene) -> tuple[Route, ...]:
    driven = {pair.route["id"]: pair for pair in scene.notes["pairs"]}
    cases = {scene.cases[one.reference]: one for one in scene.debtors.values()}
    fresh = scene.desk("farid").get(f"/api/v1/plans/{scene.plan['summary']['id']}")
    made = []
    for route in fresh["routes"]:
        pair = driven.get(route["id"])
        visited = {visit.id: visit for visit in pair.visits} if pair else {}
        made.append(Route(
            number=route["number"], pair=(_name(scene, route["collectorA"]), _name(scene, route["collectorB"])), colour=route["number"],
            departure_at=_at(route["departureAt"]), return_at=_at(route["returnAt"]), is_driven=pair is not None,
            stops=tuple(_stop(scene, stop, cases, visited) for stop in route["stops"] if stop["place"] and stop["kind"] != "pause"),
        ))
    return tuple(made)


def _stop(scene: Scene, stop: dict[str, Any], cases: dict[str, Any], visited: dict[str, Any]) -> Stop:
    lon, lat = stop["place"]["lon"], stop["place"]["lat"]
    arrives_at, starts_at, ends_at = (_at(stop[name]) for name in ("arrivesAt", "startsAt", "endsAt"))
    if stop["kind"] == "deposit":
        return Stop(position=stop["position"], kind=StopKind.DEPOSIT, lon=lon, lat=lat, label=Said(zh="银行网点", en="bank counter"),
                    arrives_at=arrives_at, starts_at=starts_at, ends_at=ends_at)
    debtor = cases[stop["caseId"]]
    visit = visited.get(stop["visitId"])
    said, tone = (None, Tone.PLAIN)
    if visit is not None:
        told = [one for one in visit.answers if one["kind"] == "visit.outcome"]
        said, tone = outcome_said(visit.code) if told else (None, Tone.PLAIN)
    withdrawn = Said(zh=f"已撤回：{stop['withdrawn']}", en=f"withdrawn: {stop['withdrawn']}") if stop.get("withdrawn") and visit is None else None
    return Stop(
        position=stop["position"], kind=StopKind.VISIT, lon=lon, lat=lat, label=Said(zh=debtor.street.split("弄")[0].rstrip("0123456789"), en="compound"),
        bank=bank_of(debtor.bank).name_zh, reference=debtor.reference, outcome=said, tone=tone, withdrawn=withdrawn,
        actual_started_at=visit.arrived_at if visit else None, actual_ended_at=visit.answers[-1]["at"] if visit and visit.answers else None,
        evidence_count=len(visit.digests) if visit else 0, arrives_at=arrives_at, starts_at=starts_at, ends_at=ends_at,
    )


def _unserved(scene: Scene) -> tuple[UnservedVisit, ...]:
    by_request = {request_id: scene.debtors[reference] for reference, request_id in scene.requests.items()}
    left = []
    for one in scene.plan["unserved"]:
        debtor = by_request.get(one["requestId"])
        change = one["changes"][0] if one["changes"] else None
        left.append(UnservedVisit(
            reference=debtor.reference if debtor else "—", code=one["code"], reason=Said(zh=one["textZh"], en=one["textEn"]),
            change=_change_said(change) if change else None,
            bank=bank_of(debtor.bank).name_zh if debtor else "", lon=debtor.point[0] if debtor and debtor.point else None,
            lat=debtor.point[1] if debtor and debtor.point else None,
        ))
    return tuple(left)


_ENGINES = {
    "swap matching + regret start": ("交换匹配与贪心插入", "swap matching and greedy insertion"), "CP-SAT pairing": ("CP-SAT 组成配对", "CP-SAT forms the pairs"),
    "CP-SAT pairing + regret start": ("CP-SAT 组成配对，贪心插入得到初始路线", "CP-SAT forms the pairs, greedy insertion gives the first routes"),
    "OR-Tools routing": ("OR-Tools 整日路线搜索", "OR-Tools searches the whole day"), "OR-Tools parts": ("OR-Tools 分片改进", "OR-Tools improves parts of the day"),
    "ruin and recreate": ("拆除重建与重新配对", "ruin, recreate, re-pair"),
    "compiled search": ("编译搜索：拆除重建与重新配对", "compiled search: ruin, recreate, re-pair"),
    "polish": ("再次尝试插入每个未安排的外访", "tries every visit left out once more"),
    "OR-Tools final times": ("OR-Tools 给出最终时刻", "OR-Tools gives the final times"),
}


def _contributions(stages: list[dict[str, Any]]) -> tuple[StageContribution, ...]:
    made = []
    for stage in stages:
        zh, en = _ENGINES.get(stage["engine"], (stage["engine"], stage["engine"]))
        made.append(StageContribution(
            stage=stage["engine"], explanation=Said(zh=zh, en=en), cost_before=stage.get("cost_before"), cost_after=stage["cost_after"],
            seconds=(stage.get("wall_ms") or 0) / 1000 if "wall_ms" in stage else float(stage.get("wall_s") or 0), iterations=stage.get("iterations"),
        ))
    return tuple(made)


_CHANGES = {
    "approve": ("先审批该申请", "approve the request"), "grant_cert": ("为催收员取得该银行认可的证件", "obtain the bank's credential for a collector"),
    "grant_language": ("安排会该方言的催收员", "bring a collector who speaks the language"), "drop_gender_rule": ("放宽同行性别要求", "relax the gender rule"),
    "lift_exclusions": ("解除回避", "lift the exclusions"), "widen_window": ("放宽时间窗", "widen the time window"), "drop_cash": ("改走银行渠道，不收现金", "pay through the bank instead of cash"),
    "make_mandatory": ("列为必访", "make it mandatory"), "postpone": ("推迟另一外访", "postpone another visit"), "pin_address": ("在地图上定位地址", "pin the address on the map"),
}


def _change_said(change: dict[str, Any]) -> Said:
    zh, en = _CHANGES.get(change.get("kind", ""), (str(change.get("kind", change)), str(change.get("kind", change))))
    return Said(zh=zh, en=en)


def _name(scene: Scene, staff_id: str) -> str:
    return scene.collectors[staff_id][1].name


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
