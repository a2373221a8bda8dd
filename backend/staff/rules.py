"""Who may be sent to a door: pure judgements over people, papers and equipment."""

from datetime import date
from typing import Protocol

import msgspec

from backend.core.ids import BankId, StaffId
from backend.core.rulebook import Breach, Rule
from backend.staff.model import EquipmentKind


class PairPolicy(Protocol):
    """The thresholds these judgements read; `backend.policies.model.Policy` has them."""

    @property
    def pair_min(self) -> int:
        """How many distinct people a visit takes, at least 2."""

    @property
    def is_lead_required(self) -> bool:
        """Whether one of them must be a qualified lead."""

    @property
    def is_legal_training_required(self) -> bool:
        """Whether an expired legal training keeps a person from the door (TEAM-03)."""


class CredentialFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One work credential; `is_revoked` at the instant that is judged."""

    bank_id: BankId
    valid_from_on: date
    valid_to_on: date
    is_revoked: bool = False


class MemberFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One proposed visitor, on the day of the visit. `field_qualified_to_on` is the last day of the latest qualification."""

    staff_id: StaffId
    is_active: bool
    is_of_the_agency: bool
    credentials: tuple[CredentialFacts, ...]
    field_qualified_to_on: date | None
    is_lead: bool
    legal_training_to_on: date | None = None


class EquipmentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of equipment assigned for the day; never inspected means `is_passed` False."""

    kind: EquipmentKind
    is_passed: bool
    next_due_on: date | None


class PairFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Who is proposed to visit for which bank on which local date, and what they carry."""

    on: date
    bank_id: BankId
    members: tuple[MemberFacts, ...]
    equipment: tuple[EquipmentFacts, ...]
    is_conflicting: bool = False


def judge_pair(facts: PairFacts, policy: PairPolicy) -> tuple[Breach, ...]:
    """Judge whether these people may be sent together for this bank on this day. Empty means yes."""
    return (
        *_judge_number(facts, policy),
        *(breach for member in facts.members for breach in _judge_member(member, facts, policy)),
        *_judge_lead(facts, policy),
        *_judge_equipment(facts),
    )


def judge_credential(credentials: tuple[CredentialFacts, ...], bank_id: BankId, on: date) -> tuple[Breach, ...]:
    """Judge one visitor's credentials for one bank and day; both end days are valid (VIS-06).

    The breach names the nearest miss: another bank's, revoked, expired, not yet valid.
    """
    own = [credential for credential in credentials if credential.bank_id == bank_id]
    faults = [_credential_fault(credential, on) for credential in own]
    if "" in faults:
        return ()
    nearest_first = ("credential-revoked", "credential-expired", "credential-not-yet-valid")
    code = next((fault for fault in nearest_first if fault in faults), "credential-missing")
    return (Breach(Rule.VIS_06, code, expected=f"a credential recognised by the bank and valid on {on}", got=f"{len(own)} of this bank, none valid"),)


def _credential_fault(credential: CredentialFacts, on: date) -> str:
    if credential.is_revoked:
        return "credential-revoked"
    if on > credential.valid_to_on:
        return "credential-expired"
    return "credential-not-yet-valid" if on < credential.valid_from_on else ""


def _judge_number(facts: PairFacts, policy: PairPolicy) -> tuple[Breach, ...]:
    # The same person twice counts as one, and who may not work does not count at all (VIS-01).
    present = {member.staff_id for member in facts.members if member.is_active and member.is_of_the_agency}
    needed = max(2, policy.pair_min)
    breaches = []
    if len(present) < needed:
        breaches.append(Breach(Rule.VIS_01, "too-few-visitors", expected=f"at least {needed} different active employees", got=str(len(present))))
    if facts.is_conflicting:
        breaches.append(Breach(Rule.VIS_01, "pair-excluded", expected="two people who may be sent together", got="an excluded pair"))
    return tuple(breaches)


def _judge_member(member: MemberFacts, facts: PairFacts, policy: PairPolicy) -> tuple[Breach, ...]:
    breaches = []
    if not member.is_of_the_agency:
        breaches.append(Breach(Rule.SEC_02, "visitor-not-of-the-agency", expected="an employee of the agency", got=str(member.staff_id)))
    if not member.is_active:
        breaches.append(Breach(Rule.SEC_02, "visitor-not-active", expected="an active employee", got=str(member.staff_id)))
    breaches += judge_credential(member.credentials, facts.bank_id, facts.on)
    if member.field_qualified_to_on is None or member.field_qualified_to_on < facts.on:
        breaches.append(Breach(
            Rule.TEAM_01, "not-qualified", expected=f"the field-visit qualification, valid on {facts.on}",
            got=f"valid to {member.field_qualified_to_on}" if member.field_qualified_to_on else "none",
        ))
    if policy.is_legal_training_required and (member.legal_training_to_on is None or member.legal_training_to_on < facts.on):
        breaches.append(Breach(
            Rule.TEAM_03, "legal-training-expired", expected=f"legal training valid on {facts.on}",
            got=f"valid to {member.legal_training_to_on}" if member.legal_training_to_on else "none",
        ))
    return tuple(breaches)


def _judge_lead(facts: PairFacts, policy: PairPolicy) -> tuple[Breach, ...]:
    if not policy.is_lead_required or any(member.is_lead for member in facts.members):
        return ()
    return (Breach(Rule.TEAM_01, "no-lead", expected="at least one qualified lead", got="none"),)


def _judge_equipment(facts: PairFacts) -> tuple[Breach, ...]:
    breaches: list[Breach] = []
    for kind in EquipmentKind:
        assigned = [one for one in facts.equipment if one.kind is kind]
        if not assigned:
            breaches.append(Breach(Rule.VIS_04, f"no-{kind.value}", expected=f"{kind.value} equipment assigned for {facts.on}", got="none"))
        elif not any(is_fit(one, facts.on) for one in assigned):
            breaches += judge_equipment(assigned[0], facts.on)
    return tuple(breaches)


def is_fit(equipment: EquipmentFacts, on: date) -> bool:
    """Tell whether the last inspection was passed and the next is not overdue on `on` (the due day itself is in time)."""
    return equipment.is_passed and equipment.next_due_on is not None and on <= equipment.next_due_on


def judge_equipment(equipment: EquipmentFacts, on: date) -> tuple[Breach, ...]:
    """Judge whether one piece of equipment may be assigned for `on` (EVD-04)."""
    if is_fit(equipment, on):
        return ()
    if not equipment.is_passed:
        got = "never inspected" if equipment.next_due_on is None else "the last inspection failed"
        return (Breach(Rule.EVD_04, f"{equipment.kind.value}-not-passed", expected="an inspection passed", got=got),)
    return (Breach(Rule.EVD_04, f"{equipment.kind.value}-overdue", expected=f"next due on or after {on}", got=f"due {equipment.next_due_on}"),)
