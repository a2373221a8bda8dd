"""What a plan can break: stable codes with rule ids, and what forbids a pair, or a pair at a visit, whatever the time.

Shares no code with any engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from routing.model import Collector, Gender, GenderRule, Instance, Visit


class Code(StrEnum):
    """Stable names of what can be wrong with a plan."""

    PLAN_SCHEMA = "plan_schema"
    PLAN_INSTANCE = "plan_instance"
    TOO_MANY_PAIRS = "too_many_pairs"
    PAIR_SIZE = "pair_size"
    COLLECTOR_UNKNOWN = "collector_unknown"
    COLLECTOR_TWICE = "collector_twice"
    COLLECTOR_UNAVAILABLE = "collector_unavailable"
    PAIR_CONFLICT = "pair_conflict"
    NO_LEAD = "no_lead"
    PAIR_ROTATION = "pair_rotation"
    SHIFTS_APART = "shifts_apart"
    DEPARTS_EARLY = "departs_early"
    RETURNS_LATE = "returns_late"
    STOP_UNKNOWN = "stop_unknown"
    VISIT_TWICE = "visit_twice"
    NOT_APPROVED = "not_approved"
    BEFORE_APPROVAL = "before_approval"
    COLLECTOR_EXCLUDED = "collector_excluded"
    CERT_MISSING = "cert_missing"
    LANGUAGE_MISSING = "language_missing"
    FEMALE_MISSING = "female_missing"
    NOT_MIXED = "not_mixed"
    OUTSIDE_HOURS = "outside_hours"
    OUTSIDE_WINDOW = "outside_window"
    BANK_CLOSED = "bank_closed"
    STARTS_BEFORE_ARRIVAL = "starts_before_arrival"
    TIME_WRONG = "time_wrong"
    CARRY_LIMIT = "carry_limit"
    CASH_KEPT = "cash_kept"
    CASH_MIXED = "cash_mixed"
    DEPOSIT_FOREIGN = "deposit_foreign"
    UNSERVED_LIST = "unserved_list"
    LOCKED_CHANGED = "locked_changed"
    PIN_BROKEN = "pin_broken"
    DEBTOR_TWICE = "debtor_twice"
    CREDENTIAL_MISSING = "credential_missing"
    RELEASE_LATE = "release_late"
    BREAK_MISSED = "break_missed"
    PAUSE_MISPLACED = "pause_misplaced"


RULES: dict[Code, str] = {
    Code.PLAN_SCHEMA: "REQ-04", Code.PLAN_INSTANCE: "REQ-04", Code.TOO_MANY_PAIRS: "REQ-06", Code.PAIR_SIZE: "VIS-01",
    Code.COLLECTOR_UNKNOWN: "VIS-01", Code.COLLECTOR_TWICE: "VIS-01", Code.COLLECTOR_UNAVAILABLE: "REQ-09", Code.PAIR_CONFLICT: "REQ-06",
    Code.NO_LEAD: "TEAM-01", Code.PAIR_ROTATION: "REQ-06", Code.SHIFTS_APART: "REQ-09", Code.DEPARTS_EARLY: "REQ-09",
    Code.RETURNS_LATE: "REQ-09", Code.STOP_UNKNOWN: "REQ-04", Code.VISIT_TWICE: "CONT-05", Code.NOT_APPROVED: "REQ-03",
    Code.BEFORE_APPROVAL: "REQ-03", Code.COLLECTOR_EXCLUDED: "VIS-06", Code.CERT_MISSING: "VIS-06", Code.LANGUAGE_MISSING: "TEAM-01",
    Code.FEMALE_MISSING: "VIS-18", Code.NOT_MIXED: "VIS-18", Code.OUTSIDE_HOURS: "VIS-10", Code.OUTSIDE_WINDOW: "REQ-04",
    Code.BANK_CLOSED: "CASH-06", Code.STARTS_BEFORE_ARRIVAL: "REQ-04", Code.TIME_WRONG: "REQ-04", Code.CARRY_LIMIT: "CASH-08",
    Code.CASH_KEPT: "CASH-06", Code.UNSERVED_LIST: "REQ-04", Code.LOCKED_CHANGED: "REQ-04",
    Code.PIN_BROKEN: "REQ-04", Code.DEBTOR_TWICE: "CONT-05", Code.CREDENTIAL_MISSING: "VIS-06", Code.RELEASE_LATE: "CASH-06",
    Code.CASH_MIXED: "CASH-08", Code.DEPOSIT_FOREIGN: "CASH-06", Code.BREAK_MISSED: "REQ-09", Code.PAUSE_MISPLACED: "REQ-09",
}


def pair_faults(instance: Instance, a: Collector, b: Collector) -> Iterator[tuple[Code, str, str]]:
    """Yield (code, subject, message) for everything that forbids these two from working together today."""
    rule, names = instance.pairing, f"{a.id}+{b.id}"
    if a.id == b.id:
        yield Code.PAIR_SIZE, a.id, "a pair needs two different collectors"
    for one in (a, b):
        if not one.available:
            yield Code.COLLECTOR_UNAVAILABLE, one.id, f"{one.id} is not available"
    both = {a.id, b.id}
    if any(set(conflict) == both for conflict in rule.conflicts):
        yield Code.PAIR_CONFLICT, names, "these two must not work together"
    for pair in rule.fixed:
        if len(set(pair) & both) == 1:
            yield Code.PAIR_CONFLICT, names, f"{' and '.join(pair)} work with each other today or not at all"
    if rule.require_lead and not (a.lead or b.lead):
        yield Code.NO_LEAD, names, "no member is licensed to lead"
    days = rule.max_consecutive_days
    recent = [day for day in rule.history if day.days_ago <= days]
    if len(recent) >= days and all(any(set(pair) == both for pair in day.pairs) for day in recent):
        yield Code.PAIR_ROTATION, names, f"worked together on each of the last {days} days"
    if max(a.shift[0], b.shift[0]) >= min(a.shift[1], b.shift[1]):
        yield Code.SHIFTS_APART, names, "the shifts do not overlap"


def visit_faults(visit: Visit, a: Collector, b: Collector) -> Iterator[tuple[Code, str]]:
    """Yield (code, message) for everything that forbids this pair to make this visit, whatever the time."""
    genders = {a.gender, b.gender}
    if not visit.approval.is_granted:
        yield Code.NOT_APPROVED, f"{visit.id}: the approval is {visit.approval.status}"
    for one in (a, b):
        if one.id in visit.excluded_collectors:
            yield Code.COLLECTOR_EXCLUDED, f"{visit.id}: {one.id} is excluded"
        if visit.credential and visit.credential not in one.credentials:
            yield Code.CREDENTIAL_MISSING, f"{visit.id}: {one.id} holds no credential of {visit.credential}"
    for name in visit.pinned_collectors:
        if name not in (a.id, b.id):
            yield Code.PIN_BROKEN, f"{visit.id}: {name} must be in the pair"
    if visit.required_cert is not None and visit.required_cert not in (*a.certs, *b.certs):
        yield Code.CERT_MISSING, f"{visit.id}: nobody of the pair holds {visit.required_cert}"
    if visit.required_language is not None and visit.required_language not in (*a.languages, *b.languages):
        yield Code.LANGUAGE_MISSING, f"{visit.id}: nobody of the pair speaks {visit.required_language}"
    if visit.gender_rule is GenderRule.FEMALE_PRESENT and Gender.F not in genders:
        yield Code.FEMALE_MISSING, f"{visit.id}: a woman must be present"
    if visit.gender_rule is GenderRule.MIXED and len(genders) < 2:
        yield Code.NOT_MIXED, f"{visit.id}: a woman and a man are needed"
