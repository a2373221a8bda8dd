"""What the rulebook allows at the door. Pure: facts in, breaches out; empty means clean.

The same judgement serves leave and fact: leave with a breach is refused, a fact with a breach is stored with it (F23).
"""

import hashlib
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any
from uuid import UUID

import msgspec

from backend.cases.model import Stop
from backend.cases.rules import judge_stops
from backend.contacts.model import Channel, ContactFacts
from backend.contacts.rules import judge_contact, judge_hours
from backend.core.i18n import N_
from backend.core.ids import BankId, StaffId
from backend.core.problems import Problem
from backend.core.rulebook import Breach, Rule
from backend.policies.model import Policy
from backend.staff.rules import CredentialFacts, PairFacts, judge_credential, judge_pair
from backend.visits.catalogue import CATALOGUES, Outcome, OutcomeSpec, read_field
from backend.visits.model import Draw, Entry, Identity, Verdict

NOT_OPEN, STALE, NOT_ASSIGNED = "visit-not-open", "visit-version-stale", "signer-not-assigned"


class VisitNotOpen(Problem):
    """A visit that nobody may begin: cancelled, of another day, or no longer asked for (REQ-03, REQ-04)."""

    status, code, title = 409, NOT_OPEN, N_("This visit is not open.")
    explanation = N_("Only a visit of today's published plan, whose request still stands, may begin. Fetch the day's bundle again.")
    finding = code


class VisitVersionStale(Problem):
    """The plan was made anew and serves the same request by another visit (REQ-04)."""

    status, code, title = 409, STALE, N_("The plan has changed: another visit stands in place of this one.")
    explanation = N_("Fetch the day's bundle again and go by it. What was captured under the former visit is still taken.")
    finding = code


class SignerNotAssigned(Problem):
    """Somebody who is not of the pair that the plan names (VIS-01, REQ-04)."""

    status, code, title = 403, NOT_ASSIGNED, N_("Somebody here is not of this visit's pair.")
    explanation = N_("Only the two people whom the published plan names visit this debtor. Ask the dispatcher to plan anew (VIS-01, REQ-04).")
    finding = code


class VisitorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one person who checked in at this door."""

    staff_id: StaffId
    is_planned: bool             # One of the two whom the plan names.
    is_credential_worn: bool
    identity_presented: Identity


class StartFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the start of a visit is judged by.

    `pair` holds those of the planned two who checked in, with papers and equipment as of that moment; `contact` is the visit as
    the guard of every contact sees it.
    """

    pair: PairFacts
    visitors: tuple[VisitorFacts, ...]
    contact: ContactFacts
    is_planned_stop: bool        # A stop of the published plan, not cancelled.
    is_replaced: bool = False    # A later version serves the same request by another visit.
    planned_on: date
    is_request_approved: bool


def judge_start(facts: StartFacts, policy: Policy) -> tuple[Breach, ...]:
    """Judge leave to start, all breaches at once.

    VIS-01, VIS-04, EVD-04, VIS-06, TEAM-01 by the judge of pairs; VIS-10, CONT-02, CONT-05 and whatever stops the case (DECL-01,
    VIS-11 …) by the guard of contacts; VIS-05, VIS-07, REQ-03, REQ-04 here.
    """
    return (
        *judge_pair(facts.pair, policy),
        *(breach for visitor in facts.visitors for breach in _judge_visitor(visitor)),
        *judge_contact(facts.contact, policy),
        *_judge_plan(facts),
    )


def _judge_visitor(visitor: VisitorFacts) -> tuple[Breach, ...]:
    who, breaches = str(visitor.staff_id), []
    if not visitor.is_credential_worn:
        breaches.append(Breach(Rule.VIS_05, "credential-not-worn", expected="worn by both", got=who))
    if visitor.identity_presented is not Identity.AGENCY:
        breaches.append(Breach(Rule.VIS_07, "wrong-identity", expected=Identity.AGENCY.value, got=visitor.identity_presented.value))
    if not visitor.is_planned:
        breaches.append(Breach(Rule.REQ_04, "not-of-the-pair", expected="one of the planned pair", got=who, problem=NOT_ASSIGNED))
    return tuple(breaches)


def _judge_plan(facts: StartFacts) -> tuple[Breach, ...]:
    breaches, on = [], facts.contact.local_at.date()
    if not facts.is_planned_stop:
        got, problem = ("another visit in its place", STALE) if facts.is_replaced else ("none", NOT_OPEN)
        breaches.append(Breach(Rule.REQ_04, "not-planned", expected="a stop of the published plan", got=got, problem=problem))
    elif on != facts.planned_on:
        breaches.append(Breach(Rule.REQ_04, "another-day", expected=facts.planned_on.isoformat(), got=on.isoformat(), problem=NOT_OPEN))
    if not facts.is_request_approved:
        breaches.append(Breach(Rule.REQ_03, "request-not-approved", expected="approved", got="not approved", problem=NOT_OPEN))
    return tuple(breaches)


class CheckInFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one check-in is judged by; `local_time` is that of the visited address."""

    visitor: VisitorFacts
    credentials: tuple[CredentialFacts, ...]
    bank_id: BankId
    planned_on: date
    local_time: time
    is_hour_agreed: bool


def judge_check_in(facts: CheckInFacts, policy: Policy) -> tuple[Breach, ...]:
    """Judge one check-in: the hours at the door, and what this visitor holds, wears and says (VIS-05, VIS-06, VIS-07, VIS-10)."""
    return (
        *_judge_visitor(facts.visitor),
        *judge_credential(facts.credentials, facts.bank_id, facts.planned_on),
        *judge_hours(Channel.VISIT, facts.local_time, policy, is_agreed=facts.is_hour_agreed),
    )


def judge_entry(entry: Entry) -> tuple[Breach, ...]:
    """VIS-02, VIS-03: entering takes a reason, a person who consented, a consent not later than the entry, and evidence of it.

    Whether the named evidence exists is judged at the closing: phones tell facts before they send files.
    """
    missing = [
        name for name, is_given in (
            ("reason", bool(entry.reason and entry.reason.strip())),
            ("consented_by", bool(entry.consented_by and entry.consented_by.strip())),
            ("consented_at", entry.consented_at is not None),
            ("evidence", entry.evidence_item_id is not None),
        ) if not is_given
    ]
    breaches = []
    if missing:
        breaches.append(Breach(Rule.VIS_02, "entered", expected="not entered", got="entered"))
        expected = "reason, person, time and evidence of consent"
        breaches.append(Breach(Rule.VIS_03, "consent-incomplete", expected=expected, got="missing " + ",".join(missing)))
    if entry.consented_at is not None and entry.consented_at > entry.at:
        expected = f"not later than {entry.at.isoformat()}"
        breaches.append(Breach(Rule.VIS_03, "consent-after-entry", expected=expected, got=entry.consented_at.isoformat()))
    return tuple(breaches)


def judge_attempt(attempt: int, policy: Policy) -> tuple[Breach, ...]:
    """F08: at most three tries to confirm the right party; a further one is a guess."""
    if attempt <= policy.right_party_attempts_max:
        return ()
    return (Breach(Rule.CONT_08, "too-many-attempts", expected=f"at most {policy.right_party_attempts_max}", got=str(attempt)),)


class OutcomeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an outcome is judged by."""

    version: int
    code: str
    fields: Mapping[str, Any]
    at: datetime
    is_started: bool
    right_party_at: datetime | None   # The first match within the allowed tries.
    stops: frozenset[Stop]            # As of `at`, not counting what this outcome itself stops.
    stopped_at: datetime | None       # When an earlier fact of this visit stopped it (VIS-11, DECL-01).


def read_outcome(facts: OutcomeFacts) -> tuple[Outcome, OutcomeSpec, dict[str, Any]] | None:
    """Return the outcome that is stored: a promise without amount, date and confirmation is a vague one (CASE-32, EVD-12)."""
    try:
        outcome = Outcome(facts.code)
    except ValueError:
        return None
    catalogue = CATALOGUES[facts.version]
    spec = catalogue[outcome]
    fields = {field.name: read_field(field, facts.fields.get(field.name)) for field in spec.fields}
    if outcome is Outcome.PROMISE and not (fields["amount_fen"] and fields["promised_on"] and fields["is_confirmed"]):
        outcome = Outcome.PROMISE_VAGUE
        spec = catalogue[outcome]
    return outcome, spec, {name: given for name, given in fields.items() if given is not None}


def judge_outcome(facts: OutcomeFacts) -> tuple[Breach, ...]:
    """Judge an outcome: known, complete, after a start, after the right-party check, and not after the visit was stopped."""
    read = read_outcome(facts)
    if read is None:
        return (Breach(Rule.EVD_10, "unknown-outcome", expected=f"catalogue {facts.version}", got=facts.code[:64]),)
    outcome, spec, fields = read
    breaches: list[Breach] = []
    if not facts.is_started:
        breaches.append(Breach(Rule.REQ_04, "not-started", expected="a started visit", got="not started"))
    if spec.needs_right_party and (facts.right_party_at is None or facts.right_party_at > facts.at):
        breaches.append(Breach(Rule.CONT_08, "right-party-unconfirmed", expected="confirmed before a word about the debt", got=outcome.value))
    absent = sorted(field.name for field in spec.fields if field.is_required and field.name not in fields)
    if absent:
        breaches.append(Breach(Rule.EVD_10, "outcome-incomplete", expected=outcome.value, got="missing " + ",".join(absent)))
    if fields.get("is_consent_given") is False and fields.get("information"):
        breaches.append(Breach(Rule.CONT_09, "information-without-consent", expected="consent", got="none"))
    if spec.needs_right_party and not spec.stops_visit:
        breaches.extend(judge_stops(facts.stops))
        if facts.stopped_at is not None and facts.stopped_at < facts.at:
            breaches.append(Breach(Rule.VIS_11, "visit-was-stopped", expected="nothing after the stop", got=outcome.value))
    return tuple(breaches)


class ReportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is judged by."""

    is_entered: bool
    has_entry: bool
    has_outcome: bool
    reasons: str
    attitude: str
    delinquency_reason: str
    financial_situation: str


def judge_report(facts: ReportFacts) -> tuple[Breach, ...]:
    """VIS-02, VIS-12, VIS-13: the entered answer agrees with what was told, the judgement has reasons, the four fields are filled."""
    breaches = []
    if facts.is_entered and not facts.has_entry:
        breaches.append(Breach(Rule.VIS_03, "entry-not-told", expected="reason and consent for the entry", got="none"))
    if not facts.is_entered and facts.has_entry:
        breaches.append(Breach(Rule.VIS_02, "entry-denied", expected="entered", got="not entered"))
    if not facts.reasons.strip():
        breaches.append(Breach(Rule.VIS_12, "reasons-missing", expected="reasons for the judgement", got="none"))
    absent = [name for name in ("attitude", "delinquency_reason", "financial_situation") if not getattr(facts, name).strip()]
    if absent:
        breaches.append(Breach(Rule.VIS_13, "report-incomplete", expected="reason, finances and attitude", got="missing " + ",".join(absent)))
    if not facts.has_outcome:
        breaches.append(Breach(Rule.EVD_10, "outcome-missing", expected="an outcome before the report", got="none"))
    return tuple(breaches)


class ReviewFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor's review is judged by."""

    verdict: Verdict
    is_own_visit: bool
    is_closed: bool
    open_exceptions: frozenset[str]       # Listed at closing and not yet taken by anyone.
    accepted_exceptions: frozenset[str]
    checklist: Mapping[str, bool]
    comment: str


REVIEW_CHECKLIST_VERSION = 1
REVIEW_CHECKLIST = ("two_visitors", "hours", "identity", "right_party", "manner", "entry", "recording", "signatures")


def judge_review(facts: ReviewFacts) -> tuple[Breach, ...]:
    """Judge a review: by another person, over the whole checklist (TEAM-09), and accepting only what is closed or taken on (EVD-01)."""
    breaches = []
    if facts.is_own_visit:
        breaches.append(Breach(Rule.REQ_06, "own-visit", expected="another person's visit", got="own"))
    unanswered = sorted(set(REVIEW_CHECKLIST) - set(facts.checklist))
    if unanswered:
        breaches.append(Breach(Rule.TEAM_09, "checklist-incomplete", expected="every point answered", got="missing " + ",".join(unanswered)))
    if facts.verdict is Verdict.RETURNED and not facts.comment.strip():
        breaches.append(Breach(Rule.TEAM_09, "reason-missing", expected="what the pair must tell anew", got="none"))
    if facts.verdict is Verdict.ACCEPTED:
        if not facts.is_closed:
            breaches.append(Breach(Rule.EVD_01, "not-closed", expected="a closing signed by both", got="none"))
        silent = sorted(facts.open_exceptions - facts.accepted_exceptions)
        if silent:
            breaches.append(Breach(Rule.EVD_01, "exceptions-open", expected="each exception taken on by name", got=",".join(silent)))
        failed = sorted(name for name, is_met in facts.checklist.items() if not is_met)
        if failed and not facts.comment.strip():
            breaches.append(Breach(Rule.TEAM_09, "finding-unexplained", expected="a comment on each point not met", got=",".join(failed)))
    return tuple(breaches)


class DrawFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What decides whether a reported visit is looked at (F05). `log_root` is 64 hex digits, `share_pct` 0 to 100."""

    visit_id: UUID
    reasons: tuple[str, ...]
    log_root: str
    share_pct: int

    def judged(self) -> Draw:
        """Return REQUIRED for any reason, else by lot."""
        if self.reasons:
            return Draw.REQUIRED
        return Draw.DRAWN if ticket_of(self.log_root, self.visit_id) < self.share_pct * 100 else Draw.NOT_DRAWN


def ticket_of(log_root: str, visit_id: UUID) -> int:
    """Return a visit's lot, 0 to 9,999: the first 8 bytes of SHA-256(root ‖ visit id), modulo 10,000."""
    return int.from_bytes(hashlib.sha256(bytes.fromhex(log_root) + visit_id.bytes).digest()[:8], "big") % 10_000
