"""One door, one receipt, the books and the denial, as the page shows them: asked of the server, never made up for show."""

import json
from datetime import datetime
from typing import Any

from evidence.canonical import b64u_decode
from evidence.envelope import check_shape
from evidence.manifest import decode_manifest
from evidence.translog import parse_proof
from mobile_api.demo.pair import Visit
from mobile_api.demo.record import (
    Account,
    AuthorisationShown,
    Beat,
    BookProof,
    CashReceipt,
    Denial,
    Denomination,
    Door,
    Ledger,
    Photo,
    ReceiptShown,
    Said,
    SignatureShown,
    Sound,
    Tone,
    Transfer,
)
from mobile_api.demo.stage import Scene, bank_of

_BEATS = {
    "visit.check_in": ("到门口签到", "checked in at the door"), "visit.start": ("获准开始", "leave to start"), "visit.right_party": ("核对本人", "right party confirmed"),
    "visit.outcome": ("记录结果", "outcome recorded"), "visit.end": ("离开", "left"), "visit.report": ("提交报告", "report told"),
}
_KINDS = {
    "collection": ("收款", "collection"), "deposit": ("存入指定账户", "deposit to the designated account"), "variance": ("差异", "variance"),
    "handover": ("交接", "hand-over"), "reversal": ("冲正", "reversal"),
}


def door_of(scene: Scene) -> Door:
    """Show the visit with the cash."""
    visit: Visit = scene.notes["cash"]["visit"]
    liaison = scene.desk(f"lin-{visit.debtor.bank}")
    statements = liaison.get(f"/api/v1/visits/{visit.id}/evidence")["statements"]
    photos: list[Photo] = []
    sounds: list[Sound] = []
    for statement in statements:
        for item in statement["items"]:
            if item["state"] != "stored":
                continue
            content = liaison.send("POST", f"/api/v1/evidence/{item['id']}/copy", json={"purpose": "review"}).content
            if item["mediaType"].startswith("image/") and len(photos) < 4:
                said = _role(item["role"])
                photos.append(Photo(jpeg=content, caption=said, sha256=item["sha256"], taken_at=_at(statement["capturedAt"])))
            elif item["mediaType"].startswith("audio/") and not sounds:
                declared = Said(zh="全程录音（第一段）", en="the whole recording, first segment")
                media_type = "audio/wav" if content[:4] == b"RIFF" else item["mediaType"]
                sounds.append(Sound(content=content, media_type=media_type, duration_ms=_duration_ms(visit, item["sha256"]), caption=declared, sha256=item["sha256"]))
    close = next(statement for statement in statements if statement["kind"] == "visit_close")
    kept = visit.pair.first.notebook.statement(close["digest"])
    assert kept is not None and kept.receipt is not None
    code = next(one for one in visit.answers if one["kind"] == "visit.outcome")
    assert code["standing"] == "accepted", code
    return Door(
        reference=visit.debtor.reference, bank=bank_of(visit.debtor.bank).name_zh,
        address=Said(zh=visit.debtor.street.split("弄")[0] + "弄***", en="address masked"), outcome=Said(zh="收取现金并出具收条", en="cash taken with a receipt"),
        standing=Said(zh="已接受", en=close["standing"]), beats=_beats(visit), photos=tuple(photos), sounds=tuple(sounds), payload_sha256=close["digest"],
        signatures=_signatures(scene, kept.envelope), receipt=_receipt(scene, visit, close["id"], kept.receipt),
    )


def cash_of(scene: Scene) -> CashReceipt:
    """Show the receipt and the bank's word behind it."""
    held, granted = scene.notes["cash"], scene.notes["authorisation"]
    facts, visit = held["facts"], held["visit"]
    row = next(one for one in scene.notes["collections"] if one["receiptNumber"] == held["number"])
    names = tuple(scene.collectors[phone.staff_id][1].name for phone in (visit.pair.first, visit.pair.second))
    account = scene.notes["statement"]["account"]
    return CashReceipt(
        number=row["receiptNumber"], amount_fen=row["amountFen"], capitals=row["capitals"], payer=Said(zh="债务人本人", en="the debtor"),
        instrument=Said(zh="现金", en="cash"), denominations=tuple(Denomination(value_fen=one.face_fen, count=one.count) for one in facts.denominations),
        collected_at=_at(row["collectedAt"]), collectors=(names[0], names[1]), digest=held["digest"], previous_digest=facts.previous_receipt,
        authorisation=AuthorisationShown(
            jti=granted["jti"], kid=granted["kid"], bank=bank_of(granted["bank"]).name_zh,
            hardware=Said(zh="演示密钥（仅限演示环境）", en="demo key (in a demo only)"), circumstance=Said(zh="行动不便", en="limited mobility"),
            cap_fen=granted["cap_fen"], collections_max=granted["max_collections"], account=f"**** {account['last4']}",
            requested_at=granted["asked_at"], granted_at=granted["granted_at"], expires_at=datetime.fromtimestamp(granted["exp"], scene.clock().tzinfo),
        ),
    )


def ledger_of(scene: Scene) -> Ledger:
    """Show the books of the bank whose money was taken."""
    bank_id = scene.banks[scene.notes["cash"]["visit"].debtor.bank]
    ke, books = scene.desk("ke"), scene.notes["books"]
    rows = ke.get("/api/v1/ledger/transfers", bankId=bank_id)["rows"]
    accounts = (
        Account(name=Said(zh="催收员保管", en="custody of collectors"), kind="custody", balance_fen=books["custodyFen"]),
        Account(name=Said(zh="在途", en="in transit"), kind="in_transit", balance_fen=books["inTransitFen"]),
        Account(name=Said(zh="指定账户", en="designated account"), kind="designated", balance_fen=books["designatedFen"]),
        Account(name=Said(zh="待查（假币）", en="suspense (a false note)"), kind="suspense", balance_fen=books["suspenseFen"]),
    )
    where_fen = sum(account.balance_fen for account in accounts)
    return Ledger(
        accounts=accounts,
        transfers=tuple(
            Transfer(at=_at(row["at"]), source=_account(row["debit"]), target=_account(row["credit"]), amount_fen=row["amountFen"], kind=_kind(row["kind"]),
                     reference=row.get("receiptNumber") or "")
            for row in rows
        ),
        proofs=(BookProof(
            left=Said(zh="收条合计", en="receipts"), left_fen=books["receiptedFen"], right=Said(zh="保管 + 在途 + 指定账户 + 待查", en="custody + in transit + designated + suspense"),
            right_fen=where_fen,
        ),),
    )


def denial_of(scene: Scene) -> Denial | None:
    """Tell the story of the denied card."""
    denial = scene.notes.get("denial")
    if denial is None:
        return None
    visit: Visit = denial["visit"]
    beats = [
        Beat(at=visit.arrived_at, text=Said(zh="到门口签到，核对本人", en="at the door, right party confirmed")),
        Beat(at=denial["stated_at"], text=Said(zh="持卡人否认办卡：案件立即暂停", en="the cardholder denies the card: the case is suspended at once"), tone=Tone.BAD, rules=("DECL-01",)),
        Beat(at=denial["signed_at"], text=Said(zh="抄写并签署声明书，附身份证正反面", en="declaration copied out and signed, both sides of the ID card"), rules=("DECL-10", "DECL-11", "DECL-12")),
        Beat(at=scene.clock(), text=Said(zh="已指定调查人，笔迹比对已记录，等待银行认定", en="investigator named, handwriting compared, the bank's ruling awaited"), rules=("DECL-03", "DECL-08")),
    ]
    return Denial(
        reference=visit.debtor.reference, bank=bank_of(visit.debtor.bank).name_zh, kind=Said(zh="否认办卡", en="denies the application"), beats=tuple(beats),
        declaration_text=denial["text"], transcription=denial["text"],
        is_text_deviating=bool(denial.get("shown", {}).get("isTextDeviating")), status=Said(zh="调查中", en="under investigation"),
        photos=tuple(
            Photo(jpeg=paper.content, caption=_role(paper.role.value), sha256=denial["digest"], taken_at=paper.started)
            for paper in denial["papers"][:1]
        ),
    )


def _beats(visit: Visit) -> tuple[Beat, ...]:
    told = []
    for one in visit.answers:
        zh, en = _BEATS.get(one["kind"], (one["kind"], one["kind"]))
        told.append(Beat(at=one["at"], text=Said(zh=zh, en=en), tone=Tone.PLAIN if one.get("standing", "accepted") == "accepted" else Tone.BAD))
    return tuple(told)


def _signatures(scene: Scene, envelope: bytes) -> tuple[SignatureShown, ...]:
    shape = check_shape(envelope)
    phones = {phone.kid: phone.staff_id for phone in scene.phones.values()}
    return tuple(
        SignatureShown(
            name=scene.collectors[phones[header.kid]][1].name, role=Said(zh="采集人", en="capturer") if header.role == "capturer" else Said(zh="见证人", en="witness"),
            kid=header.kid, signed_at=_at(header.at), protected=json.dumps(json.loads(b64u_decode(member.protected)), indent=1), signature=member.signature,
        ) for header, member in zip(shape.headers, shape.signatures, strict=True)
    )


def _receipt(scene: Scene, visit: Visit, manifest_id: str, receipt: str) -> ReceiptShown:
    header, payload, signature = receipt.split(".")
    proof = scene.desk(f"lin-{visit.debtor.bank}").get(f"/api/v1/log/proof/{manifest_id}")["proof"]
    logged = parse_proof(proof)
    return ReceiptShown(
        header=json.dumps(json.loads(b64u_decode(header)), indent=1), payload=json.dumps(json.loads(b64u_decode(payload)), indent=1), signature=signature,
        log_index=logged.index, checkpoint=logged.checkpoint,
    )


_ROLES = {
    "photo": "照片", "audio": "录音", "door_plate": "门牌", "payer_signature": "交款人签名", "counterfoil": "收条存根", "cash_count": "现金清点", "deposit_slip": "存款回单",
    "declaration_page": "声明书", "id_front": "身份证正面", "id_back": "身份证背面",
}


def _role(role: str) -> Said:
    return Said(zh=_ROLES.get(role, role), en=role.replace("_", " "))


def _duration_ms(visit: Visit, sha256: str) -> int:
    """Return the length that the pair signed for a recording."""
    for statement in visit.pair.first.notebook.statements():
        for item in decode_manifest(check_shape(statement.envelope).payload).items:
            if item.sha256 == sha256 and item.duration_ms is not None:
                return item.duration_ms
    raise AssertionError("a recording without a signed length")


def _account(account: dict[str, Any]) -> Said:
    zh = {"debtor": "债务人", "custody": "催收员保管", "in_transit": "在途", "designated": "指定账户", "suspense": "待查"}.get(account["kind"], account["kind"])
    return Said(zh=zh, en=account["kind"].replace("_", " "))


def _kind(kind: str) -> Said:
    zh, en = _KINDS.get(kind, (kind, kind.replace("_", " ")))
    return Said(zh=zh, en=en)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
