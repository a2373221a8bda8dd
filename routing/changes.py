"""The smallest changes to a day that would serve a visit left out, and how to apply them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

import msgspec

from routing.model import Approval, GenderRule, Instance, Visit


class ChangeKind(StrEnum):
    APPROVE = "approve"
    GRANT_CERT = "grant_cert"
    GRANT_LANGUAGE = "grant_language"
    DROP_GENDER_RULE = "drop_gender_rule"
    LIFT_EXCLUSIONS = "lift_exclusions"
    WIDEN_WINDOW = "widen_window"
    DROP_CASH = "drop_cash"
    MAKE_MANDATORY = "make_mandatory"
    POSTPONE = "postpone"
    UNPIN = "unpin"
    GRANT_CREDENTIAL = "grant_credential"


GRANTS: Mapping[ChangeKind, str] = MappingProxyType({
    ChangeKind.GRANT_CERT: "certs", ChangeKind.GRANT_LANGUAGE: "languages", ChangeKind.GRANT_CREDENTIAL: "credentials",
})


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One edit: `subject` is the visit, or the collector who is granted `name`; `window` in seconds of the day; `visits` to postpone."""

    kind: ChangeKind
    subject: str
    name: str = ""
    window: tuple[int, int] | None = None
    visits: tuple[str, ...] = ()


def apply_changes(instance: Instance, changes: Sequence[Change]) -> Instance:
    """Return the day with all changes made; the given instance stays as it is."""
    for change in changes:
        instance = _apply(instance, change)
    return instance


def _apply(instance: Instance, change: Change) -> Instance:
    if change.kind in GRANTS:
        key = GRANTS[change.kind]
        crew = tuple(
            msgspec.structs.replace(one, **{key: (*getattr(one, key), change.name)}) if one.id == change.subject else one
            for one in instance.collectors
        )
        return msgspec.structs.replace(instance, collectors=crew)
    if change.kind is ChangeKind.POSTPONE:
        off = set(change.visits)
        later = tuple(
            msgspec.structs.replace(visit, approval=Approval(status="postponed", effective_from=None)) if visit.id in off else visit
            for visit in instance.visits
        )
        return msgspec.structs.replace(instance, visits=later)
    edited = tuple(_edit(visit, change) if visit.id == change.subject else visit for visit in instance.visits)
    return msgspec.structs.replace(instance, visits=edited)


def _edit(visit: Visit, change: Change) -> Visit:
    edit = msgspec.structs.replace
    if change.kind is ChangeKind.APPROVE:
        return edit(visit, approval=Approval(status="approved", effective_from=visit.approval.effective_from))
    if change.kind is ChangeKind.DROP_GENDER_RULE:
        return edit(visit, gender_rule=GenderRule.ANY)
    if change.kind is ChangeKind.LIFT_EXCLUSIONS:
        return edit(visit, excluded_collectors=())
    if change.kind is ChangeKind.WIDEN_WINDOW:
        assert change.window is not None
        released = visit.approval.effective_from or 0
        approval = edit(visit.approval, effective_from=min(released, change.window[0]))
        return edit(visit, windows=(*visit.windows, change.window), approval=approval, announced=None, pinned_start=None)
    if change.kind is ChangeKind.UNPIN:
        return edit(visit, pinned_collectors=())
    if change.kind is ChangeKind.DROP_CASH:
        return edit(visit, cash_fen=0)
    assert change.kind is ChangeKind.MAKE_MANDATORY
    return edit(visit, mandatory=True)
