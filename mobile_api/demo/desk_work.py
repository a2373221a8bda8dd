"""Act two: the eve. Placement files come in, phones were tried, visits are asked for, analysed and approved by somebody else."""

from datetime import timedelta
from typing import Any

from mobile_api.demo import city
from mobile_api.demo.stage import Scene, Ticker
from mobile_api.phone_link import Refused

BATCH = 50
WORK_NUMBER = "02160000001"
_RESULTS = ("no_answer", "refuses", "vague_promise", "no_answer", "switched_off")


def import_placements(scene: Scene, ticker: Ticker) -> None:
    """Import three banks' files in their own columns and encodings; broken rows come back in a rejection file, the same file twice changes nothing."""
    number = 240 if scene.stage.is_quick else 1_200
    debtors = city.debtors(number)
    ticker.total(len(city.BANKS) + 1)
    for bank in city.BANKS:
        mine = [one for one in debtors if one.bank == bank.code]
        content = city.placement_file(bank, mine)
        first = _import(scene, bank, mine, content)
        again = _import(scene, bank, mine, content)
        assert (again["id"], again["isFirst"]) == (first["id"], False), "the same file changed something"
        rejected = scene.desk("gu").download(f"/api/v1/batches/{first['id']}/rejections.csv")
        assert rejected.count(b"id_number") == 2, rejected
        scene.count("cases", first["acceptedCount"])
        scene.count("rejected rows", first["rejectedCount"])
        ticker.advance(1)
    _refuse_wrong_totals(scene, debtors)
    scene.debtors = {one.reference: one for one in debtors}
    _read_cases(scene)
    ticker.advance(1)


def call_and_request(scene: Scene, ticker: Ticker) -> None:
    """Record the phone team's calls and raise requests: the scripted doors first, then as many others as the scale asks."""
    hana, amina = scene.desk("hana"), scene.desk("amina")
    amina.post("/api/v1/work-numbers", {"branchId": scene.branch, "number": WORK_NUMBER})
    chosen = list(scene.debtors.values())[: 70 if scene.stage.is_quick else 430]
    case_ids = [scene.cases[one.reference] for one in chosen]
    for start in range(0, len(case_ids), 200):
        amina.post("/api/v1/allocations", {"caseIds": case_ids[start:start + 200], "assigneeId": scene.people["hana"]})
    ticker.total(len(chosen))
    for place, one in enumerate(chosen):
        contact = hana.post(f"/api/v1/cases/{scene.cases[one.reference]}/contacts", {
            "mode": "fact", "channel": "phone", "at": (scene.clock() - timedelta(minutes=5)).isoformat(), "workNumber": WORK_NUMBER,
            "outcome": {"result": _RESULTS[place % len(_RESULTS)], "attitude": "evasive", "recordingReference": f"CALL-{place:05d}"},
        })
        request = hana.post("/api/v1/visit-requests", _request(one, scene.cases[one.reference], contact["id"]))
        scene.requests[one.reference] = request["id"]
        scene.count("phone contacts")
        scene.count("requests")
        ticker.advance(1)


def decide(scene: Scene, ticker: Ticker) -> None:
    """Analyse every request, refuse the self-approved, approve green ones in bounded batches and the rest one by one."""
    amina, boqin = scene.desk("amina"), scene.desk("boqin")
    ticker.total(len(scene.requests))
    verdicts: dict[str, str] = {}
    for reference, request_id in scene.requests.items():
        answer = amina.post(f"/api/v1/visit-requests/{request_id}/analysis", {"analysis": f"逾期{scene.debtors[reference].days_past_due}天，电话沟通无效。"})
        verdicts[request_id] = answer["verdict"]
        ticker.advance(1)
    _refuse_self_approval(scene)
    green = [request_id for request_id, verdict in verdicts.items() if verdict == "green"]
    for start in range(0, len(green), BATCH):
        rows = boqin.post("/api/v1/visit-request-decisions", {
            "requestIds": green[start:start + BATCH], "choice": "approve", "reason": "政策判定为绿色,材料齐备。",
        })["rows"]
        scene.count("approved", len(rows))
    for request_id, verdict in verdicts.items():
        if verdict == "amber":
            boqin.post(f"/api/v1/visit-requests/{request_id}/decision", {"choice": "approve", "reason": "逐件审阅后同意外访。"})
            scene.count("approved")
    # Red ones stay undecided except those that only lack a pin: approved, and left out of the plan with that as the true reason.
    unpinned = {scene.requests[one.reference] for one in scene.debtors.values() if one.reference in scene.requests and one.point is None}
    for request_id in unpinned:
        boqin.post(f"/api/v1/visit-requests/{request_id}/decision", {"choice": "approve", "reason": "同意;地址须先在地图上定位。"})
        scene.count("approved")


def _import(scene: Scene, bank: city.Bank, mine: list[city.Debtor], content: bytes) -> dict[str, Any]:
    rows, amount_fen = city.control_totals(mine)
    answer: dict[str, Any] = scene.desk("gu").send(
        "POST", "/api/v1/batches", content=content, headers={"Content-Type": "text/csv"}, params={
            "bank": scene.banks[bank.code], "profile": scene.profiles[bank.code], "branch": scene.branch, "number": f"{bank.code}-2026-11",
            "asOfOn": scene.clock().date().isoformat(), "rowCount": rows, "amountTotalFen": amount_fen, "acceptance": "accept_good",
        },
    ).json()
    return answer


def _refuse_wrong_totals(scene: Scene, debtors: tuple[city.Debtor, ...]) -> None:
    bank = city.BANKS[0]
    mine = [one for one in debtors if one.bank == bank.code][:5]
    try:
        scene.desk("gu").send(
            "POST", "/api/v1/batches", content=city.placement_file(bank, mine, 0), headers={"Content-Type": "text/csv"}, params={
                "bank": scene.banks[bank.code], "profile": scene.profiles[bank.code], "branch": scene.branch, "number": "short",
                "asOfOn": scene.clock().date().isoformat(), "rowCount": 6, "amountTotalFen": 1, "acceptance": "accept_good",
            },
        )
    except Refused as refusal:
        scene.refused("委案文件与银行声明的合计不符", "A placement file that does not add up to the bank's totals", refusal)


def _read_cases(scene: Scene) -> None:
    cursor: str | None = None
    while True:
        page = scene.desk("gu").get("/api/v1/cases", limit=200, cursor=cursor)
        scene.cases.update({row["bankReference"]: row["id"] for row in page["rows"]})
        cursor = page["next"]
        if cursor is None:
            return


def _request(one: city.Debtor, case_id: str, contact_id: str) -> dict[str, Any]:
    asked: dict[str, Any] = {"caseId": case_id, "contactId": contact_id, "reason": "电话多次沟通无效，申请外访。", "serviceS": 900 if one.trait else 1_500}
    if one.trait == "farmer-cash":
        asked |= {"cashExpectedFen": 200_000, "isMandatory": True, "serviceS": 1_500, "windowFromS": 32_400, "windowToS": 50_400}
    elif one.trait in ("denies", "promises", "pays-by-app", "breach-cash"):
        asked |= {"isMandatory": True}
    elif one.language == "wuu":
        asked |= {"requiredLanguage": "wuu"}
    elif one.reference.endswith("77"):
        asked |= {"windowFromS": 74_700, "windowToS": 75_600}             # Wants to be met at 20:45: too late to end before 21:00.
    elif one.reference.endswith("55"):
        asked |= {"requiredCertificate": "corporate"}                    # Nobody holds it.
    return asked


def _refuse_self_approval(scene: Scene) -> None:
    """Let a supervisor raise a request and try to approve it herself."""
    amina = scene.desk("amina")
    one = list(scene.debtors.values())[len(scene.requests) + 3]
    contact = amina.post(f"/api/v1/cases/{scene.cases[one.reference]}/contacts", {
        "mode": "fact", "channel": "phone", "at": (scene.clock() - timedelta(minutes=2)).isoformat(), "workNumber": WORK_NUMBER,
        "outcome": {"result": "no_answer"},
    })
    request_id = amina.post("/api/v1/visit-requests", _request(one, scene.cases[one.reference], contact["id"]))["id"]
    amina.post(f"/api/v1/visit-requests/{request_id}/analysis", {"analysis": "自行申请。"})
    try:
        amina.post(f"/api/v1/visit-requests/{request_id}/decision", {"choice": "approve", "reason": "自行批准。"})
    except Refused as refusal:
        scene.refused("申请人自行批准外访", "A visit approved by the person who asked for it", refusal)
