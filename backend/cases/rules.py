"""What keeps a case from being collected, as breaches. Pure; contacts, requests and visits judge with it."""

from collections.abc import Mapping
from types import MappingProxyType

from backend.cases.model import Field, Stop
from backend.core.i18n import N_
from backend.core.problems import Problem
from backend.core.rulebook import Breach, Rule

ON_HOLD = "case-on-hold"

RULE_OF_STOP: Mapping[Stop, Rule] = MappingProxyType({
    Stop.SUSPENDED: Rule.DECL_01,
    Stop.DECEASED: Rule.CONT_08,     # Nobody but the debtor may be collected from, and the debtor is dead.
    Stop.PAID: Rule.CONT_11,
    Stop.PAYMENT_CLAIMED: Rule.CONT_11,
    Stop.RECALLED: Rule.BANK_03,
    Stop.TERM_OVER: Rule.BANK_02,
    Stop.VULNERABLE: Rule.VIS_11,
    Stop.COMPLAINT: Rule.PERF_11,
    Stop.HOLD: Rule.REQ_08,
    Stop.CLOSED: Rule.CONT_11,
})


class CaseOnHold(Problem):
    """Something stops the case: a denial, a payment, a hold, the end of the mandate … (DECL-01)."""

    status, code, title = 409, ON_HOLD, N_("This case is stopped. Nothing may be asked of the debtor now.")
    explanation = N_("Each breach names what stops it. What was captured before the stop is still taken.")
    finding = "after-hold"


def code_of(stop: Stop) -> str:
    """Return the name of the breach that a stop is."""
    return f"case-{stop.value.replace('_', '-')}"


def judge_stops(stops: frozenset[Stop]) -> tuple[Breach, ...]:
    """Return one breach for everything that stops a case (DECL-01, VIS-11, BANK-02, BANK-03 …)."""
    return tuple(
        Breach(rule=RULE_OF_STOP[stop], code=code_of(stop), expected="a case open for collection", got=stop.value, problem=ON_HOLD)
        for stop in Stop if stop in stops
    )


def judge_confirmations(unconfirmed: frozenset[Field]) -> tuple[Breach, ...]:
    """Return a breach when one of the five is empty or unconfirmed (CONT-02)."""
    if not unconfirmed:
        return ()
    return (Breach(
        rule=Rule.CONT_02, code="unconfirmed", expected="card number, amount, age, identity and occupation confirmed",
        got=", ".join(field.value for field in Field if field in unconfirmed),
    ),)
