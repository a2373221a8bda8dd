"""Whether evidence may be destroyed, and who may approve originals to leave. Pure."""

from datetime import datetime, timedelta

import msgspec

from backend.archive.model import KeptItem
from backend.auth.actors import Role
from backend.core.ids import StaffId
from backend.core.rulebook import Breach, Rule
from evidence.manifest import Role as ItemRole

RECORDINGS = frozenset({ItemRole.AUDIO, ItemRole.VIDEO})


class DestructionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What stands for or against the end of a case's evidence."""

    now: datetime
    is_case_over: bool
    open_holds: int
    items: tuple[KeptItem, ...]
    proposed_by: StaffId | None = None           # None while it is proposed.
    decided_by: StaffId | None = None


def kept_until(item: KeptItem) -> datetime | None:
    """Return until when a file is kept: its stored term, and for a recording at least what the bank demands today. None: no end."""
    if item.until_at is None:
        return None
    floor = item.ended_at + timedelta(days=item.floor_days) if item.role in RECORDINGS else item.until_at
    return max(item.until_at, floor)


def judge_destruction(facts: DestructionFacts) -> tuple[Breach, ...]:
    """Judge the end of a case's evidence: the floor for recordings, the term of all else, holds, two people."""
    found: list[Breach] = []
    terms = [(item, kept_until(item)) for item in facts.items]
    too_early = [until for item, until in terms if item.role in RECORDINGS and (until is None or until > facts.now)]
    if too_early:
        last = max((until for until in too_early if until is not None), default=None)
        got = f"until {last:%Y-%m-%d}" if last else "no term"
        found.append(Breach(rule=Rule.EVD_02, code="recording-kept", expected="a term that is over", got=got, problem="retention-active"))
    others = [until for item, until in terms if item.role not in RECORDINGS and (until is None or until > facts.now)]
    if others:
        last = max((until for until in others if until is not None), default=None)
        got = "no term is set" if None in others else f"until {last:%Y-%m-%d}"
        found.append(Breach(rule=Rule.EVD_09, code="evidence-kept", expected="a term that is over", got=got, problem="retention-active"))
    if facts.open_holds:
        found.append(Breach(rule=Rule.EVD_09, code="legal-hold", expected="no legal hold in force", got=str(facts.open_holds), problem="legal-hold"))
    if not facts.is_case_over:
        found.append(Breach(rule=Rule.EVD_09, code="case-open", expected="a case that is closed", got="an open one"))
    if facts.decided_by is not None and facts.decided_by == facts.proposed_by:
        found.append(Breach(rule=Rule.EVD_09, code="one-person", expected="two people", got="one"))
    return tuple(found)


def judge_approval(requested_by: StaffId, first: tuple[StaffId, frozenset[Role]] | None, now: tuple[StaffId, frozenset[Role]]) -> tuple[Breach, ...]:
    """Judge one approval of originals for an outsider: three different people, the general manager among the approvers (ARCH-11)."""
    found: list[Breach] = []
    approver, roles = now
    if approver == requested_by or (first is not None and approver == first[0]):
        found.append(Breach(rule=Rule.ARCH_11, code="one-person", expected="an approver who did nothing in it yet", got="the same person"))
    if first is not None and Role.GENERAL_MANAGER not in first[1] | roles:
        found.append(Breach(rule=Rule.ARCH_11, code="general-manager-missing", expected="the general manager among the approvers", got="neither"))
    return tuple(found)
