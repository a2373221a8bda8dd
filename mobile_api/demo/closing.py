"""Act five: the evening. A denial by phone pulls a stop, the books close, reviews, the pack, and the verifier in a process of its own."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import evidence.verify_pack
from mobile_api.demo.city import DAY
from mobile_api.demo.pair import Pair, Visit
from mobile_api.demo.stage import Scene, Ticker
from mobile_api.phone_link import Refused

CHECKS_TIMEOUT_S = 180
_CHECKLIST = ("two_visitors", "hours", "identity", "right_party", "manner", "entry", "recording", "signatures")


def deny_by_phone(scene: Scene, ticker: Ticker) -> None:
    """At 10:30 a debtor denies the spending on the telephone: the planned stop disappears from the phones, and nobody may start it."""
    ticker.total(1)
    scene.clock.move_to(10, 30)
    pair, stop = _later_stop(scene)
    scene.desk("hana").post("/api/v1/disputes", {"caseId": stop["case_id"], "kind": "denies_spending"})
    before = len(pair.stops)
    pair.prepare()
    assert stop["visit_id"] not in {one.get("visit_id") for one in pair.stops}, "the stop is still in the bundle"
    assert stop["visit_id"] in {one["visit_id"] for one in pair.withdrawn}
    scene.notes["pulled"] = {"before": before, "after": len(pair.stops), "at": scene.clock(), "visit": stop["visit_id"]}
    scene.count("stops withdrawn")
    pair.stand_at(stop["gate"])
    visit = Visit(scene, pair, stop)
    for phone in (pair.first, pair.second):
        visit.tell("visit.check_in", {"isCredentialWorn": True, "identityPresented": "agency"}, phone)
    try:
        pair.first.ask("visit.start", {"visitId": stop["visit_id"]})
    except Refused as refusal:
        scene.refused("对已暂停催收的案件开始外访", "Starting a visit on a suspended case", refusal)
    ticker.advance(1)


def close_day(scene: Scene, ticker: Ticker) -> None:
    """Evening: investigator and handwriting, the bank's statement, the books to the fen, reviews by supervisor and liaison."""
    ticker.total(4)
    scene.clock.move_to(21, 30)
    _refuse_late_start(scene)
    _investigate(scene)
    ticker.advance(1)
    _reconcile(scene)
    ticker.advance(1)
    _review(scene)
    ticker.advance(1)
    _refuse_other_bank(scene)
    ticker.advance(1)


def export_and_verify(scene: Scene, ticker: Ticker) -> None:
    """Export the pack of the visit with the cash, and let the offline verifier judge it: whole, and with one byte flipped."""
    ticker.total(3)
    held = scene.notes["cash"]
    visit: Visit = held["visit"]
    liaison = scene.desk(f"lin-{visit.debtor.bank}")
    _wait_until_examined(scene, visit, liaison)
    ticker.advance(1)
    pack = liaison.send("POST", f"/api/v1/visits/{visit.id}/pack", json={"purpose": "litigation"}).content
    out = scene.stage.out
    (out / "pack.zip").write_bytes(pack)
    trust = scene.http.get(f"{scene.stage.base_url}/verify/keys?bank={scene.banks[visit.debtor.bank]}").json()["trust"]
    (out / "trust.json").write_bytes(msgspec.json.format(msgspec.json.encode(trust), indent=1))
    scene.count("pack bytes", len(pack))
    ticker.advance(1)
    flipped = bytearray(pack)
    flipped[len(flipped) // 2] ^= 1
    (out / "pack-flipped.zip").write_bytes(flipped)
    scene.notes["verifier"] = [_verify(scene, "pack.zip", 0), _verify(scene, "pack-flipped.zip", 1)]
    (out / "pack-flipped.zip").unlink()
    ticker.advance(1)


def audit(scene: Scene, ticker: Ticker) -> None:
    """Check audit chains, log and stored evidence against each other with the operators' own command."""
    ticker.total(1)
    done = subprocess.run(list(scene.stage.audit_command), env={**os.environ, **scene.stage.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    scene.notes["audit"] = done.stdout
    ticker.advance(1)


def _later_stop(scene: Scene) -> tuple[Pair, dict[str, Any]]:
    scripted = {scene.cases[one.reference] for one in scene.debtors.values() if one.trait}
    for pair in scene.notes["pairs"]:
        for stop in reversed(pair.stops):
            if stop["kind"] == "visit" and stop["case_id"] not in scripted and stop["arrives"] > f"{DAY.isoformat()}T03:00:00.000Z":
                return pair, stop
    raise AssertionError("no unscripted afternoon stop on a driven route")


def _refuse_late_start(scene: Scene) -> None:
    pair = scene.notes["pairs"][0]
    done = {visit.id for visit in pair.visits}
    stop = next((one for one in pair.stops if one["kind"] == "visit" and one["visit_id"] not in done), None)
    if stop is None:
        return
    pair.stand_at(stop["gate"])
    visit = Visit(scene, pair, stop)
    for phone in (pair.first, pair.second):
        visit.tell("visit.check_in", {"isCredentialWorn": True, "identityPresented": "agency"}, phone)
    try:
        pair.first.ask("visit.start", {"visitId": stop["visit_id"]})
    except Refused as refusal:
        scene.refused("21:30 开始外访", "A visit started at 21:30", refusal)


def _investigate(scene: Scene) -> None:
    denial = scene.notes.get("denial")
    if denial is None:
        return
    amina = scene.desk("amina")
    listed = amina.get("/api/v1/disputes", caseId=denial["visit"].case)["rows"]
    declaration = next(one["declaration"]["id"] if one.get("declaration") else one["declarationId"] for one in listed)
    amina.post(f"/api/v1/declarations/{declaration}/investigator", {"investigatorId": scene.people["boqin"]})
    scene.desk("boqin").post(f"/api/v1/declarations/{declaration}/handwriting", {"result": "other_hand"})
    denial["declaration"] = declaration
    denial["shown"] = amina.get(f"/api/v1/declarations/{declaration}")


def _reconcile(scene: Scene) -> None:
    held = scene.notes["cash"]
    bank = held["visit"].debtor.bank
    bank_id = scene.banks[bank]
    ke = scene.desk("ke")
    account = ke.get(f"/api/v1/banks/{bank_id}/accounts")[0]
    statement = f"account,booked_on,reference,amount\n{scene.account_numbers[bank]},{DAY.isoformat()},ATM-20261127-001,\"1,900.00\"\n"
    imported = ke.send("POST", "/api/v1/statements", content=statement.encode(), headers={"Content-Type": "text/csv"}, params={
        "bankId": bank_id, "rowCount": 1, "amountTotalFen": 190_000,
    }).json()
    assert imported["matchedCount"] == 1, imported
    scene.notes["statement"] = {**imported, "account": account}
    scene.notes["variances"] = ke.get("/api/v1/variances")["rows"]
    scene.notes["books"] = ke.post("/api/v1/reconciliations", {"bankId": bank_id})
    scene.notes["custody"] = ke.get("/api/v1/cash/custody")["rows"]
    scene.notes["collections"] = ke.get("/api/v1/cash/collections")["rows"]
    answer = scene.http.get(scene.stage.base_url + "/verify/receipt", params={
        "number": held["number"], "amountFen": held["facts"].amount_fen, "code": held["code"],
    }).json()
    assert answer == {"status": "genuine"}, answer


def _review(scene: Scene) -> None:
    amina = scene.desk("amina")
    for name in ("farmer-cash", "denies", "promises"):
        visit = scene.notes["doors"].get(name)
        if visit is None:
            continue
        _wait_until_examined(scene, visit, amina)
        detail = amina.get(f"/api/v1/visits/{visit.id}")["visit"]
        checklist = dict.fromkeys(_CHECKLIST, True)
        accepted = [one["code"] for one in detail["exceptions"]]
        amina.post(f"/api/v1/visits/{visit.id}/review", {
            "verdict": "accepted", "checklist": checklist, "comment": "录音、照片与报告一致。", "acceptedExceptions": accepted,
        })
        scene.count("visits reviewed")


def _refuse_other_bank(scene: Scene) -> None:
    visit: Visit = scene.notes["cash"]["visit"]
    other = next(code for code in scene.banks if code != visit.debtor.bank)
    try:
        scene.desk(f"lin-{other}").get(f"/api/v1/visits/{visit.id}")
    except Refused as refusal:
        scene.refused("他行联络人查看本行外访", "Another bank's liaison reading the visit", refusal)


def _wait_until_examined(scene: Scene, visit: Visit, desk: Any) -> None:
    def is_examined() -> bool:
        statements = desk.get(f"/api/v1/visits/{visit.id}/evidence")["statements"]
        return all(item["isExamined"] for statement in statements for item in statement["items"])

    _wait(is_examined, "the evidence was not examined in time")


def _wait(is_done: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + CHECKS_TIMEOUT_S
    while not is_done():
        assert time.monotonic() < deadline, failure
        time.sleep(0.3)                                   # Somebody looks at the page again.


def _verify(scene: Scene, pack: str, expected: int) -> dict[str, Any]:
    """Run a lone copy of the verifier, isolated from everything of ours."""
    folder = scene.stage.out / "verifier"
    folder.mkdir(exist_ok=True)
    copy = Path(shutil.copy(Path(evidence.verify_pack.__file__ or ""), folder / "verify_pack.py"))
    command = [sys.executable, "-I", str(copy), str(scene.stage.out / pack), "--trust", str(scene.stage.out / "trust.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == expected, f"{done.returncode}: {done.stdout}{done.stderr}"
    return {"pack": pack, "exit": done.returncode, "output": done.stdout, "command": f"python -I verify_pack.py {pack} --trust trust.json"}
