"""Plan a day: form pairs, build a start, improve it until the limit, finish it, explain what is left out, and let `check` judge.

Stages: 1 pairing (swap matching, then CP-SAT from it) · 2 regret start · 3 search (compiled, or OR-Tools whole and in parts) ·
4 polish · 5 final times by OR-Tools · 6 reasons · 7 judgement. Each stage hands on the best tours known so far.

What the clock decided is written into the plan's trace: the matching that CP-SAT had when its time was over, the iterations that each
temperature or hundredth of the course got, the solutions that each solve by OR-Tools found, and at which asking a stage heard that its time
was over. `replay.py` hands these answers back, and the same plan comes out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from routing.assemble import assemble_plan
from routing.check import Violation, check
from routing.engines import recreate, search, strands
from routing.engines.decompose import Pace, improve_parts
from routing.engines.insertion import regret_start
from routing.engines.layout import Heat
from routing.engines.ortools import Effort, final_times, route_pairs
from routing.engines.pairing import match_pairs
from routing.engines.polish import polish
from routing.explain import explain_tours
from routing.limits import Engine, Limits
from routing.matrix import TravelMatrix, travel_matrix
from routing.model import Contribution, Instance, Plan, SolverRecord
from routing.objective import Tour, empty_tour, total_cost
from routing.pairing import Matching, PairWeights, pair_weights, swap_matching
from routing.problem import Problem, build_problem
from routing.provenance import instance_digest, versions
from routing.warm_start import start_tours

WHOLE_VISITS_MAX = 260
WHOLE_SHARE = 0.6
STEPS_SHARE = 0.8
STEPS_PER_SUB_SOLVE = 50
PAIRING_SHARE = 0.06
PAIRING_S_MAX = 2.0
BOTH_MATCHINGS_VISITS_MAX = 400
SMALL_VISITS_MAX = 260
MEASURABLE_S = 0.2
NEAR_HEAT = 200.0
# What of the time kept for finishing stays for the reasons, which cannot be cut short without leaving a visit unexplained.
REASONS_SHARE = 0.5
# And of that the last part: what follows once the reasons hear that they are late (the first way found for each visit, and the judgement).
LAST_SHARE = 0.25


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What is known while solving: stage, seconds since the start, the incumbent's cost, and the incumbent itself on demand (no reasons)."""

    stage: str
    elapsed_s: float
    cost: int
    plan: Callable[[], Plan]


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What the clock decided in an earlier run, to be decided alike: see `replay.py`."""

    is_compiled: bool
    matching: Matching | None = None
    counts: strands.Counts | None = None
    found: Mapping[str, tuple[int, ...]] | None = None
    over_at: Mapping[str, int | None] = {}


class PlanRefused(RuntimeError):
    """The solver's own plan broke a hard rule: a defect, never published."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("; ".join(f"{one.rule} {one.message}" for one in violations[:5]))
        self.violations = violations


def solve(
    instance: Instance,
    limits: Limits | None = None,
    *,
    seed: int = 0,
    matrix: TravelMatrix | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    script: Script | None = None,
    start: Plan | None = None,
) -> Plan:
    """Return a clean plan with times for every stop, a reason for every visit left out, and the record of how it was found.

    The wall time stays within `limits.search_s` plus a small share for finishing. With `limits.iterations_max` the same instance, matrix
    and seed give the same bytes. `cancelled` is asked often; then the best plan so far is finished and returned. A `script` repeats an earlier
    run and no clock is looked at. With `start`, the search begins with what that plan has for this day and stays near it.

    Raises:
        PlanRefused: the plan found breaks a hard rule (a defect of the solver).
    """
    run = _Run(instance, limits or Limits(), seed, matrix, (on_progress, cancelled), script)
    if start is not None:
        run.begin_from(start)
    if run.problem.n and run.problem.pairs_max and run.problem.pair_legal.any():
        run.form_pairs()
        run.improve()
        run.finish()
    plan = run.publish()
    violations = check(instance, plan, run.matrix)
    if violations:
        raise PlanRefused(violations)
    return plan


class _Asked:
    """Answer "is the time over?" and remember at which asking it first was, so that a replay says so at the same one."""

    def __init__(self, ask: Callable[[], bool], over_at: int | None, *, is_scripted: bool) -> None:
        self.ask, self.over_at, self.is_scripted, self.count = ask, over_at, is_scripted, 0

    def __call__(self) -> bool:
        self.count += 1
        if self.over_at is None and not self.is_scripted and self.ask():
            self.over_at = self.count
        return self.over_at is not None and self.count >= self.over_at


class _Run:
    """One solve under way: the clock, the best tours so far, and what each engine brought."""

    def __init__(
        self, instance: Instance, limits: Limits, seed: int, matrix: TravelMatrix | None,
        callbacks: tuple[Callable[[Progress], None] | None, Callable[[], bool] | None], script: Script | None,
    ) -> None:
        self.started, self.started_own = time.monotonic(), time.process_time()
        self.instance, self.limits, self.seed = instance, limits, seed
        self.matrix = matrix or travel_matrix(instance)
        self.problem: Problem = build_problem(instance, self.matrix)
        self.matrix_digest, self.instance_digest = self.matrix.digest(), instance_digest(instance)
        self.on_progress, self.cancelled = callbacks
        self.script, self.asked = script, dict[str, _Asked]()
        self.tours: list[Tour] = []
        self.given: list[Tour] = []
        self.matching: Matching = ()
        self.cost = total_cost(self.problem, [])
        self.contributions: list[Contribution] = []
        self.trace: list[dict[str, Any]] = []
        self.parameters: dict[str, Any] = {"engine": limits.engine.value, "search_s": limits.search_s, "iterations_max": limits.iterations_max}
        self.search_end = self.started + 0.7 * limits.search_s
        self.polish_end = self.reasons_end = self.started + limits.search_s

    @property
    def is_timed(self) -> bool:
        return self.limits.iterations_max is None

    def watch(self, stage: str, ask: Callable[[], bool]) -> _Asked:
        """Return the predicate that tells a stage that its time is over, by the clock or by the script."""
        over_at = None if self.script is None else self.script.over_at.get(stage)
        self.asked[stage] = _Asked(ask, over_at, is_scripted=self.script is not None)
        return self.asked[stage]

    def left_s(self) -> float:
        return self.search_end - time.monotonic()

    def is_over(self) -> bool:
        return self.left_s() <= 0 or (self.cancelled is not None and self.cancelled())

    def is_late(self) -> bool:
        """Report whether finishing has used up its time; a run by iterations is never hurried."""
        return self.is_timed and time.monotonic() > self.reasons_end

    def adopt(self, engine: str, tours: list[Tour], iterations: int, since: float) -> None:
        """Record what an engine brought; keep its tours when they are the cheapest so far."""
        found = total_cost(self.problem, tours)
        before = self.cost
        if found < self.cost or not self.tours:
            self.tours, self.cost = tours, found
        wall_s = round(time.monotonic() - since, 3) if self.is_timed else None
        self.contributions.append(Contribution(engine=engine, cost_before=before, cost_after=self.cost, iterations=iterations, wall_s=wall_s))
        self.report(engine, self.tours)

    def report(self, stage: str, tours: list[Tour]) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(
                stage=stage, elapsed_s=time.monotonic() - self.started, cost=total_cost(self.problem, tours),
                plan=lambda: assemble_plan(self.instance, self.problem, tours, None, self.record(total_cost(self.problem, tours))),
            ))

    def form_pairs(self) -> None:
        """Stage 1 and 2: match, and build a start on the matching; on days of moderate size on both matchings, the better one stays."""
        if self.given:
            self.take_up()
            return
        since = time.monotonic()
        weights = pair_weights(self.problem)
        swapped = swap_matching(weights, self.problem.pairs_max)
        self.matching = swapped
        if self.problem.n <= BOTH_MATCHINGS_VISITS_MAX:
            self.adopt("swap matching + regret start", self.start_on(swapped, "swapped start"), 1, since)
        since = time.monotonic()
        if self.script is not None and self.script.matching is not None:
            matched = self.script.matching
        else:
            budget_s = min(PAIRING_S_MAX, PAIRING_SHARE * self.limits.search_s) if self.is_timed else None
            matched = match_pairs(weights, self.problem.pairs_max, swapped, search_s=budget_s, seed=self.seed)
        self.matching = matched
        if not self.uses_compiled() and (matched != swapped or not self.tours):
            self.adopt("CP-SAT pairing + regret start", self.start_on(matched, "matched start"), 1, since)
        else:
            # The compiled search starts from these pairs itself: they cost nothing yet, and without them it has nothing to start from.
            wall_s = round(time.monotonic() - since, 3) if self.is_timed else None
            pairs = len(matched)
            self.contributions.append(
                Contribution(engine="CP-SAT pairing", cost_before=self.cost, cost_after=self.cost, iterations=pairs, wall_s=wall_s)
            )
        self.trace.append({"stage": "pairing", "engine": "cp-sat", "pairs": len(matched), "matching": [list(pair) for pair in matched]})

    def begin_from(self, start: Plan) -> None:
        """Take an earlier plan for what it still is worth on this day; a replay finds its order of visits among the parameters."""
        self.given = start_tours(self.problem, self.instance, start)
        self.parameters["start"] = [
            [list(route.collectors), [stop.id for stop in route.stops if stop.id is not None]] for route in start.routes if route.stops
        ]

    def take_up(self) -> None:
        """Begin with the pairs and routes given; pair up who is left, and insert what is open."""
        since = time.monotonic()
        pairs = [tour.collectors for tour in self.given]
        weight, busy = pair_weights(self.problem).weight.copy(), [one for pair in pairs for one in pair]
        weight[busy, :] = weight[:, busy] = 0
        others = swap_matching(PairWeights(weight), self.problem.pairs_max - len(pairs))
        self.matching = (*pairs, *others)
        idle = [empty_tour(self.problem, a, b) for a, b in others]
        begun = regret_start(self.problem, [*self.given, *idle], self.watch("given start", self.is_over))
        self.adopt("given plan", begun, 1, since)

    def start_on(self, matching: Matching, stage: str) -> list[Tour]:
        empty = [empty_tour(self.problem, a, b) for a, b in matching]
        return regret_start(self.problem, empty, self.watch(stage, self.is_over))

    def improve(self) -> None:
        """Stage 3: improve until the limit, by the compiled search where it can run at once, else by OR-Tools alone."""
        self.keep_reserve()
        is_compiled = self.uses_compiled()
        self.parameters["searched_by"] = "compiled" if is_compiled else "ortools"
        if is_compiled:
            self.search_compiled()
        else:
            self.search_ortools()

    def keep_reserve(self) -> None:
        """Leave time for finishing, more on a machine that others keep busy: seen in how much longer than its own work this run took so far."""
        wall_s, own_s = time.monotonic() - self.started, time.process_time() - self.started_own
        slower = max(1.0, min(5.0, wall_s / max(own_s, 0.01))) if wall_s > MEASURABLE_S else 1.0
        need_s = 0.1 + 0.0008 * self.problem.n + 2.2e-7 * self.problem.n**2
        reserve_s = min(0.35 * self.limits.search_s, slower * need_s)
        self.search_end = self.started + self.limits.search_s - reserve_s
        self.polish_end = self.started + self.limits.search_s - REASONS_SHARE * reserve_s
        self.reasons_end = self.started + self.limits.search_s - LAST_SHARE * reserve_s

    def uses_compiled(self) -> bool:
        if self.script is not None:
            return self.script.is_compiled
        if self.limits.engine is Engine.ORTOOLS or not search.is_ready():
            return False
        return self.limits.engine is Engine.SEARCH or not self.is_timed or search.is_loaded() or self.left_s() > search.LOAD_S

    def search_compiled(self) -> None:
        """Anneal from the matching, with pair moves; the deposits of what it returns are placed anew."""
        since = time.monotonic()
        used = self.limits.strands or (strands.strands_here() if self.is_timed else 1)
        heat = heat_for(self.problem.n) if not self.given else Heat(start=NEAR_HEAT)
        pace = strands.Pace(
            search_s=max(0.01, self.left_s()), stop=self.is_over if self.script is None else _never, iterations_max=self.limits.iterations_max,
            counts=None if self.script is None else self.script.counts,
            on_better=self.report_found if self.on_progress is not None else None,
        )
        tours, found = search.search_tours(self.problem, self.matching, heat, pace, self.seed, self.tours if self.given else (), strands=used)
        self.adopt("compiled search", tours, found.iterations, since)
        self.parameters["strands"] = used
        self.parameters["heat"] = msgspec.to_builtins(heat)
        self.trace.append({
            "stage": "search", "engine": "compiled", "seed": self.seed, "iterations": found.iterations,
            "counts": [list(one) for one in found.counts],
        })

    def search_ortools(self) -> None:
        """Without the compiled search: many small steps in NumPy where they know the day's rules, then OR-Tools' sub-solves.

        Elsewhere OR-Tools routes the whole day at once first, where it is small enough. The sub-solves take two to four neighbouring pairs.
        """
        if recreate.is_able(self.problem):
            if self.has_time_for("recreate"):
                self.step_by_step()
        elif self.problem.n <= WHOLE_VISITS_MAX and self.has_time_for("ortools-whole"):
            self.route_whole()
        since = time.monotonic()
        earlier = self.found_before("ortools-parts")
        pace = Pace(
            stop=self.watch("parts", self.is_over), iterations_max=self.limits.iterations_max if earlier is None else None, solutions=earlier,
            left_s=self.left_s,
        )
        parts = improve_parts(self.problem, self.tours, pace, self.seed, lambda better, _: self.report("OR-Tools parts", better))
        self.adopt("OR-Tools parts", parts.tours, parts.made, since)
        self.trace.append({"stage": "search", "engine": "ortools-parts", "seed": self.seed, "iterations": parts.made, "found": list(parts.solutions)})

    def route_whole(self) -> None:
        """Route the whole day at once by OR-Tools for its share of the time."""
        since, earlier = time.monotonic(), self.found_before("ortools-whole")
        effort = Effort(
            search_s=WHOLE_SHARE * self.left_s(), is_descent=not self.is_timed and earlier is None, cancelled=self.cancelled,
            solutions_max=None if earlier is None else sum(earlier),
        )
        tours, found = route_pairs(self.problem, self.tours, range(self.problem.n), effort)
        self.adopt("OR-Tools routing", tours, 1, since)
        self.trace.append({"stage": "search", "engine": "ortools-whole", "seed": self.seed, "found": [found]})

    def found_before(self, engine: str) -> tuple[int, ...] | None:
        """Return what an engine found, step by step, in the run by the clock that is to be repeated; None when none is."""
        return None if self.script is None or self.script.found is None else self.script.found.get(engine, ())

    def has_time_for(self, engine: str) -> bool:
        """Report whether an engine may begin, by the clock or as it was."""
        return not self.is_over() if self.script is None or self.script.found is None else engine in self.script.found

    def step_by_step(self) -> None:
        """Ruin and recreate in NumPy for its share of the time."""
        since, whole_s = time.monotonic(), max(0.01, STEPS_SHARE * self.left_s())
        is_asked, earlier = self.cancelled or _never, self.found_before("recreate")
        course = recreate.Course(
            stop=(lambda: time.monotonic() - since > whole_s or is_asked()) if self.is_timed else self.is_over,
            gone=lambda: (time.monotonic() - since) / whole_s,
            steps_max=None if self.limits.iterations_max is None else STEPS_PER_SUB_SOLVE * self.limits.iterations_max, counts=earlier,
        )
        tours, counts = recreate.recreate(
            self.problem, self.tours, course, self.seed, lambda better: self.report("ruin and recreate", better), is_near=bool(self.given)
        )
        self.adopt("ruin and recreate", tours, sum(counts), since)
        self.trace.append({"stage": "search", "engine": "recreate", "seed": self.seed, "iterations": sum(counts), "found": list(counts)})

    def report_found(self, found: strands.Found) -> None:
        """Show an incumbent of the compiled search; its tours are timed only if somebody asks for the plan."""
        assert self.on_progress is not None
        self.on_progress(Progress(
            stage="compiled search", elapsed_s=time.monotonic() - self.started, cost=found.cost + self.problem.fixed_cost,
            plan=lambda: assemble_plan(
                self.instance, self.problem, search.tours_of(self.problem, found), None, self.record(found.cost + self.problem.fixed_cost)
            ),
        ))

    def finish(self) -> None:
        """Stage 4 and 5: add what still fits, exchange what pays, and let OR-Tools give the times."""
        since = time.monotonic()
        tours = polish(self.problem, self.tours, self.watch("polish", lambda: self.is_timed and time.monotonic() > self.polish_end))
        before, self.tours, self.cost = self.cost, tours, total_cost(self.problem, tours)
        wall_s = round(time.monotonic() - since, 3) if self.is_timed else None
        self.contributions.append(Contribution(engine="polish", cost_before=before, cost_after=self.cost, iterations=1, wall_s=wall_s))
        since = time.monotonic()
        timed = [Tour(tour.pair, final_times(self.problem, tour) or tour.timing) for tour in self.tours if tour.timing.nodes]
        self.adopt("OR-Tools final times", timed, len(timed), since)
        self.tours = timed

    def publish(self) -> Plan:
        """Stage 6: reasons, and the record a replay needs."""
        reasons = explain_tours((self.instance, self.matrix, self.problem), self.tours, self.watch("reasons", self.is_late))
        self.trace.append({"stage": "clock", "over_at": {stage: asked.over_at for stage, asked in self.asked.items()}})
        return assemble_plan(self.instance, self.problem, self.tours, [reason.unserved() for reason in reasons], self.record(self.cost))

    def record(self, cost: int) -> SolverRecord:
        """Say how the plan came about so far."""
        return SolverRecord(
            seed=self.seed, cost=cost, matrix_digest=self.matrix_digest, instance_digest=self.instance_digest,
            contributions=tuple(self.contributions), parameters=self.parameters, versions=versions(), trace=tuple(self.trace),
        )


def _never() -> bool:
    return False


def heat_for(visits: int) -> Heat:
    """Choose the annealing by size: small days start hotter; of large ones, where few steps fall to a visit, each step takes out less."""
    if visits <= SMALL_VISITS_MAX:
        return Heat(start=4000.0, end=50.0, pair_permille=600)
    return Heat(start=1500.0, end=50.0, pair_permille=600, ruin=6, string=6)
