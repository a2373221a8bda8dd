"""Judgements about money: may it be taken, was it rightly taken, may it be paid in, does the request say why.

One judgement serves a request for leave and a statement of what happened; for a request both time bounds are now.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import msgspec

from backend.cases.model import Stop
from backend.cases.rules import code_of, judge_stops
from backend.cash.model import AUTHORISABLE, EXPLAINED, AuthorisationTerms, CashRequest, Channel, Instrument, NumberStatus, PayerRelation
from backend.cash.movements import Shortfall
from backend.core.fen import Fen
from backend.core.ids import BankId, CaseId
from backend.core.rulebook import Breach, Rule
from backend.exhibits.model import Standing
from backend.policies.model import Policy

NOT_AUTHORISED, EXPIRED, EXHAUSTED = "cash-not-authorised", "authorisation-expired", "authorisation-exhausted"
NOT_COSIGNED = "cosignature-lapsed"
CAP, ACCOUNT = "cap-exceeded", "account-not-designated"
NOT_LEASED, USED = "receipt-number-not-leased", "receipt-already-used"

UNAUTHORISING = frozenset({NOT_COSIGNED, NOT_AUTHORISED, EXPIRED, EXHAUSTED, CAP, ACCOUNT, "payer-not-named", *map(code_of, Stop)})
"""Codes with which money stands in the books without an authorisation, under an exception number (design decision 7)."""

UNNUMBERED = frozenset({NOT_LEASED, USED})
"""Codes with which a receipt cannot stand under the number printed on it."""


class Doubt(StrEnum):
    """What cannot be decided from the bounds of the true time; a person looks at it."""

    EXPIRY_STRADDLED = "authorisation-may-have-ended"
    REVOCATION_STRADDLED = "authorisation-may-have-been-revoked"
    LOWER_BOUND_UNKNOWN = "time-not-bounded"
    CHAIN_FORKED = "receipt-chain-fork"
    TIME_IMPOSSIBLE = "time-impossible"
    IN_TIME_BY_CLAIM = "in-time-by-claim-alone"
    SLIP_UNSEEN = "slip-not-photographed"
    SLIP_SEEN_BEFORE = "slip-photograph-used-before"


class NumberFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One receipt number as its row stands."""

    status: NumberStatus
    device: str
    bank_id: BankId


class CollectionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly what is read to judge a collection, intended or done. `captured_lower_at` None: the phone was never bounded."""

    terms: AuthorisationTerms | None
    number: NumberFacts | None
    case_id: CaseId
    bank_id: BankId
    devices: frozenset[str]
    capturer_device: str
    instrument: Instrument
    amount_fen: Fen
    payer: PayerRelation
    payer_digest: str | None
    captured_lower_at: datetime | None
    captured_upper_at: datetime
    is_at_visit: bool                        # On a visit that had begun and was not over.
    stops: frozenset[Stop]                   # What had stopped the case at that time: suspended, paid, recalled …
    blocked_count: int                       # Of the pair, blocked by an unresolved exception.
    overdue_count: int                       # Of the pair, holding money past its deposit deadline.
    carried_fen: Fen                         # In the pair's custody before this.


class PaperFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is read to judge the receipt itself."""

    amount_fen: Fen
    amount_capitals: str
    capitals_expected: str
    denominations: tuple[tuple[int, int], ...]
    instrument: Instrument
    has_paper: bool
    roles: frozenset[str]


class OfficeHours(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a named counter or machine took cash when the money is said to have been paid in, and how much at once."""

    is_open: bool
    deposit_fen_max: Fen | None


class DepositFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is read to judge a deposit."""

    bank_id: BankId
    account_digest: str
    designated: frozenset[str]               # Digests of the bank's designated accounts.
    demanded: frozenset[str]                 # Digests that the authorisations of these collections name; empty: any designated one.
    amount_fen: Fen
    taken_fen: Fen                           # Sum of the receipts that the deposit names.
    shortfalls: tuple[Shortfall, ...]
    is_slip_given: bool
    foreign_count: int                       # Named receipts that stand for another bank's money.
    deposited_count: int                     # Named collections that an earlier deposit already holds.
    undone_count: int                        # Named receipts whose taking two people have undone.
    due_at: datetime | None                  # The earliest deadline among them.
    deposited_at: datetime                   # The claim, held within what can be true.
    told_at: datetime                        # The claim came no later than this.
    is_time_possible: bool                   # The claim lies after the last of the money was taken and before it was told.
    is_slip_shown: bool                      # A photograph of the slip is named.
    is_slip_seen_before: bool                # Another deposit names the same photograph.
    channel: Channel
    hours: OfficeHours | None                # Of the named office on that day; None when no office is named.


def judge_request(request: CashRequest) -> tuple[Breach, ...]:
    """Judge whether the bank may be asked: a circumstance from the list and why direct payment is impossible (CASH-03)."""
    if request.is_explained:
        return ()
    return (Breach(Rule.CASH_03, "explanation-missing", expected="why the debtor cannot pay the bank directly", got="nothing"),)


def judge_signatures(*, is_cosigned: bool) -> tuple[Breach, ...]:
    """Judge whether both collectors stand behind the receipt: money told of by one alone was taken without authority (VIS-01)."""
    if is_cosigned:
        return ()
    return (Breach(Rule.VIS_01, NOT_COSIGNED, expected="a receipt signed by both collectors", got="one signature"),)


def judge_authority(facts: CollectionFacts) -> tuple[Breach, ...]:
    """Judge authority alone: REQ-04, CASH-01, CASH-02, CASH-04, CASH-06, CONT-08, and what stopped the case. Empty: the bank's word covers it."""
    found: list[Breach] = []
    if not facts.is_at_visit:
        found.append(Breach(Rule.REQ_04, "not-started", expected="a visit that has begun and is not over", got="no such visit"))
    found.extend(judge_stops(facts.stops))
    if facts.instrument not in AUTHORISABLE:
        found.append(_not_authorised(Rule.CASH_02, "cash, cash cheque or other property", facts.instrument.value))
    terms = facts.terms
    if terms is None:
        return (*found, _not_authorised(Rule.CASH_01, "an authorisation in force", "none"))
    if terms.case_id != facts.case_id or terms.bank_id != facts.bank_id:
        found.append(_not_authorised(Rule.CASH_01, "an authorisation for this case", "another case's"))
    if facts.devices != terms.devices:
        found.append(_not_authorised(Rule.CASH_01, "the pair that the bank named", "another pair"))
    if facts.instrument in AUTHORISABLE and facts.instrument not in terms.instruments:
        found.append(_not_authorised(Rule.CASH_02, ", ".join(sorted(terms.instruments)), facts.instrument.value))
    if not terms.is_account_designated:
        found.append(Breach(Rule.CASH_06, ACCOUNT, expected="an account the bank designates now", got="withdrawn", problem=ACCOUNT))
    is_named = terms.payer_digest is not None and facts.payer_digest == terms.payer_digest
    if facts.payer is PayerRelation.OTHER or (facts.payer is PayerRelation.NAMED_PERSON and not is_named):
        found.append(Breach(Rule.CONT_08, "payer-not-named", expected="the debtor, or a person the authorisation names", got=facts.payer.value))
    return (*found, *_judge_limits(facts, terms), *_judge_time(facts, terms))


def _judge_limits(facts: CollectionFacts, terms: AuthorisationTerms) -> Iterable[Breach]:
    if terms.collected_count >= terms.collections_max:
        yield Breach(Rule.CASH_01, EXHAUSTED, expected=f"at most {terms.collections_max}", got=str(terms.collected_count + 1), problem=EXHAUSTED)
    left = terms.cap_fen - terms.collected_fen
    if facts.amount_fen > left:
        yield Breach(Rule.CASH_01, CAP, expected=f"at most {left} fen", got=f"{facts.amount_fen} fen", problem=CAP)


def _judge_time(facts: CollectionFacts, terms: AuthorisationTerms) -> Iterable[Breach]:
    # The consent comes first (CASH-04): granted before the earliest moment at which the money can have been taken.
    earliest = facts.captured_lower_at or facts.captured_upper_at
    if terms.granted_at >= earliest:
        yield _not_authorised(Rule.CASH_04, "granted before the money is taken", "granted afterwards")
    if terms.revoked_at is not None and terms.revoked_at <= earliest:
        yield _not_authorised(Rule.CASH_01, "an authorisation in force", "revoked")
    if terms.expires_at <= earliest:
        yield Breach(Rule.CASH_04, EXPIRED, expected="taken before the authorisation ends", got="taken afterwards", problem=EXPIRED)


def judge_number(number: NumberFacts | None, device: str, bank_id: BankId) -> tuple[Breach, ...]:
    """Judge whether the receipt may stand under its printed number (CASH-05). A suspended number is welcome late."""
    if number is None or number.device != device or number.bank_id != bank_id:
        return (Breach(Rule.CASH_05, NOT_LEASED, expected="a number leased to this phone for this bank", got="not leased", problem=NOT_LEASED),)
    if number.status not in (NumberStatus.LEASED, NumberStatus.SUSPENDED):
        return (Breach(Rule.CASH_05, USED, expected="a number not used before", got=number.status.value, problem=USED),)
    return ()


def judge_carrying(facts: CollectionFacts, policy: Policy) -> tuple[Breach, ...]:
    """Judge what the pair already carries: blocked by an exception, late with a deposit, above the carry cap (CASH-06, CASH-08)."""
    found: list[Breach] = []
    if facts.blocked_count:
        found.append(Breach(Rule.CASH_01, "collector-blocked", expected="no open exception or hint of the pair", got=str(facts.blocked_count)))
    if facts.overdue_count:
        found.append(Breach(Rule.CASH_06, "deposit-overdue", expected="no deposit of the pair overdue", got=str(facts.overdue_count)))
    if facts.carried_fen + facts.amount_fen > policy.carry_limit_fen:
        got = f"{facts.carried_fen + facts.amount_fen} fen"
        found.append(Breach(Rule.CASH_08, "carry-limit", expected=f"at most {policy.carry_limit_fen} fen carried", got=got))
    return tuple(found)


def judge_free_number(number: NumberFacts | None, device: str, bank_id: BankId) -> tuple[Breach, ...]:
    """Judge whether a number may be used from now on: as `judge_number`, and not suspended with a lost phone."""
    if number is not None and number.status is NumberStatus.SUSPENDED:
        return judge_number(None, device, bank_id)
    return judge_number(number, device, bank_id)


def judge_intent(facts: CollectionFacts, policy: Policy) -> tuple[Breach, ...]:
    """Judge a request for leave to take money: everything at once, empty means go ahead."""
    return (*judge_authority(facts), *judge_free_number(facts.number, facts.capturer_device, facts.bank_id), *judge_carrying(facts, policy))


def judge_paper(facts: PaperFacts) -> tuple[Breach, ...]:
    """Judge the receipt: one amount in figures, capitals and notes (CASH-07), paper in the payer's hand (CASH-05)."""
    found: list[Breach] = []
    if facts.amount_capitals != facts.capitals_expected:
        found.append(Breach(Rule.CASH_07, "capitals-differ", expected="capitals of the same amount", got="another amount"))
    counted_fen = sum(face_fen * count for face_fen, count in facts.denominations)
    if facts.instrument is Instrument.CASH and counted_fen != facts.amount_fen:
        got = f"{counted_fen} fen counted"
        found.append(Breach(Rule.CASH_07, "receipt-not-equal-to-amount", expected=f"{facts.amount_fen} fen on the receipt", got=got))
    if not facts.has_paper or "counterfoil" not in facts.roles:
        found.append(Breach(Rule.CASH_05, "counterfoil-missing", expected="paper given and its counterfoil photographed", got="missing"))
    if "payer_signature" not in facts.roles:
        found.append(Breach(Rule.CASH_05, "payer-signature-missing", expected="the payer's signature", got="missing"))
    return tuple(found)


def doubts_of(facts: CollectionFacts, *, is_chain_forked: bool) -> tuple[Doubt, ...]:
    """Tell what the time bounds and the receipt chain leave open. A link that has not arrived yet is no doubt: late arrival is welcome.

    Args:
        is_chain_forked: Another receipt of this phone follows the same previous one.
    """
    found: list[Doubt] = []
    terms = facts.terms
    if facts.captured_lower_at is None:
        found.append(Doubt.LOWER_BOUND_UNKNOWN)
    elif terms is not None:
        if facts.captured_lower_at < terms.expires_at <= facts.captured_upper_at:
            found.append(Doubt.EXPIRY_STRADDLED)
        if terms.revoked_at is not None and facts.captured_lower_at < terms.revoked_at <= facts.captured_upper_at:
            found.append(Doubt.REVOCATION_STRADDLED)
    if is_chain_forked:
        found.append(Doubt.CHAIN_FORKED)
    return tuple(found)


def judge_handover_time(*, is_time_possible: bool, is_key_ended: bool) -> tuple[Breach, ...]:
    """Judge the claimed time of a hand-over: before it was told, and not one on which a signature's worth depends (CASH-08)."""
    found: list[Breach] = []
    if not is_time_possible:
        found.append(Breach(Rule.CASH_08, "handover-time-impossible", expected="handed over before it was told", got="a later time"))
    if is_key_ended:
        found.append(Breach(Rule.CASH_08, "handover-key-ended", expected="a key in force when it was told", got="a key that ended in between"))
    return tuple(found)


def judge_deposit(facts: DepositFacts) -> tuple[Breach, ...]:
    """Judge a deposit: to the designated account (CASH-06), whole and gross (CASH-07, CASH-09), once, in time, with its slip (CASH-08)."""
    found: list[Breach] = []
    is_designated = facts.account_digest in facts.designated
    if not is_designated or (facts.demanded and facts.demanded != {facts.account_digest}):
        got = "another account of the bank" if is_designated else "an account the bank never designated"
        found.append(Breach(Rule.CASH_06, ACCOUNT, expected="the account of the authorisation", got=got, problem=ACCOUNT))
    short_fen = sum(shortfall.amount_fen for shortfall in facts.shortfalls)
    assert all(shortfall.kind in EXPLAINED for shortfall in facts.shortfalls)
    if facts.amount_fen + short_fen != facts.taken_fen:
        got = f"{facts.amount_fen + short_fen} fen"
        found.append(Breach(Rule.CASH_09, "deposit-not-gross", expected=f"{facts.taken_fen} fen, all that was receipted", got=got))
    if facts.foreign_count:
        found.append(Breach(Rule.CASH_08, "foreign-money", expected="receipts of this bank alone", got=str(facts.foreign_count)))
    if facts.deposited_count:
        found.append(Breach(Rule.CASH_08, "already-deposited", expected="each collection deposited once", got=str(facts.deposited_count)))
    if facts.undone_count:
        found.append(Breach(Rule.CASH_08, "receipt-undone", expected="receipts that stand", got=str(facts.undone_count)))
    if not facts.is_slip_given:
        found.append(Breach(Rule.CASH_06, "slip-missing", expected="the number of the deposit slip", got="missing"))
    found += _judge_office(facts)
    if facts.due_at is not None and facts.deposited_at > facts.due_at:
        found.append(Breach(Rule.CASH_06, "deposit-late", expected="paid in before the deadline", got="later"))
    return tuple(found)


def _judge_office(facts: DepositFacts) -> Iterable[Breach]:
    """Judge channel and hours (F12). A sealed bag needs no open counter."""
    if facts.hours is None or facts.channel is Channel.SEALED_BAG:
        return
    if not facts.hours.is_open:
        yield Breach(Rule.CASH_06, "office-closed", expected="an office that takes cash at that hour", got="closed")
    if facts.channel is Channel.MACHINE and facts.hours.deposit_fen_max is not None and facts.amount_fen > facts.hours.deposit_fen_max:
        got = f"{facts.amount_fen} fen"
        yield Breach(Rule.CASH_06, "machine-limit", expected=f"at most {facts.hours.deposit_fen_max} fen at once", got=got)


def doubts_of_deposit(facts: DepositFacts) -> tuple[Doubt, ...]:
    """Tell what a deposit leaves open: a time that cannot be true, lateness that hangs on the claim alone, no picture of the slip, a used one."""
    found: list[Doubt] = []
    if not facts.is_time_possible:
        found.append(Doubt.TIME_IMPOSSIBLE)
    if facts.due_at is not None and facts.deposited_at <= facts.due_at < facts.told_at:
        found.append(Doubt.IN_TIME_BY_CLAIM)
    if not facts.is_slip_shown:
        found.append(Doubt.SLIP_UNSEEN)
    if facts.is_slip_seen_before:
        found.append(Doubt.SLIP_SEEN_BEFORE)
    return tuple(found)


LATE_ONLY = frozenset({"deposit-late"})
"""A late deposit is better than none: it is judged, never refused."""

UNBOOKABLE = frozenset({ACCOUNT, "foreign-money", "already-deposited", "receipt-undone"})
"""Codes with which a reported deposit moves no money: the depositor still answers for it."""


def is_unbookable(breaches: tuple[Breach, ...], facts: DepositFacts) -> bool:
    """Tell whether a reported deposit moves no money: by its breaches, or since more than was receipted, or nothing, is said to be paid in."""
    accounted_fen = facts.amount_fen + sum(one.amount_fen for one in facts.shortfalls)
    is_hollow = accounted_fen > facts.taken_fen or (not facts.amount_fen and accounted_fen < facts.taken_fen)
    return any(breach.code in UNBOOKABLE for breach in breaches) or (bool(breaches) and is_hollow)


def standing_after(breaches: tuple[Breach, ...], doubts: tuple[Doubt, ...], evidence: Standing) -> Standing:
    """Return how the statement stands: what the evidence itself showed weighs first, then breaches, then doubts."""
    if evidence is Standing.QUARANTINED:
        return Standing.QUARANTINED
    if breaches:
        return Standing.BREACH
    return Standing.DOUBTFUL if doubts and evidence is Standing.ACCEPTED else evidence


def _not_authorised(rule: Rule, expected: str, got: str) -> Breach:
    return Breach(rule, NOT_AUTHORISED, expected=expected, got=got, problem=NOT_AUTHORISED)
