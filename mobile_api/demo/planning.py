"""Act three: the plan. Pairs and routes, every visit left out with its reason, publication, the morning's withdrawals, the phones' bundles."""

import time
from typing import Any

from mobile_api.demo import city, founding
from mobile_api.demo.pair import Pair
from mobile_api.demo.stage import Scene, Ticker
from mobile_api.phone_link import Refused

DRIVEN_MIN = 4
DRIVEN_MAX = 6


def plan_day(scene: Scene, ticker: Ticker) -> None:
    """Order tomorrow's plan, wait for it, publish it."""
    farid = scene.desk("farid")
    scene.clock.move_to(17, 0, day=-1)
    seconds = 6 if scene.stage.is_quick else 20
    ticker.total(seconds + 2)
    ordered = farid.post("/api/v1/plans", {"branchId": scene.branch, "on": city.DAY.isoformat(), "seconds": seconds, "seed": 7})
    waited = 0.0
    while True:
        plan = farid.get(f"/api/v1/plans/{ordered['id']}")
        if plan["summary"]["status"] in ("ready", "failed"):
            break
        time.sleep(0.25)                                  # The dispatcher looks at the page now and then.
        waited += 0.25
        if waited % 1 == 0 and waited <= seconds:
            ticker.advance(1)
        assert waited < 240, "the plan was not solved in time"
    assert plan["summary"]["status"] == "ready", plan["summary"]
    published = farid.post(f"/api/v1/plans/{ordered['id']}/publish")
    scene.plan = farid.get(f"/api/v1/plans/{ordered['id']}")
    scene.count("visits planned", published["visitCount"])
    scene.count("visits dropped", len(scene.plan["unserved"]))
    scene.notes["reasons"] = _reasons(scene.plan["unserved"])
    ticker.advance(2)


def morning(scene: Scene, ticker: Ticker) -> None:
    """Friday, 07:45: a repayment and a recall pull planned stops before anybody leaves; the driven pairs' phones fetch their day."""
    ticker.total(4)
    scene.clock.move_to(7, 45)
    _withdraw(scene)
    ticker.advance(1)
    scene.notes["pairs"] = [_crew(scene, route) for route in _driven(scene)]
    ticker.advance(1)
    _prepare_cash(scene)
    ticker.advance(1)
    for pair in scene.notes["pairs"]:
        pair.prepare()
    ticker.advance(1)
    gone = {scene.cases[one.reference] for one in scene.debtors.values() if one.trait in ("repaid-morning", "recalled-morning")}
    shown = {stop["case_id"] for pair in scene.notes["pairs"] for stop in pair.stops if stop["kind"] == "visit"}
    assert not gone & shown, "a withdrawn case is still in a bundle"
    scene.count("pairs driven", len(scene.notes["pairs"]))


def by_trait(scene: Scene, trait: str) -> tuple[city.Debtor, str]:
    """Return the debtor of the script and the case's id."""
    one = next(debtor for debtor in scene.debtors.values() if debtor.trait == trait)
    return one, scene.cases[one.reference]


def _withdraw(scene: Scene) -> None:
    paid, paid_case = by_trait(scene, "repaid-morning")
    scene.desk("gu").post(f"/api/v1/cases/{paid_case}/repayments", {
        "reference": "REP-20261127-1", "amountFen": paid.amount_fen, "paidOn": city.DAY.isoformat(),
    })
    recalled, recalled_case = by_trait(scene, "recalled-morning")
    scene.desk(f"lin-{recalled.bank}").post(f"/api/v1/cases/{recalled_case}/recall")
    scene.count("stops withdrawn", 2)


def _driven(scene: Scene) -> list[dict[str, Any]]:
    """Choose the routes that meet most of the script, at least four of them."""
    scripted = {scene.cases[one.reference]: one.trait for one in scene.debtors.values() if one.trait}

    def weight(route: dict[str, Any]) -> tuple[int, int]:
        traits = [scripted[stop["caseId"]] for stop in route["stops"] if stop["caseId"] in scripted]
        return sum(trait in ("farmer-cash", "denies") for trait in traits), len(traits)

    ranked = sorted(scene.plan["routes"], key=weight, reverse=True)
    needed = [route for route in ranked if weight(route)[1]]
    return ranked[: max(DRIVEN_MIN, min(DRIVEN_MAX, len(needed)))]


def _crew(scene: Scene, route: dict[str, Any]) -> Pair:
    phones = [scene.phones.get(one) or founding.enrol_phone(scene, one) for one in (route["collectorA"], route["collectorB"])]
    return Pair(scene, route, phones[0], phones[1])


def _prepare_cash(scene: Scene) -> None:
    """Sign a receipt book out to the pair that meets the farmer, ask his bank, and let two of its people grant it."""
    farmer, case_id = by_trait(scene, "farmer-cash")
    pair = next((pair for pair in scene.notes["pairs"] if any(stop["caseId"] == case_id for stop in pair.route["stops"])), None)
    if pair is None:
        raise AssertionError("the farmer is on no driven route")
    bank_id = scene.banks[farmer.bank]
    scene.desk("ke").post("/api/v1/receipt-books", {
        "serial": "SH1-0001", "bankId": bank_id, "device": pair.first.kid, "firstNumber": 1, "lastNumber": 10,
    })
    asked_at = scene.clock()
    request_id = scene.desk("amina").post("/api/v1/authorisation-requests", {
        "caseId": case_id, "circumstance": "limited_mobility", "explanation": "行动不便,附近无网点,本人要求当面交纳。", "capFen": 300_000,
    })["id"]
    scene.clock.pass_time(240)
    _refuse_agency_grant(scene, request_id)
    mo, yan = scene.desk(f"mo-{farmer.bank}"), scene.desk(f"yan-{farmer.bank}")
    if next(one for one in mo.get("/api/v1/authorisation-requests")["rows"] if one["id"] == request_id).get("needsSecond"):
        yan.post(f"/api/v1/authorisation-requests/{request_id}/second")
    issued_s = int(scene.clock().timestamp())
    claims = {
        "iss": bank_id, "jti": f"auth-{request_id}", "agency": scene.stage.tenant, "request": request_id, "case": case_id,
        "devices": sorted((pair.first.kid, pair.second.kid)), "instruments": ["cash"], "cap_fen": 300_000, "max_collections": 1,
        "circumstance": "limited_mobility", "account_digest": scene.account_digests[farmer.bank], "iat": issued_s, "exp": issued_s + 10 * 3600,
    }
    granted = mo.post(f"/api/v1/authorisation-requests/{request_id}/grant", {"token": scene.bank_systems[farmer.bank].sign(claims)})
    scene.notes["authorisation"] = {**claims, "granted": granted, "asked_at": asked_at, "granted_at": scene.clock(), "bank": farmer.bank,
                                    "kid": scene.bank_systems[farmer.bank].kid}
    scene.count("authorisations")


def _refuse_agency_grant(scene: Scene, request_id: str) -> None:
    try:
        scene.desk("amina").post(f"/api/v1/authorisation-requests/{request_id}/grant", {"token": "a.b.c"})
    except Refused as refusal:
        scene.refused("机构主管自行授权收取现金", "An agency supervisor granting a cash authorisation", refusal)


def _reasons(unserved: list[dict[str, Any]]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for one in unserved:
        counted[one["code"]] = counted.get(one["code"], 0) + 1
    return counted
