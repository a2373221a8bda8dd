"""A small day for the page: two pairs, one deposit, one withdrawn stop, one of everything else."""

import io
import wave
from datetime import UTC, date, datetime, timedelta

from PIL import Image

from mobile_api.demo.record import (
    Account,
    AuthorisationShown,
    Beat,
    BookProof,
    CashReceipt,
    DayRecord,
    Denial,
    Denomination,
    Door,
    Ledger,
    Photo,
    Place,
    ReceiptShown,
    Refusal,
    Route,
    Said,
    SignatureShown,
    Sound,
    StageContribution,
    Stop,
    StopKind,
    SummaryRow,
    Tone,
    Transfer,
    UnservedVisit,
    VerifierRun,
)

NINE = datetime(2026, 11, 27, 1, 0, tzinfo=UTC)  # 09:00 in Shanghai.
SHA = "5f" * 32


def said(zh: str, en: str) -> Said:
    return Said(zh=zh, en=en)


def stop(position: int, **changes: object) -> Stop:
    at = NINE + timedelta(minutes=40 * position)
    values: dict[str, object] = {
        "position": position, "kind": StopKind.VISIT, "lon": 121.47 + position / 100, "lat": 31.23 - position / 200,
        "label": said("云栖里", "Yunqi Li"),
        "arrives_at": at, "starts_at": at, "ends_at": at + timedelta(minutes=25), "bank": "华信示范银行", "reference": f"HU26-1000{position}",
    }
    return Stop(**{**values, **changes})  # type: ignore[arg-type]


def photo(zh: str, en: str) -> Photo:
    stream = io.BytesIO()
    Image.new("RGB", (32, 24), (90, 120, 140)).save(stream, format="JPEG")
    return Photo(jpeg=stream.getvalue(), caption=said(zh, en), sha256=SHA, taken_at=NINE)


def sound(seconds: int = 2) -> Sound:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as opened:
        opened.setnchannels(1)
        opened.setsampwidth(2)
        opened.setframerate(8_000)
        opened.writeframes(b"\x00\x00" * 8_000 + b"\x00\x40" * 8_000 * (seconds - 1))
    return Sound(
        content=stream.getvalue(), media_type="audio/wav", duration_ms=seconds * 1000, caption=said("全程录音", "The whole recording"), sha256=SHA,
    )


def door() -> Door:
    signatures = tuple(
        SignatureShown(name=name, role=said(zh, en), kid=name * 10, signed_at=NINE, protected='{"alg":"ES256"}', signature="c2ln")
        for name, zh, en in (("罗欣", "采集人", "Capturer"), ("龚军", "见证人", "Witness"))
    )
    return Door(
        reference="HU26-10003", bank="华信示范银行", address=said("云栖里 **", "Yunqi Li **"), outcome=said("承诺还款", "Promise to pay"),
        standing=said("已接受", "Accepted"), beats=(Beat(at=NINE, text=said("两人到达", "Both arrive"), tone=Tone.GOOD, rules=("VIS-01",)),),
        photos=(photo("门牌", "Door plate"),), sounds=(sound(),), payload_sha256=SHA, signatures=signatures,
        receipt=ReceiptShown(header='{"typ":"x"}', payload="{}", signature="cmVj", log_index=118, checkpoint="example\n412\nroot\n"),
    )


def cash() -> CashReceipt:
    return CashReceipt(
        number="HX-000201", amount_fen=300_000, capitals="人民币叁仟元整", payer=said("持卡人", "The cardholder"), instrument=said("现金", "Cash"),
        denominations=(Denomination(value_fen=10_000, count=30),), collected_at=NINE, collectors=("罗欣", "龚军"), digest=SHA, previous_digest=SHA,
        authorisation=AuthorisationShown(
            jti="0198c2d1", kid="mC4b9s", bank="华信示范银行", hardware=said("演示密钥", "Demonstration key"), circumstance=said("农户", "Farmer"),
            cap_fen=300_000, collections_max=1, account="4821", requested_at=NINE, granted_at=NINE, expires_at=NINE + timedelta(hours=8),
        ),
    )


def ledger() -> Ledger:
    debtor, custody = said("持卡人", "Cardholder"), said("小组保管", "Custody of the pair")
    return Ledger(
        accounts=(Account(name=debtor, kind="debtor", balance_fen=-300_000), Account(name=custody, kind="custody", balance_fen=300_000)),
        transfers=(Transfer(at=NINE, source=debtor, target=custody, amount_fen=300_000, kind=said("收款", "Collection"), reference="HX-000201"),),
        proofs=(
            BookProof(left=said("收条合计", "Receipts"), left_fen=300_000, right=said("保管", "Custody"), right_fen=300_000),
            BookProof(left=said("存款", "Deposits"), left_fen=1, right=said("对账单", "Statement"), right_fen=2),
        ),
    )


def small_day(**changes: object) -> DayRecord:
    """Return the day; `changes` replace members of the record."""
    gone = stop(3, withdrawn=said("持卡人否认", "The cardholder denies"))
    counter = stop(2, kind=StopKind.DEPOSIT, label=said("人民广场支行", "Renmin Square branch"), reference="")
    visited = stop(1, actual_started_at=NINE, actual_ended_at=NINE, outcome=said("承诺还款", "Promise to pay"), tone=Tone.GOOD, evidence_count=4)
    values: dict[str, object] = {
        "agency": said("示范外访公司", "Demonstration Agency"), "branch": said("上海一部", "Shanghai 1"), "on": date(2026, 11, 27),
        "timezone": "Asia/Shanghai", "engine": "SQLite 3.40.1", "version": "0.1.0", "made_at": NINE,
        "places": (Place(name=said("黄浦", "Huangpu"), lon=121.48, lat=31.22),),
        "summary": (SummaryRow(label=said("委案", "Cases"), value="1,200", is_headline=True),
                    SummaryRow(label=said("签名", "Signatures"), value="72")),
        "routes": (
            Route(number=1, pair=("罗欣", "龚军"), colour=0, departure_at=NINE, return_at=NINE, stops=(visited, counter, gone), is_driven=True),
            Route(number=2, pair=("胡嘉", "陈涛"), colour=13, departure_at=NINE, return_at=NINE, stops=(stop(1, lon=121.40, lat=31.30),)),
        ),
        "unserved": (
            UnservedVisit(reference="HU26-10090", code="needs-pin", reason=said("尚未定位", "No position yet"), change=said("标点", "Pin it")),
            UnservedVisit(reference="HU26-10091", code="paid", reason=said("已还清", "It is paid"), lon=121.42, lat=31.25),
        ),
        "contributions": (
            StageContribution(stage="cp-sat", explanation=said("组队", "Pairs"), cost_before=None, cost_after=900, seconds=1.0),
            StageContribution(stage="or-tools", explanation=said("路线", "Routes"), cost_before=900, cost_after=600, seconds=4.5),
        ),
        "door": door(), "cash": cash(), "ledger": ledger(),
        "denial": Denial(
            reference="JI26-10001", bank="江南示例银行", kind=said("否认办卡", "Denies the application"),
            beats=(Beat(at=NINE, text=said("暂停", "Suspended")),),
            declaration_text="本人在此慎重声明", transcription="本人在此慎重声明", photos=(photo("声明书", "Declaration"),),
            status=said("调查中", "Investigated"),
        ),
        "refusals": (Refusal(
            tried=said("一人外访", "A visit alone"), problem="/problems/rules-breached", status=409, rules=("VIS-01",)),),
        "verifier": (VerifierRun(
            meaning=said("原样", "As exported"), command="python -m evidence.verify_pack", exit_code=0, output="verified"),),
    }
    return DayRecord(**{**values, **changes})  # type: ignore[arg-type]
