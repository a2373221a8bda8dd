"""The phone decides about cash with no server in reach: every call on its line fails."""

import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from evidence.canonical import JsonObject
from evidence.capitals import to_capitals
from evidence.es256 import compact_sign
from evidence.facts import CashReceiptFacts, Denomination, Instrument, PayerRelation, VoidFacts
from evidence.keys import PrivateKey, generate_key, public_jwk, thumbprint
from evidence.times import format_utc
from mobile_api.phone import Door, Phone
from mobile_api.phone_link import Link
from mobile_api.phone_notebook import Notebook
from mobile_api.phone_wallet import CashWish, TakeNothing, payer_digest

NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
CASE, OTHER_CASE, BANK, OTHER_BANK = "case-1", "case-2", "bank-1", "bank-2"
BANK_KEY, FOREIGN_KEY = generate_key(), generate_key()


class NoServer(httpx.BaseTransport):
    """A line on which nothing answers; a test that reaches for it fails."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"the phone asked {request.url} although it has to decide alone")


class Hand:
    """Two phones, a clock, and the bundle that the first one keeps."""

    def __init__(self, folder: Path | None = None) -> None:
        self.now, self.folder = NOW, folder
        self.limits: dict[str, int] = {}
        self.keys = {"first": generate_key(), "second": generate_key()}
        self.kid = {name: thumbprint(key) for name, key in self.keys.items()}
        self.first, self.second = self.phone("first"), self.phone("second")
        self.cash: dict[str, Any] = {
            "receipt_numbers": [{"number": f"B-{place:05d}", "code": f"CODE{place}", "bank_id": BANK} for place in range(1, 6)],
            "authorisations": [], "revocations": {"taken": format_utc(NOW - timedelta(hours=2)), "jtis": []}, "carried_fen": 0,
            "blocked": 0, "overdue": 0, "booked": [],
        }

    def phone(self, name: str) -> Phone:
        address = "http://nowhere.invalid"
        link = Link(httpx.Client(transport=NoServer(), base_url=address), address, self.keys[name], lambda: self.now)
        path = self.folder / f"{name}.sqlite" if self.folder else None
        return Phone(link, Notebook(path), staff_id=f"staff-{name}", tenant="t", clock=lambda: self.now)

    def token(self, key: PrivateKey = BANK_KEY, **changes: Any) -> str:
        claims: JsonObject = {
            "iss": BANK, "jti": "A-1", "agency": "fieldvisit", "request": "r-1", "case": CASE, "devices": sorted(self.kid.values()),
            "instruments": ["cash"], "cap_fen": 300_000, "max_collections": 2, "circumstance": "remote_area", "account_digest": "0" * 64,
            "iat": int((NOW - timedelta(hours=1)).timestamp()), "exp": int((NOW + timedelta(hours=8)).timestamp()),
        }
        return compact_sign(claims | changes, key, typ="cash-authorisation+jwt", kid=thumbprint(key))

    def carry(self, *tokens: str, jti: str = "A-1", case: str = CASE, remaining_fen: int = 300_000, remaining: int = 2) -> None:
        """Put authorisations into the day bundle and let the phones keep it, signed as the server signs it."""
        self.cash["authorisations"] = [
            {"jti": jti, "case_id": case, "token": token, "remaining_fen": remaining_fen, "remaining_collections": remaining} for token in tokens]
        self.keep()

    def keep(self) -> None:
        server = generate_key()
        for mine, theirs in (("first", "second"), ("second", "first")):
            document = {
                "cash": copy.deepcopy(self.cash), "policy": {"carry_limit_fen": 500_000, "revocation_age_s_max": 86_400},
                "pair": {"partner": {"kid": self.kid[theirs]}},
                "banks": [
                    {"bank_id": BANK, "keys": [{"kid": thumbprint(BANK_KEY), "jwk": public_jwk(BANK_KEY)}], "limits": self.limits},
                    {"bank_id": OTHER_BANK, "keys": [{"kid": thumbprint(FOREIGN_KEY), "jwk": public_jwk(FOREIGN_KEY)}]},
                ],
            }
            phone = self.first if mine == "first" else self.second
            phone.notebook.note("bundle", compact_sign(document, server, typ="day-bundle+jws", kid=thumbprint(server)))
            phone.notebook.mark_booked(self.cash["booked"])

    def wish(self, amount_fen: int = 200_000, **changes: Any) -> CashWish:
        return CashWish(**({"case": CASE, "bank": BANK, "jti": "A-1", "amount_fen": amount_fen} | changes))

    def refusal(self, amount_fen: int = 200_000, *, phone: Phone | None = None, **changes: Any) -> frozenset[str]:
        with pytest.raises(TakeNothing) as raised:
            (phone or self.first).may_take(self.wish(amount_fen, **changes))
        return raised.value.codes

    def take(self, amount_fen: int, phone: Phone | None = None) -> str:
        """Take money as told, on paper, signed by both; returns the digest."""
        phone = phone or self.first
        other = self.second if phone is self.first else self.first
        leave = phone.may_take(self.wish(amount_fen))
        facts = CashReceiptFacts(
            receipt_number=leave.receipt_number, amount_fen=amount_fen, amount_capitals=to_capitals(amount_fen), instrument=Instrument.CASH,
            payer=PayerRelation.DEBTOR, payer_name_sha256="0" * 64, authorisation_jti=leave.jti, previous_receipt=leave.previous_receipt,
            denominations=(Denomination(face_fen=amount_fen, count=1),))
        digest = phone.state(self.door(other), facts)
        phone.add_witness(digest, other.witness(phone.shown(digest)))
        return digest

    def door(self, partner: Phone) -> Door:
        return Door(visit="v-1", visit_version=1, case=CASE, bank=BANK, partner=partner.staff_id, partner_kid=partner.kid)


@pytest.fixture
def hand() -> Hand:
    hand = Hand()
    hand.carry(hand.token())
    return hand


def test_CASH_04_a_good_token_is_accepted_without_a_server(hand: Hand) -> None:
    leave = hand.first.may_take(hand.wish())
    assert (leave.jti, leave.receipt_number, leave.receipt_code, leave.previous_receipt) == ("A-1", "B-00001", "CODE1", "0" * 64)
    assert (leave.remaining_fen, leave.carry_left_fen) == (100_000, 300_000)


def test_CASH_01_a_phone_without_bundle_or_token_takes_nothing() -> None:
    hand = Hand()
    with pytest.raises(TakeNothing):
        hand.first.may_take(hand.wish())
    hand.keep()
    assert hand.refusal() == {"cash-not-authorised"}


def test_CASH_04_an_expired_token_is_refused_from_its_last_second_on(hand: Hand) -> None:
    hand.now = NOW + timedelta(hours=8) - timedelta(milliseconds=1)
    hand.first.may_take(hand.wish())
    hand.now = NOW + timedelta(hours=8)
    assert hand.refusal() == {"authorisation-expired"}


def test_CASH_04_a_token_of_the_future_is_refused(hand: Hand) -> None:
    hand.carry(hand.token(iat=int((NOW + timedelta(hours=1)).timestamp())))
    assert hand.refusal() == {"cash-not-authorised"}


def test_CASH_04_a_clock_put_back_revives_no_token(hand: Hand) -> None:
    hand.now = NOW - timedelta(hours=3)
    assert "clock-behind" in hand.refusal()


def test_CASH_01_another_pairs_token_is_refused(hand: Hand) -> None:
    hand.carry(hand.token(devices=sorted([hand.kid["first"], "x" * 43])))
    assert hand.refusal() == {"cash-not-authorised"}


def test_CASH_01_another_cases_token_is_refused(hand: Hand) -> None:
    assert hand.refusal(case=OTHER_CASE) == {"cash-not-authorised"}
    hand.carry(hand.token(case=OTHER_CASE))
    assert hand.refusal() == {"cash-not-authorised"}


def test_CASH_04_only_a_pinned_key_of_the_cases_own_bank_signs(hand: Hand) -> None:
    foreign = (hand.token(FOREIGN_KEY), hand.token(FOREIGN_KEY, iss=OTHER_BANK))
    for token in (*foreign, hand.token(generate_key()), hand.token()[:-6] + "AAAAAA", "a.b.c"):
        hand.carry(token)
        assert hand.refusal() == {"token-not-the-banks"}
    hand.carry(hand.token(iss=OTHER_BANK))
    assert hand.refusal() == {"cash-not-authorised"}


def test_CASH_01_over_the_cap_is_refused_to_the_fen(hand: Hand) -> None:
    assert hand.first.may_take(hand.wish(300_000)).remaining_fen == 0
    assert hand.refusal(300_001) == {"cap-exceeded"}
    hand.carry(hand.token(), remaining_fen=10**9)
    assert hand.refusal(300_001) == {"cap-exceeded"}, "the bank's signed cap stands above what any server says"
    hand.carry(hand.token(), remaining_fen=50_000)
    assert hand.refusal(50_001) == {"cap-exceeded"}


def test_CASH_01_a_replayed_token_is_refused_even_after_a_reboot(tmp_path: Path) -> None:
    hand = Hand(tmp_path)
    hand.carry(hand.token(max_collections=1), remaining=1)
    hand.take(100_000)
    assert hand.refusal(100_000) == {"authorisation-exhausted"}
    hand.carry(hand.token(max_collections=1), remaining=1)
    assert hand.refusal(100_000) == {"authorisation-exhausted"}, "the same bundle fetched again gives nothing back"
    again = hand.phone("first")
    assert hand.refusal(100_000, phone=again) == {"authorisation-exhausted"}
    assert hand.refusal(100_000, phone=hand.second) >= {"authorisation-exhausted"}, "the partner's phone counts what it witnessed"


def test_CASH_01_no_figure_of_a_server_stretches_what_the_bank_signed(hand: Hand) -> None:
    hand.carry(hand.token(max_collections=1), remaining=9, remaining_fen=10**9)
    hand.take(200_000)
    assert hand.refusal(100_000) == {"authorisation-exhausted"}
    hand.carry(hand.token(), remaining=9, remaining_fen=10**9)
    hand.cash["booked"] = [one.digest for one in hand.first.notebook.taken()]
    hand.keep()
    assert hand.refusal(100_001) == {"cap-exceeded"}, "also what a server says that it has booked"
    assert hand.first.may_take(hand.wish(100_000)).remaining_fen == 0


def test_CASH_01_a_revoked_token_is_refused(hand: Hand) -> None:
    hand.cash["revocations"]["jtis"] = ["A-1"]
    hand.keep()
    assert hand.refusal() == {"authorisation-revoked"}


def test_CASH_01_without_a_fresh_revocation_list_there_is_no_cash(hand: Hand) -> None:
    taken = NOW - timedelta(hours=2)
    hand.carry(hand.token(exp=int((NOW + timedelta(days=3)).timestamp())))
    hand.now = taken + timedelta(seconds=86_400)
    hand.first.may_take(hand.wish())
    hand.now += timedelta(seconds=1)
    assert hand.refusal() == {"revocations-stale"}


@pytest.mark.parametrize("instrument", ["personal_transfer", "cash_cheque", "other_property", "wechat"])
def test_CASH_02_an_instrument_that_the_bank_did_not_name_is_refused(hand: Hand, instrument: str) -> None:
    assert hand.refusal(instrument=instrument) == {"cash-not-authorised"}


def test_CASH_02_no_signature_makes_a_personal_transfer_right(hand: Hand) -> None:
    hand.carry(hand.token(instruments=["cash", "personal_transfer"]))
    assert hand.refusal(instrument="personal_transfer") == {"cash-not-authorised"}


def test_CASH_08_the_carry_cap_counts_what_no_server_has_seen(hand: Hand) -> None:
    hand.cash["carried_fen"] = 250_000
    hand.carry(hand.token(cap_fen=10**6, max_collections=9), remaining_fen=10**6, remaining=9)
    assert hand.refusal(250_001) == {"carry-limit"}
    digest = hand.take(150_000)
    assert hand.first.unsynced_fen() == hand.second.unsynced_fen() == 150_000
    assert hand.refusal(100_001) == {"carry-limit"}
    hand.cash |= {"booked": [digest], "carried_fen": 400_000}
    hand.keep()
    assert hand.first.unsynced_fen() == hand.second.unsynced_fen() == 0
    assert hand.refusal(100_001) == {"carry-limit"}
    hand.cash |= {"booked": [], "carried_fen": 0}
    hand.keep()
    assert hand.first.unsynced_fen() == 0, "once booked is booked for ever"


def test_CASH_08_the_banks_own_limits_stand_above_the_agencys(hand: Hand) -> None:
    hand.limits = {"carry_limit_fen": 150_000, "revocation_age_s_max": 3_600}
    hand.keep()
    assert hand.refusal() == {"carry-limit", "revocations-stale"}
    assert hand.refusal(bank=OTHER_BANK) >= {"token-not-the-banks"}
    hand.limits = {"carry_limit_fen": 150_000}
    hand.keep()
    assert hand.first.may_take(hand.wish(150_000)).carry_left_fen == 0


def test_CASH_05_numbers_run_in_order_and_are_used_once(hand: Hand) -> None:
    first = hand.take(100_000)
    leave = hand.first.may_take(hand.wish(100_000))
    assert (leave.receipt_number, leave.previous_receipt) == ("B-00002", first)
    hand.first.state(hand.door(hand.second), VoidFacts(receipt_number="B-00002", reason="spoiled", previous_receipt=first, all_parts_kept=True))
    leave = hand.first.may_take(hand.wish(100_000))
    assert (leave.receipt_number, leave.previous_receipt) == ("B-00003", first), "a void uses its number and no link of money"
    hand.cash["receipt_numbers"] = hand.cash["receipt_numbers"][:2]
    hand.keep()
    assert hand.refusal(100_000) == {"receipt-number-not-leased"}
    hand.cash["receipt_numbers"] = [{"number": "C-1", "code": "X", "bank_id": OTHER_BANK}]
    hand.keep()
    assert hand.refusal(100_000) == {"receipt-number-not-leased"}, "another bank's book"


def test_CASH_06_the_blocked_and_the_late_take_nothing(hand: Hand) -> None:
    hand.cash |= {"blocked": 1, "overdue": 2}
    hand.keep()
    assert hand.refusal() == {"collector-blocked", "deposit-overdue"}


def test_CONT_08_only_the_debtor_or_the_person_whom_the_bank_named_pays(hand: Hand) -> None:
    assert hand.refusal(payer="other") == {"payer-not-named"}
    assert hand.refusal(payer="named_person", payer_name="王小明") == {"payer-not-named"}
    hand.carry(hand.token(payer={"relation": "spouse", "name_sha256": payer_digest("A-1", "王小明")}))
    assert hand.refusal(payer="named_person", payer_name="王大明") == {"payer-not-named"}
    assert hand.refusal(payer="named_person") == {"payer-not-named"}
    leave = hand.first.may_take(hand.wish(payer="named_person", payer_name="王小明"))
    assert leave.payer_digest == payer_digest("A-1", "王小明")


def test_everything_that_speaks_against_it_is_told_at_once(hand: Hand) -> None:
    hand.cash |= {"blocked": 1, "receipt_numbers": []}
    hand.carry(hand.token(exp=int((NOW - timedelta(minutes=1)).timestamp())))
    assert hand.refusal(600_000) == {"collector-blocked", "receipt-number-not-leased", "authorisation-expired", "cap-exceeded", "carry-limit"}
