"""Repeat a stored plan: the same inputs, versions, seed and iterations give the identical plan, and anybody can see that they do.

A plan searched by iterations repeats as it was ordered. A plan searched against the clock repeats by what it was seen to make: the iterations of
the compiled search at each temperature, the steps of the one in NumPy, and the solutions that each solve by OR-Tools found.
"""

from __future__ import annotations

from typing import Any

import msgspec

from routing.engines import search
from routing.limits import Engine, Limits
from routing.matrix import TravelMatrix, table_matrix, travel_matrix
from routing.model import Instance, InstanceError, Plan, Route, SolverRecord, Stop, StopType, VisitId
from routing.provenance import instance_digest, plan_digest, versions
from routing.reader import decode_object, load_instance
from routing.solve import Script, solve

RECORD_SCHEMA = "fieldday-record/1"
GUARD_S = 86_400.0


class PlanRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a replay needs. `matrix` is the table `{"ids", "seconds", "metres"}`, None for the instance's great-circle travel."""

    instance: Instance
    plan_digest: str
    solver: SolverRecord
    matrix: dict[str, Any] | None = None
    schema: str = RECORD_SCHEMA


class ReplayRefused(ValueError):
    """This machine cannot repeat the plan; each reason is one sentence."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class ReplayDiffers(RuntimeError):
    """The replay came out otherwise: inputs were altered, or something that matters is not among the versions."""

    def __init__(self, expected: str, plan: Plan) -> None:
        self.expected, self.got, self.plan = expected, plan_digest(plan), plan
        super().__init__(f"expected plan digest {expected}, got {self.got}")


def record_of(instance: Instance, plan: Plan, matrix: TravelMatrix | None = None) -> PlanRecord:
    """Return the record of a solved plan; `matrix` as it was given to `solve`.

    Raises:
        ReplayRefused: the plan was not solved, so there is nothing to repeat.
    """
    if plan.solver is None:
        raise ReplayRefused(("the plan was made by hand, not solved",))
    table = None
    if matrix is not None and matrix.digest() != travel_matrix(instance).digest():
        table = {"ids": list(matrix.ids), "seconds": matrix.seconds.tolist(), "metres": matrix.metres.tolist()}
    return PlanRecord(instance=instance, plan_digest=plan_digest(plan), solver=plan.solver, matrix=table)


def load_record(content: bytes) -> PlanRecord:
    """Read a `fieldday-record/1`.

    Raises:
        InstanceError: it is none; the message is one line that names the key at fault.
    """
    whole = decode_object(content)
    if whole.get("schema") != RECORD_SCHEMA:
        raise InstanceError(f"schema: expected {RECORD_SCHEMA}, got {str(whole.get('schema'))[:40]!r}")
    instance = load_instance(whole.get("instance") or {})
    try:
        return msgspec.structs.replace(msgspec.convert({**whole, "instance": msgspec.to_builtins(instance)}, PlanRecord), instance=instance)
    except msgspec.ValidationError as error:
        raise InstanceError(f"record: {error}") from None


def replay(record: PlanRecord, *, is_strict: bool = True) -> Plan:
    """Solve again, by the recorded iterations, and return the identical plan.

    Args:
        is_strict: False tries other versions of code and libraries as well; an identical plan is proof all the same.

    Raises:
        ReplayRefused: other versions, other inputs than the digests say, compiled kernels absent, or a search that kept no count of its steps.
        ReplayDiffers: the plan came out otherwise.
    """
    matrix = travel_matrix(record.instance) if record.matrix is None else table_matrix(record.matrix, record.instance)
    refuse = [*_other_inputs(record, matrix), *_unrepeatable(record.solver), *(_other_versions(record.solver) if is_strict else [])]
    if refuse:
        raise ReplayRefused(tuple(refuse))
    parameters = record.solver.parameters
    limits = Limits(
        search_s=GUARD_S, iterations_max=parameters["iterations_max"] or 0, engine=Engine(parameters["engine"]),
        strands=parameters.get("strands"),
    )
    plan = solve(record.instance, limits, seed=record.solver.seed, matrix=matrix, script=_script(record.solver), start=_start(record.solver))
    if plan_digest(plan) != record.plan_digest:
        raise ReplayDiffers(record.plan_digest, plan)
    return plan


def _other_inputs(record: PlanRecord, matrix: TravelMatrix) -> list[str]:
    found = []
    if instance_digest(record.instance) != record.solver.instance_digest:
        found.append("the instance is not the one that was solved: its digest differs")
    if matrix.digest() != record.solver.matrix_digest:
        found.append("the travel matrix is not the one that was used: its digest differs")
    return found


def _unrepeatable(solver: SolverRecord) -> list[str]:
    stages = {str(one.get("stage")): one for one in solver.trace}
    if "clock" not in stages:
        return ["the solver was stopped before it finished: the best plan so far was kept, which no replay reaches"]
    if _is_compiled(solver):
        if not search.is_installed():
            return ["the plan was found by the compiled search, and numba (the extra `fast`) is not installed here"]
        if not search.is_ready():
            return ["the plan was found by the compiled search, and its kernels are not compiled here; run `python -m routing warm`"]
    elif solver.parameters.get("searched_by") and solver.parameters.get("iterations_max") is None and _found(solver) is None:
        return ["the plan was searched by OR-Tools against the clock, by a release that kept no count of its steps"]
    return []


def _other_versions(solver: SolverRecord) -> list[str]:
    here = versions()
    # Without the compiled search numba took no part.
    names = [name for name in sorted({*here, *solver.versions}) if name != "numba" or _is_compiled(solver)]
    told = [(name, solver.versions.get(name, "none"), here.get(name, "none")) for name in names]
    return [f"{name}: the plan was made with {made[:16]}, here is {found[:16]}" for name, made, found in told if made != found]


def _is_compiled(solver: SolverRecord) -> bool:
    return solver.parameters.get("searched_by") == "compiled"


def _start(solver: SolverRecord) -> Plan | None:
    """Return the earlier plan that the search began from, as far as it mattered: who makes what in which order."""
    given = solver.parameters.get("start")
    if given is None:
        return None
    routes = (
        Route(collectors=tuple(crew), stops=tuple(Stop(type=StopType.VISIT, id=VisitId(name)) for name in names)) for crew, names in given
    )
    return Plan(instance="", routes=tuple(routes))


def _script(solver: SolverRecord) -> Script:
    stages = {str(one.get("stage")): one for one in solver.trace}
    matching = stages.get("pairing", {}).get("matching")
    return Script(
        is_compiled=_is_compiled(solver), matching=None if matching is None else tuple((int(a), int(b)) for a, b in matching),
        counts=tuple(tuple(one) for one in stages["search"]["counts"]) if _is_compiled(solver) else None,
        found=None if solver.parameters.get("iterations_max") is not None else _found(solver), over_at=dict(stages["clock"]["over_at"]),
    )


def _found(solver: SolverRecord) -> dict[str, tuple[int, ...]] | None:
    """Return what each engine without the compiled search found, step by step; None when one of them left no count, or none searched."""
    searched = [one for one in solver.trace if one.get("stage") == "search"]
    if not searched or any("found" not in one for one in searched):
        return None
    return {str(one["engine"]): tuple(int(count) for count in one["found"]) for one in searched}
