"""What the codes of planning are called on pages: what changed, why, which rule a plan breaks, why a step is not possible now."""

from collections.abc import Mapping

from backend.core.i18n import N_
from routing.check_rules import Code
from routing.replan import Cause, MoveKind

MOVES: Mapping[str, str] = {
    MoveKind.VISIT_DROPPED: N_("not made today"), MoveKind.VISIT_ADDED: N_("joins the day"), MoveKind.VISIT_MOVED: N_("another pair makes it"),
    MoveKind.TIME_CHANGED: N_("at another time than announced"), MoveKind.DEPOSIT_CHANGED: N_("other deposits"),
    MoveKind.PAIR_FORMED: N_("work together from now on"), MoveKind.PAIR_PARTED: N_("work together no more"),
}
CAUSES: Mapping[str, str] = {
    Cause.COLLECTOR_SICK: N_("a collector is out"), Cause.WITHDRAWN: N_("the visit was withdrawn"), Cause.URGENT: N_("an urgent visit"),
    Cause.PAIR_LATE: N_("the pair is late"), Cause.BANK_CLOSED: N_("an office takes no more cash"),
    Cause.MAKES_ROOM: N_("so that the rest of the day fits best"),
}
TOUCHED: Mapping[str, str] = {
    "withdrawn": CAUSES[Cause.WITHDRAWN], "sick": CAUSES[Cause.COLLECTOR_SICK], "late": CAUSES[Cause.PAIR_LATE],
    "closed": CAUSES[Cause.BANK_CLOSED],
}
VIOLATIONS: Mapping[str, str] = {
    Code.PLAN_SCHEMA: N_("not a plan of this kind"), Code.PLAN_INSTANCE: N_("the plan is of another day"),
    Code.TOO_MANY_PAIRS: N_("more pairs than the day allows"), Code.PAIR_SIZE: N_("a visit needs two different collectors"),
    Code.COLLECTOR_UNKNOWN: N_("this person does not work that day"), Code.COLLECTOR_TWICE: N_("this person is on two routes"),
    Code.COLLECTOR_UNAVAILABLE: N_("this person is not available"), Code.PAIR_CONFLICT: N_("these two must not work together"),
    Code.NO_LEAD: N_("nobody of the pair is licensed to lead"), Code.PAIR_ROTATION: N_("these two worked together as often as allowed"),
    Code.SHIFTS_APART: N_("the shifts of these two do not overlap"), Code.DEPARTS_EARLY: N_("leaves before the shift begins"),
    Code.RETURNS_LATE: N_("returns after the shift ends"), Code.STOP_UNKNOWN: N_("a stop that the day does not know"),
    Code.VISIT_TWICE: N_("the visit is planned twice"), Code.NOT_APPROVED: N_("the visit is not approved"),
    Code.BEFORE_APPROVAL: N_("before the approval takes effect"),
    Code.COLLECTOR_EXCLUDED: N_("a collector of the pair may not make this visit"),
    Code.CERT_MISSING: N_("nobody of the pair holds the certificate that is asked for"),
    Code.LANGUAGE_MISSING: N_("nobody of the pair speaks the language that is asked for"),
    Code.FEMALE_MISSING: N_("a female colleague is asked for"), Code.NOT_MIXED: N_("a mixed pair is asked for"),
    Code.OUTSIDE_HOURS: N_("outside the permitted hours"), Code.OUTSIDE_WINDOW: N_("outside the time in which the visit may begin"),
    Code.BANK_CLOSED: N_("the office is closed then"), Code.STARTS_BEFORE_ARRIVAL: N_("begins before the pair can be there"),
    Code.TIME_WRONG: N_("the route cannot be made in time in this order"), Code.CARRY_LIMIT: N_("more cash than a pair may carry"),
    Code.CASH_KEPT: N_("cash is not deposited in time"), Code.CASH_MIXED: N_("money of two banks in one hand"),
    Code.DEPOSIT_FOREIGN: N_("cash goes to an office of another bank"), Code.UNSERVED_LIST: N_("the visits left out are not told rightly"),
    Code.LOCKED_CHANGED: N_("what is done or under way would change"), Code.PIN_BROKEN: N_("not as it was fixed by hand"),
    Code.DEBTOR_TWICE: N_("a second visit to the same person on one day"),
    Code.CREDENTIAL_MISSING: N_("a credential of the bank is missing"),
    Code.RELEASE_LATE: N_("too late if no cash is taken"), Code.BREAK_MISSED: N_("a break is missing"),
    Code.PAUSE_MISPLACED: N_("a break lies where there is none"),
}
REASONS: Mapping[str, str] = {
    "day-not-running": N_("The day of this plan is not today."), "not-the-published-plan": N_("Another version of this day is published, or none."),
    "day-is-running": N_("Visits of this day have begun. Say what happened instead, and the rest of the day is planned anew."),
    "no-plan-yet": N_("There is no plan yet that could be changed."),
    "ordered-at-the-same-moment": N_("Somebody else made a version at the same moment."),
    "another-version": N_("Another version of this day was made meanwhile. Look at it first."),
    "format-no-longer-read": N_("This version is too old to be changed."),
}
"""Why a step is not possible now, by the reason of a `Conflict`."""
assert set(VIOLATIONS) == set(Code)
assert set(MOVES) == set(MoveKind)
assert set(CAUSES) == set(Cause)
