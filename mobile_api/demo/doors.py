"""Act four: the doors. Each scripted door once, the others as most doors are: nobody at home."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import httpx
from uuid_utils import compat

from evidence.capitals import to_capitals
from evidence.declaration import set_text
from evidence.facts import CaptureFacts, CashReceiptFacts, DeclarationFacts, DeclarationForm, Denial, Denomination, Instrument, PayerRelation
from evidence.manifest import PREV_NONE, Role
from mobile_api.demo import bad_line
from mobile_api.demo.city import DAY
from mobile_api.demo.pair import Json, Pair, Visit, _utc
from mobile_api.demo.stage import Scene, Ticker, bank_of
from mobile_api.phone import Phone
from mobile_api.phone_link import Refused
from mobile_api.phone_wallet import CashWish, TakeNothing

TAKEN_FEN = 200_000


def drive(scene: Scene, ticker: Ticker) -> None:
    """Let the driven pairs go through their day, stop by stop in the order of the clock, synchronising over a line that cuts uploads."""
    line = bad_line.BadLine(seed=5, share=0.2)
    pairs: list[Pair] = scene.notes["pairs"]
    for pair in pairs:
        for phone in (pair.first, pair.second):
            phone.link.http = httpx.Client(transport=line, timeout=60)
    limit = 3 if scene.stage.is_quick else 6
    stops = sorted(((stop["arrives"], number, stop) for number, pair in enumerate(pairs) for stop in _chosen(scene, pair, limit)), key=lambda one: one[:2])
    ticker.total(len(stops))
    scene.notes["line"] = line
    for arrives, number, stop in stops:
        hour, minute = _local(arrives)
        scene.clock.move_to(hour, minute)
        visit_stop(scene, pairs[number], stop)
        ticker.advance(1)
    scene.count("cuts survived", line.cuts)


def visit_stop(scene: Scene, pair: Pair, stop: Json) -> None:
    """Go to one stop."""
    pair.stand_at(stop["gate"])
    if stop["kind"] == "deposit":
        deposit(scene, pair, stop)
        return
    visit = Visit(scene, pair, stop)
    trait = visit.debtor.trait
    if trait == "filmed":
        _refuse_lone_start(scene, visit)
    elif trait == "promises":
        _refuse_tampering(scene, visit)
    visit.arrive()
    scene.clock.pass_time(45)
    code = _DOORS.get(trait, _quiet_door)(scene, visit)
    scene.clock.pass_time(45)
    visit.code = code
    visit.leave(code, is_recoverable="partly" if visit.is_right_party else "unknown")
    pair.visits.append(visit)
    scene.notes.setdefault("doors", {})[trait or visit.debtor.reference] = visit
    pair.sync()


def _chosen(scene: Scene, pair: Pair, limit: int) -> list[Json]:
    """Every scripted door, every deposit, and others up to `limit`."""
    cases = {scene.cases[one.reference]: one.trait for one in scene.debtors.values()}
    held = [stop for stop in pair.stops if stop["kind"] == "deposit" or cases[stop["case_id"]]]
    others = [stop for stop in pair.stops if stop not in held]
    return held + others[: max(1, limit - len(held))]


def _quiet_door(scene: Scene, visit: Visit) -> str:
    visit.outcome("nobody_met")
    return "nobody_met"


def _nobody(scene: Scene, visit: Visit) -> str:
    visit.outcome("no_answer_intercom")
    return "no_answer_intercom"


def _guard(scene: Scene, visit: Visit) -> str:
    visit.outcome("gate_refused")
    return "gate_refused"


def _boy(scene: Scene, visit: Visit) -> str:
    visit.outcome("only_minor")
    return "only_minor"


def _grandmother(scene: Scene, visit: Visit) -> str:
    visit.outcome("third_party_met", is_consent_given=False, relation="grandmother")
    return "third_party_met"


def _pays(scene: Scene, visit: Visit) -> str:
    visit.meet()
    visit.outcome("paid_directly", amount_fen=300_000, channel="mobile_bank", paid_at=_utc(scene.clock()))
    return "paid_directly"


def _promises(scene: Scene, visit: Visit) -> str:
    visit.meet()
    _refuse_unauthorised_cash(scene, visit)
    visit.outcome("promise", amount_fen=200_000, promised_on="2026-12-04", is_confirmed=True)
    return "promise"


def _vague(scene: Scene, visit: Visit) -> str:
    visit.meet()
    visit.outcome("promise_vague", wording="尽量想办法")
    return "promise_vague"


def _hardship(scene: Scene, visit: Visit) -> str:
    visit.meet()
    visit.outcome("hardship", reason="住院治疗,暂无收入", proposal="申请分期")
    return "hardship"


def _filmed(scene: Scene, visit: Visit) -> str:
    visit.meet()
    visit.outcome("filmed_by_debtor")
    return "filmed_by_debtor"


def _self_harm(scene: Scene, visit: Visit) -> str:
    visit.meet()
    visit.outcome("self_harm_threat", is_help_called=True)
    return "self_harm_threat"


def _deceased(scene: Scene, visit: Visit) -> str:
    visit.outcome("deceased", source="family")
    return "deceased"


def _denies(scene: Scene, visit: Visit) -> str:
    """The debtor denies the card: the case is suspended before the next sentence, then the declaration is taken by the book."""
    visit.meet()
    stated = visit.pair.first.tell_now("dispute.stated", {
        "caseId": visit.case, "visitId": visit.id, "kind": "denies_application", "statedAt": _utc(scene.clock()),
    })
    scene.notes["denial"] = {"visit": visit, "stated": stated, "stated_at": scene.clock()}
    template = scene.templates[visit.debtor.bank]
    text = set_text(bank_of(visit.debtor.bank).name_zh)
    scene.clock.pass_time(300)
    papers = [
        visit.paper(Role.DECLARATION_PAGE, "伪冒声明书", [text[start:start + 24] for start in range(0, len(text), 24)]),
        visit.paper(Role.ID_FRONT, "居民身份证 · 正面", [visit.debtor.name, f"号码 {'*' * 14}{visit.debtor.id_number[-4:]}"]),
        visit.paper(Role.ID_BACK, "居民身份证 · 背面", ["签发机关 示范区公安局", "有效期限 2020.01.01-2040.01.01"]),
    ]
    digests = [sha256(paper.content).hexdigest() for paper in papers]
    visit.pair.first.ask("declaration.check", {
        "caseId": visit.case, "form": "forgery", "templateId": template["id"], "templateVersion": template["version"], "transcription": text,
        "writtenByDeclarant": True, "signedByDeclarant": True, "idCardGeneration": 2, "idFrontSha256": digests[1], "idBackSha256": digests[2],
        "pageCount": 1,
    })
    digest = visit.state(DeclarationFacts(
        denial=Denial.APPLICATION, form=DeclarationForm.FORGERY, template_id=template["id"], template_version=template["version"], text=text,
        special_circumstances=None, transcription=text, written_by_declarant=True, signed_by_declarant=True, id_card_generation=2,
    ), papers, together=True)
    visit.pair.sync()
    scene.notes["denial"] |= {"digest": digest, "text": text, "papers": papers, "signed_at": scene.clock()}
    visit.outcome("declaration_taken")
    scene.count("declarations")
    return "declaration_taken"


def _farmer(scene: Scene, visit: Visit) -> str:
    """Authorised cash: the phone checks the bank's token by itself, asks leave, both sign the receipt, the paper stays in the payer's hand."""
    phone = visit.pair.first
    cash = visit.pair.bundle["cash"]
    token = next(one for one in cash["authorisations"] if one["case_id"] == visit.case)
    leave = phone.may_take(CashWish(case=visit.case, bank=visit.door.bank, jti=token["jti"], amount_fen=TAKEN_FEN))
    visit.meet()
    number = leave.receipt_number
    visit.pair.first.ask("cash.collect", {
        "caseId": visit.case, "visitId": visit.id, "jti": token["jti"], "receiptNumber": number, "amountFen": TAKEN_FEN, "instrument": "cash",
        "cosignerDevice": visit.pair.second.kid, "unsyncedFen": phone.unsynced_fen(),
    })
    facts, papers = receipt_of(visit, number, TAKEN_FEN, token["jti"])
    digest = visit.state(facts, papers, together=True)
    visit.pair.sync()
    answer = phone.notebook.statement(digest)
    assert answer is not None and answer.answer is not None
    assert answer.answer["standing"] == "accepted", answer.answer
    visit.outcome("cash_taken", receipt_number=number, amount_fen=TAKEN_FEN)
    scene.notes["cash"] = {
        "visit": visit, "number": number, "facts": facts, "digest": digest, "at": scene.clock(), "code": leave.receipt_code, "pair": visit.pair,
    }
    scene.count("receipts")
    return "cash_taken"


def _breach(scene: Scene, visit: Visit) -> str:
    """Money taken without the bank's word: what happened is told, stored as a breach, booked, and blocks both from cash."""
    visit.meet()
    if visit.pair is scene.notes.get("cash", {}).get("pair") or "cash" not in scene.notes:
        visit.outcome("refused_to_pay", reason="拒绝透露原因")
        return "refused_to_pay"
    facts, papers = receipt_of(visit, "SELF-0001", 50_000, None)
    digest = visit.state(facts, papers, together=True)
    visit.pair.sync()
    told = visit.pair.first.notebook.statement(digest)
    assert told is not None and told.answer is not None
    assert told.answer["outcome"]["standing"] == "breach", told.answer["outcome"]
    scene.notes["breach"] = told.answer["outcome"]
    visit.outcome("cash_taken", receipt_number="SELF-0001", amount_fen=50_000)
    scene.count("cash breaches")
    return "cash_taken"


_DOORS: dict[str, Callable[[Scene, Visit], str]] = {
    "farmer-cash": _farmer, "denies": _denies, "pays-by-app": _pays, "promises": _promises, "vague": _vague, "nobody-home": _nobody,
    "guard-refuses": _guard, "boy-alone": _boy, "grandmother": _grandmother, "hardship": _hardship, "filmed": _filmed, "breach-cash": _breach,
    "self-harm": _self_harm, "deceased": _deceased,
}


def receipt_of(visit: Visit, number: str, amount_fen: int, jti: str | None) -> tuple[CashReceiptFacts, list[Any]]:
    """Return the signed words of a receipt and the photographs that belong to it."""
    notes = amount_fen // 10_000
    facts = CashReceiptFacts(
        receipt_number=number, amount_fen=amount_fen, amount_capitals=to_capitals(amount_fen), instrument=Instrument.CASH, payer=PayerRelation.DEBTOR,
        payer_name_sha256=sha256(f"{number}:{visit.debtor.name}".encode()).hexdigest(), authorisation_jti=jti, previous_receipt=PREV_NONE,
        denominations=(Denomination(face_fen=10_000, count=notes),),
    )
    shown = [f"No. {number}", f"人民币 {amount_fen // 100}.00", to_capitals(amount_fen)]
    return facts, [
        visit.paper(Role.PAYER_SIGNATURE, "交款人签名", [visit.debtor.name]), visit.paper(Role.COUNTERFOIL, "收条存根", shown),
        visit.paper(Role.CASH_COUNT, "清点", [f"100 元 × {notes}"]),
    ]


def deposit(scene: Scene, pair: Pair, stop: Json) -> None:
    """Pay in what the pair holds, gross, at the bank's machine, which finds one note false."""
    held = scene.notes.get("cash")
    if held is None or held["pair"] is not pair or "deposit" in scene.notes:
        return
    visit: Visit = held["visit"]
    slip = visit.paper(Role.DEPOSIT_SLIP, "存款回单", ["金额 1,900.00", "假币收缴凭证 JB-0001 100.00"])
    visit.state(CaptureFacts(occasion="deposit_slip"), [slip])
    body = {
        "bankId": visit.door.bank, "channel": "machine", "slipReference": "ATM-20261127-001", "slipSha256": sha256(slip.content).hexdigest(),
        "amountFen": TAKEN_FEN - 10_000, "depositedAt": _utc(scene.clock()), "receiptNumbers": [held["number"]],
        "shortfalls": [{"kind": "counterfeit", "amountFen": 10_000, "certificate": "JB-0001"}],
    }
    _refuse_deposits(scene, pair.first, body)
    told = pair.first.tell_now("cash.deposit", {
        **body, "depositId": _new_id(), "accountDigest": scene.account_digests[visit.debtor.bank],
    })
    assert told["standing"] == "accepted", told
    scene.notes["deposit"] = {**told, "body": body, "at": scene.clock()}
    scene.count("deposits")
    pair.sync()


def _refuse_deposits(scene: Scene, phone: Phone, body: Json) -> None:
    wrong = {**body, "depositId": _new_id(), "accountDigest": "0" * 64}
    try:
        phone.ask("cash.deposit", wrong)
    except Refused as refusal:
        scene.refused("把款项存入非指定账户", "A deposit to an account that the bank did not designate", refusal)
    net = {**body, "depositId": _new_id(), "accountDigest": next(iter(scene.account_digests.values())), "amountFen": 150_000, "shortfalls": []}
    net["accountDigest"] = scene.account_digests[scene.bank_codes[body["bankId"]]]
    try:
        phone.ask("cash.deposit", net)
    except Refused as refusal:
        scene.refused("扣除费用后存款", "A deposit net of a fee", refusal)


def _refuse_lone_start(scene: Scene, visit: Visit) -> None:
    assert visit.pair.first.place is not None
    visit.tell("visit.check_in", {"isCredentialWorn": True, "identityPresented": "agency"})
    try:
        visit.pair.first.ask("visit.start", {"visitId": visit.id})
    except Refused as refusal:
        scene.refused("一人单独开始外访", "A visit started by one person alone", refusal)


def _refuse_unauthorised_cash(scene: Scene, visit: Visit) -> None:
    try:
        visit.pair.first.may_take(CashWish(case=visit.case, bank=visit.door.bank, jti=None, amount_fen=10_000))
    except TakeNothing:
        scene.count("refusals by the phone alone")
    try:
        visit.pair.first.ask("cash.collect", {
            "caseId": visit.case, "visitId": visit.id, "jti": None, "receiptNumber": "NONE-1", "amountFen": 10_000, "instrument": "cash",
            "cosignerDevice": visit.pair.second.kid,
        })
    except Refused as refusal:
        scene.refused("未经银行授权收取现金", "Cash without the bank's authorisation", refusal)


def _refuse_tampering(scene: Scene, visit: Visit) -> None:
    """Change one character of a signed statement on its way."""
    digest = visit.pair.first.state(visit.door, CaptureFacts(occasion="test_of_the_seal"))
    kept = visit.pair.first.notebook.statement(digest)
    assert kept is not None
    place = kept.envelope.index(b'"signature":"') + 20
    other = b"A" if kept.envelope[place:place + 1] != b"A" else b"B"
    tampered = kept.envelope[:place] + other + kept.envelope[place + 1:]
    try:
        visit.pair.first.link.call("POST", "/mobile/v1/evidence-manifests", content=tampered, headers={"Content-Type": "application/jose+json"})
    except Refused as refusal:
        scene.refused("途中被改动的证据", "Evidence changed on its way", refusal)
    visit.digests.append(digest)


def _local(utc: str) -> tuple[int, int]:
    hour, minute = int(utc[11:13]) + 8, int(utc[14:16])
    assert utc.startswith(DAY.isoformat()), utc
    return hour, minute


def _new_id() -> str:
    return str(compat.uuid7())
