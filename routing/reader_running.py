"""What `fieldday/2` adds to reading a day: its keys, and everything its progress refers to. Refuses with one line that names the key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from routing.check_rules import pair_faults
from routing.model import (
    Announced,
    Approval,
    Bank,
    BankLimit,
    Break,
    CashRules,
    Collector,
    DoneStop,
    Instance,
    InstanceError,
    Location,
    Objective,
    PairingRules,
    PairProgress,
    PastDay,
    SpeedSpan,
    StopType,
    TravelModel,
    Visit,
)

TOP = ("now", "progress")
WITHIN: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "travel": ("speeds",), "pairing": ("fixed",), "cash": ("limits",), "banks": ("bank",), "collectors": ("credentials", "breaks"),
    "visits": ("pinned_collectors", "pinned_start", "announced", "debtor", "credential", "bank", "cash_is_cap"),
})
FREE_KEYS = frozenset({"generator", "units", "notes"})
_STRUCTS: Mapping[str, type[msgspec.Struct]] = MappingProxyType({
    "": Instance, "travel": TravelModel, "travel.speeds": SpeedSpan, "objective": Objective, "pairing": PairingRules, "pairing.history": PastDay,
    "cash": CashRules, "cash.limits": BankLimit,
    "locations": Location, "collectors": Collector, "collectors.breaks": Break, "banks": Bank, "visits": Visit,
    "visits.approval": Approval, "visits.announced": Announced,
    "progress": PairProgress, "progress.stops": DoneStop,
})
_KEYS = {name: frozenset(struct.__struct_fields__) for name, struct in _STRUCTS.items()}


def without_running_keys(decoded: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a `fieldday/1` day without the keys of `fieldday/2`, which mean nothing there."""
    kept = {key: value for key, value in decoded.items() if key not in TOP}
    for name, keys in WITHIN.items():
        given = kept.get(name)
        if isinstance(given, Mapping):
            kept[name] = {key: value for key, value in given.items() if key not in keys}
        elif isinstance(given, list | tuple) and any(isinstance(one, Mapping) and not one.keys().isdisjoint(keys) for one in given):
            kept[name] = [{key: value for key, value in one.items() if key not in keys} if isinstance(one, Mapping) else one for one in given]
    return kept


def refuse_unknown_keys(decoded: Mapping[str, Any]) -> None:
    """Refuse a `fieldday/2` day with a key that means nothing here: what is not planned for must not be silently left out."""
    _refuse("", "", {key: value for key, value in decoded.items() if key not in FREE_KEYS})


def _refuse(struct: str, path: str, given: Any) -> None:
    if isinstance(given, list | tuple):
        for index, one in enumerate(given):
            _refuse(struct, f"{path}[{index}]", one)
        return
    if not isinstance(given, Mapping):
        return
    for key, value in given.items():
        at = f"{path}.{key}" if path else str(key)
        if key not in _KEYS[struct]:
            raise InstanceError(f"{' '.join(at.split())[:120]}: fieldday/2 has no such key; nothing would follow from it")
        inner = f"{struct}.{key}" if struct else str(key)
        if inner in _STRUCTS:
            _refuse(inner, at, value)


def check_running_references(instance: Instance) -> None:
    """Refuse ids nobody declares, and progress that cannot be."""
    collectors = {str(one.id): one for one in instance.collectors}
    for index, visit in enumerate(instance.visits):
        _all_known(f"visits[{index}].pinned_collectors", visit.pinned_collectors, collectors)
        if len(set(visit.pinned_collectors)) < len(visit.pinned_collectors):
            raise InstanceError(f"visits[{index}].pinned_collectors: the same collector twice")
    _check_banks(instance)
    fixed: set[str] = set()
    for index, pair in enumerate(instance.pairing.fixed):
        _all_known(f"pairing.fixed[{index}]", pair, collectors)
        if len(set(pair)) < 2 or not fixed.isdisjoint(pair):
            raise InstanceError(f"pairing.fixed[{index}]: a collector works in one pair only")
        fixed |= set(pair)
    made: set[str] = set()
    at_work: set[str] = set()
    for index, one in enumerate(instance.progress):
        _check_stops(instance, f"progress[{index}]", one, made)
        _all_known(f"progress[{index}].collectors", one.collectors, collectors)
        a, b = (collectors[str(name)] for name in one.collectors)
        if a.id == b.id or (one.together and not at_work.isdisjoint(one.collectors)):
            raise InstanceError(f"progress[{index}].collectors: a collector works in one pair at a time")
        faults = [message for _, _, message in pair_faults(instance, a, b)] if one.together else []
        if faults:
            raise InstanceError(f"progress[{index}].together: {faults[0]}; part them (together: false)")
        at_work |= set(one.collectors) if one.together else set()


def _check_banks(instance: Instance) -> None:
    """Money of unknown origin could go to no office once offices are a bank's own."""
    named = {one.bank for one in instance.banks if one.bank} | {one.bank for one in instance.visits if one.bank}
    for index, visit in enumerate(instance.visits if named else ()):
        if visit.cash_fen and visit.bank is None:
            raise InstanceError(f"visits[{index}].bank: missing; where money belongs to banks, every visit with cash names its bank")
    for index, limit in enumerate(instance.cash.limits):
        if limit.bank not in named:
            raise InstanceError(f"cash.limits[{index}].bank: unknown id {limit.bank[:60]!r}")
        if limit.bank in {one.bank for one in instance.cash.limits[:index]}:
            raise InstanceError(f"cash.limits[{index}].bank: the same bank twice")


def _check_stops(instance: Instance, key: str, one: PairProgress, made: set[str]) -> None:
    visits = {visit.id: visit for visit in instance.visits}
    banks = {bank.id for bank in instance.banks}
    if one.place not in {place.id for place in instance.locations}:
        raise InstanceError(f"{key}.place: unknown id {one.place[:60]!r}")
    clock, carried = one.departure, 0
    for number, stop in enumerate(one.stops):
        at = f"{key}.stops[{number}]"
        if stop.type is StopType.VISIT and (stop.id not in visits or stop.bank is not None):
            raise InstanceError(f"{at}.id: unknown id {str(stop.id)[:60]!r}")
        if stop.type is StopType.DEPOSIT and (stop.bank not in banks or stop.id is not None):
            raise InstanceError(f"{at}.bank: unknown id {str(stop.bank)[:60]!r}")
        if stop.type is StopType.PAUSE and (stop.id is not None or stop.bank is not None):
            raise InstanceError(f"{at}.type: a pause is at no visit and no bank")
        if stop.id in made:
            raise InstanceError(f"{at}.id: {str(stop.id)[:60]!r} appears twice")
        if stop.arrival < clock:
            raise InstanceError(f"{at}.arrival: {stop.arrival} is before {clock}, when the pair left for it")
        made |= {str(stop.id)} if stop.id is not None else set()
        taken = visits[stop.id].cash_fen if stop.id is not None and stop.cash_fen is None else stop.cash_fen or 0
        clock, carried = stop.end, carried if stop.type is StopType.PAUSE else carried + taken if stop.id is not None else 0
    if one.free_at < clock:
        raise InstanceError(f"{key}.free_at: {one.free_at} is before the last stop ends at {clock}")
    if carried and not one.together:
        raise InstanceError(f"{key}.together: a pair that carries cash cannot part before it is deposited or handed over")


def _all_known(key: str, wanted: Iterable[str], known: Mapping[str, object]) -> None:
    for index, one in enumerate(wanted):
        if one not in known:
            raise InstanceError(f"{key}[{index}]: unknown id {one[:60]!r}")
