"""Find the first true reason for every visit left out, by trying: every pair alone, every tour of the plan, every way to make room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from routing.alone import Alone, alone
from routing.changes import GRANTS, Change, ChangeKind, apply_changes
from routing.engines.insertion import IMPOSSIBLE, cheapest_place, offers
from routing.engines.polish import Swap, cheapest_of, cheapest_swaps, idle_pairs
from routing.engines.regroup import formations
from routing.matrix import TravelMatrix, travel_matrix
from routing.model import GenderRule, Instance, Plan, StopType, Visit, VisitId
from routing.objective import Tour, given_up_of, is_open, open_of, unserved_of, visits_of
from routing.problem import I64, Problem, barred, build_problem
from routing.reasons import HARD_REASONS, Reason, ReasonCode
from routing.schedule import plan_deposits, time_route
from routing.timing import earliest_start, make_pair

WINDOW_SLACK_S = 900


def explain(instance: Instance, plan: Plan, matrix: TravelMatrix | None = None) -> tuple[Reason, ...]:
    """Return the reason for each visit without a stop, in instance order. The plan must be clean (`check`) except for its unserved list.

    A visit that could be added to a route as it stands gets `solver_missed`: a solved plan never has one.
    """
    matrix = matrix or travel_matrix(instance)
    problem = build_problem(instance, matrix)
    tours = tours_of(problem, instance, plan)
    reasons = explain_tours((instance, matrix, problem), tours, lambda: False)
    return tuple(_insertable(instance, problem, tours, reason) for reason in reasons)


def tours_of(problem: Problem, instance: Instance, plan: Plan) -> list[Tour]:
    """Read a plan's routes as tours on the problem's nodes.

    Raises:
        ValueError: a route names somebody or something unknown, or cannot be made in time.
    """
    crew = {str(one.id): index for index, one in enumerate(instance.collectors)}
    nodes_of = problem.nodes_of()
    bank_of = {bank.id: problem.n + index for index, bank in enumerate(instance.banks)}
    parted = [set(one.collectors) for one in instance.progress if not one.together]
    tours: list[Tour] = []
    for route in plan.routes:
        if not route.stops:
            continue
        if set(route.collectors) in parted:
            parted.remove(set(route.collectors))
            continue
        if len(route.collectors) != 2 or any(one not in crew for one in route.collectors):
            raise ValueError("the plan names somebody or something unknown; check it first")
        pair = make_pair(problem, crew[route.collectors[0]], crew[route.collectors[1]])
        anchor = int(problem.anchor_of[pair.a])
        nodes = [] if anchor < 0 else [anchor]
        made = 0 if anchor < 0 else len(instance.progress[problem.running.anchors[anchor - problem.anchors[0]].progress].stops)
        for stop in route.stops[made:]:
            if stop.type is StopType.PAUSE:
                continue
            options = nodes_of.get(str(stop.id), []) if stop.type is StopType.VISIT else [bank_of[stop.bank]] if stop.bank in bank_of else []
            if not options:
                raise ValueError("the plan names somebody or something unknown; check it first")
            timed = (node for node in options if stop.start is not None and earliest_start(problem, node, stop.start) == stop.start)
            nodes.append(next(timed, options[0]))
        timing = time_route(problem, pair, tuple(nodes))
        if timing is None:
            raise ValueError(f"the route of {'+'.join(route.collectors)} cannot be made in time; check it first")
        tours.append(Tour(pair, timing))
    return tours


def explain_tours(of: tuple[Instance, TravelMatrix, Problem], tours: Sequence[Tour], is_late: Callable[[], bool]) -> tuple[Reason, ...]:
    """As `explain`, for tours of a day that nothing can be added to. Once `is_late`, a displacement names the first way found, not the cheapest."""
    instance, matrix, problem = of
    nodes_of = problem.nodes_of()
    left, able = set(unserved_of(problem, tours)), open_of(problem, tours)
    case = _Case(instance, problem, list(tours), cheapest_swaps(problem, tours, able, is_late))
    seen = {str(visit.debtor): visit.id for visit in instance.visits if visit.debtor and visit.id in problem.running.made}
    found: list[Reason] = []
    for visit in instance.visits:
        if visit.id in problem.running.made:
            continue
        if not visit.approval.is_granted:
            approve = Change(kind=ChangeKind.APPROVE, subject=visit.id)
            found.append(_reason(visit, ReasonCode.NOT_APPROVED, {"status": visit.approval.status}, approve))
        elif visit.id not in nodes_of:
            found.append(_reason(visit, ReasonCode.DEBTOR_VISITED, {"visits": [seen[str(visit.debtor)]]}))
        elif left.issuperset(nodes_of[visit.id]):
            found.append(case.explain_visit(visit, nodes_of[visit.id]))
    return _confirm_changes(instance, matrix, (problem, tours), found, is_late)


def _reason(visit: Visit, code: ReasonCode, params: dict[str, Any], *changes: Change) -> Reason:
    return Reason(visit=VisitId(visit.id), code=code, params=params, changes=changes)


def _insertable(instance: Instance, problem: Problem, tours: list[Tour], reason: Reason) -> Reason:
    if reason.code in HARD_REASONS:
        return reason
    for node in problem.nodes_of()[reason.visit]:
        place = cheapest_place(problem, tours, node) if is_open(problem, tours, node) else None
        if place is not None:
            pair = [instance.collectors[one].id for one in place[1].collectors]
            return Reason(visit=reason.visit, code=ReasonCode.SOLVER_MISSED, params={"pair": pair})
    return reason


class _Case:
    """One plan under explanation."""

    def __init__(self, instance: Instance, problem: Problem, tours: list[Tour], swaps: dict[int, Swap]) -> None:
        self.instance, self.problem, self.tours, self.swaps = instance, problem, tours, swaps
        self.formed = _formed(problem, tours)
        given_up = [(row, given_up_of(problem, tour)) for row, tour in enumerate(tours)]
        self.losses = [(row, sum(int(problem.loss[one]) for one in gone)) for row, gone in given_up if gone]

    def names(self, a: int, b: int) -> list[str]:
        return [self.instance.collectors[a].id, self.instance.collectors[b].id]

    def ids(self, nodes: Sequence[int]) -> list[str]:
        return [self.problem.visits[node].id for node in nodes]

    def explain_visit(self, visit: Visit, nodes: list[int]) -> Reason:
        """Try the reasons in their order, on whichever of the visit's times gets furthest."""
        node, tried = self.furthest(nodes)
        if not len(tried.a) or not self.problem.pairs_max:
            there = sum(1 for one in self.instance.collectors if one.available)
            return _reason(visit, ReasonCode.NO_PAIR_TODAY, {"collectors": there, "pairs_max": self.problem.pairs_max})
        if not tried.allowed.any():
            return self.no_legal_pair(visit, node)
        if not tried.in_time.any():
            return self.no_time_alone(visit, node, tried)
        if not tried.with_cash.any():
            params = {"cash_fen": visit.cash_fen, "carry_limit_fen": int(self.problem.carry_fen[node])}
            return _reason(visit, ReasonCode.CASH_NOT_DEPOSITABLE, params, Change(kind=ChangeKind.DROP_CASH, subject=visit.id))
        rivals = sorted({self.problem.visits[one].id for one in self.problem.rivals_of(node) if self.is_made(one)} - {visit.id})
        if rivals:
            change = Change(kind=ChangeKind.POSTPONE, subject=visit.id, visits=tuple(rivals))
            return _reason(visit, ReasonCode.DEBTOR_ONCE, {"visits": rivals}, change, Change(kind=ChangeKind.MAKE_MANDATORY, subject=visit.id))
        return self.displaced(visit, node, tried)

    def furthest(self, nodes: list[int]) -> tuple[int, Alone]:
        """Return the visit's time that gets furthest and what was tried on it: the pairs of the plan where one is able, else every legal pair."""
        best: tuple[tuple[bool, bool, bool], int, Alone] | None = None
        for node in reversed(nodes):
            near = alone(self.problem, node, self.formed)
            tried = near if near.with_cash.any() else alone(self.problem, node)
            reach = (bool(tried.with_cash.any()), bool(tried.in_time.any()), bool(tried.allowed.any()))
            if best is None or reach > best[0]:
                best = reach, node, tried
            if all(reach):
                break
        assert best is not None
        return best[1], best[2]

    def is_made(self, node: int) -> bool:
        return any(node in tour.timing.nodes for tour in self.tours)

    def no_legal_pair(self, visit: Visit, node: int) -> Reason:
        """Name each need that no legal pair meets; if every need is met by some pair, name the combination."""
        relaxed = self.relaxations(visit, node)
        params = {"missing": [need for need, _, only in relaxed if not alone(only, node).allowed.any()]}
        if not params["missing"]:
            params = {"missing": ["one pair with all of", *(need for need, _, _ in relaxed)]}
        dropped = self.relaxed_without(visit, node)
        for (_, change, _), without in zip(relaxed, dropped, strict=True):
            tried = alone(without, node)
            if tried.with_cash.any():
                return _reason(visit, ReasonCode.NO_LEGAL_PAIR, params, *self.named(change, visit, tried))
        return _reason(visit, ReasonCode.NO_LEGAL_PAIR, params)

    def needs_of(self, visit: Visit) -> list[tuple[str, Change, Visit, Visit]]:
        """List the visit's needs: name, the change that lifts it, the visit with only this need, the visit without it."""
        edit = msgspec.structs.replace
        bare = edit(
            visit, required_cert=None, required_language=None, gender_rule=GenderRule.ANY, excluded_collectors=(), pinned_collectors=(),
            credential=None,
        )
        fields: list[tuple[str, str, Any, ChangeKind, str]] = []
        if visit.required_cert is not None:
            fields.append((f"certificate:{visit.required_cert}", "required_cert", None, ChangeKind.GRANT_CERT, visit.required_cert))
        if visit.required_language is not None:
            fields.append((f"language:{visit.required_language}", "required_language", None, ChangeKind.GRANT_LANGUAGE, visit.required_language))
        if visit.excluded_collectors:
            fields.append(("not excluded", "excluded_collectors", (), ChangeKind.LIFT_EXCLUSIONS, ""))
        if visit.credential is not None:
            fields.append((f"credential of both:{visit.credential}", "credential", None, ChangeKind.GRANT_CREDENTIAL, visit.credential))
        if visit.pinned_collectors:
            fields.append((f"pinned to:{'+'.join(visit.pinned_collectors)}", "pinned_collectors", (), ChangeKind.UNPIN, ""))
        if visit.gender_rule is not GenderRule.ANY:
            fields.append((f"gender:{visit.gender_rule.value}", "gender_rule", GenderRule.ANY, ChangeKind.DROP_GENDER_RULE, ""))
        return [
            (need, Change(kind=kind, subject=visit.id, name=name), edit(bare, **{key: getattr(visit, key)}), edit(visit, **{key: empty}))
            for need, key, empty, kind, name in fields
        ]

    def relaxations(self, visit: Visit, node: int) -> list[tuple[str, Change, Problem]]:
        return [(need, change, self.with_visit(only, node)) for need, change, only, _ in self.needs_of(visit)]

    def relaxed_without(self, visit: Visit, node: int) -> list[Problem]:
        return [self.with_visit(without, node) for _, _, _, without in self.needs_of(visit)]

    def with_visit(self, visit: Visit, node: int) -> Problem:
        """Return the problem with other needs of one visit, by its row of need bits and exclusions."""
        problem = self.problem
        needs, excluded = problem.needs.copy(), problem.excluded.copy()
        needs[node] = problem.need_bits(visit)
        excluded[node] = barred(self.instance, (visit,))[0]
        return msgspec.structs.replace(problem, needs=needs, excluded=excluded)

    def named(self, change: Change, visit: Visit, tried: Alone) -> tuple[Change, ...]:
        """Point a grant at the member of the cheapest able pair; other changes concern the visit itself."""
        if change.kind not in GRANTS:
            return (msgspec.structs.replace(change, subject=visit.id),)
        best = tried.cheapest()
        members = [self.instance.collectors[int(one)] for one in (tried.a[best], tried.b[best])]
        if change.kind is ChangeKind.GRANT_CREDENTIAL:
            return tuple(msgspec.structs.replace(change, subject=one.id) for one in members if change.name not in one.credentials)
        return (msgspec.structs.replace(change, subject=members[0].id),)

    def no_time_alone(self, visit: Visit, node: int, tried: Alone) -> Reason:
        """Show the pair that comes nearest, and the window it would need."""
        best = int(np.flatnonzero(tried.allowed)[np.argmin(tried.arrival_s[tried.allowed])])
        a, b = int(tried.a[best]), int(tried.b[best])
        back_s = int(self.problem.pair_back_s(a, b)[node])
        arrival = int(tried.arrival_s[best])
        params = {
            "pair": self.names(a, b), "arrival_s": arrival, "return_s": self.problem.speeds.reach(arrival + visit.service_s, back_s),
            "windows": [list(span) for span in visit.windows], "shift_end_s": self.problem.pair_shift(a, b)[1],
        }
        window = self.window_needed(visit, tried)
        changes = (Change(kind=ChangeKind.WIDEN_WINDOW, subject=visit.id, window=window),) if window else ()
        return _reason(visit, ReasonCode.NO_TIME_ALONE, params, *changes)

    def window_needed(self, visit: Visit, tried: Alone) -> tuple[int, int] | None:
        """Return the short window nearest to a given one in which some allowed pair could serve, or None within legal hours (VIS-10)."""
        first, last = self.instance.horizon
        latest_s = np.minimum(tried.latest_s, last - visit.service_s)
        earliest_s = np.maximum(tried.arrival_s, first)
        able = np.flatnonzero(tried.allowed & (earliest_s <= latest_s))
        if not len(able):
            return None
        earliest_s, latest_s = earliest_s[able], latest_s[able]
        options: list[tuple[int, int, int]] = []
        for opens, closes in visit.windows:
            starts = np.minimum(np.maximum(opens, earliest_s), latest_s)
            starts = np.where((starts > closes) | (starts < opens), starts, earliest_s)
            off_s = np.maximum(np.maximum(starts - closes, opens - starts), 0)
            least = np.lexsort((latest_s, starts, off_s))[0]
            options.append((int(off_s[least]), int(starts[least]), int(latest_s[least])))
        _, start, latest = min(options)
        return start, min(latest, start + WINDOW_SLACK_S)

    def displaced(self, visit: Visit, node: int, tried: Alone) -> Reason:
        """The visit is possible, but not beside what the plan does: say what it would take."""
        mandatory = Change(kind=ChangeKind.MAKE_MANDATORY, subject=visit.id)
        swap = self.swaps.get(node) or self.whole_tour(node, tried)
        if swap is None:
            return self.not_formed(visit, node)
        given_up = self.ids(swap.given_up)
        change = Change(kind=ChangeKind.POSTPONE, subject=visit.id, visits=tuple(given_up)) if visit.mandatory else mandatory
        pair = self.names(*self.tours[swap.row].collectors)
        return _reason(visit, ReasonCode.DISPLACED, {"pair": pair, "visits": given_up, "price": swap.price}, change)

    def whole_tour(self, node: int, tried: Alone) -> Swap | None:
        """Give up a whole tour of an able pair of the plan: the cheapest such."""
        at = np.flatnonzero(tried.with_cash)
        able = set(zip(tried.a[at].tolist(), tried.b[at].tolist(), strict=True))
        options = [(lost, row) for row, lost in self.losses if self.tours[row].collectors in able]
        if not options:
            return None
        lost, row = min(options)
        tour = self.tours[row]
        anchor = int(self.problem.anchor_of[tour.pair.a])
        own = plan_deposits(self.problem, tour.pair, (node,) if anchor < 0 else (anchor, node))
        if own is None:
            return None
        price = lost + self.problem.travel_weight * (own.travel_s - tour.timing.travel_s) - int(self.problem.loss[node])
        return Swap(row, tour, given_up_of(self.problem, tour), price)

    def not_formed(self, visit: Visit, node: int) -> Reason:
        """No pair of the plan can make room for it: price the able pair whose forming gives up least."""
        found = formations(self.problem, self.tours, node, alone(self.problem, node))
        if not found:
            return _reason(visit, ReasonCode.PAIRS_AT_WORK, {})
        option = found[0]
        pair = self.names(option.a, option.b)
        given_up = self.ids([one for row in option.rows for one in visits_of(self.problem, self.tours[row])])
        mandatory = Change(kind=ChangeKind.MAKE_MANDATORY, subject=visit.id)
        if not given_up:
            return _reason(visit, ReasonCode.NOT_WORTH_A_PAIR, {"pair": pair, "price": option.price}, mandatory)
        change = Change(kind=ChangeKind.POSTPONE, subject=visit.id, visits=tuple(given_up)) if visit.mandatory else mandatory
        return _reason(visit, ReasonCode.PAIR_NOT_FORMED, {"pair": pair, "visits": given_up, "price": option.price}, change)


def _confirm_changes(
    instance: Instance, matrix: TravelMatrix, state: tuple[Problem, Sequence[Tour]], found: list[Reason], is_late: Callable[[], bool]
) -> tuple[Reason, ...]:
    """Keep only changes that make the visit possible; add `make_mandatory` where it would still compete with others for room in the plan.

    Once `is_late`, a visit that carries cash competes unless a place is plain to see.
    """
    hard = [reason for reason in found if reason.code in HARD_REASONS and reason.changes]
    if not hard:
        return tuple(found)
    before, tours = state
    changed = apply_changes(instance, [change for reason in hard for change in reason.changes])
    after = build_problem(changed, matrix)
    nodes_of = after.nodes_of()
    moved = _renumber(before, after, tours)
    may_compete = sorted({node for reason in hard for node in nodes_of.get(reason.visit, []) if is_open(after, moved, node)})
    extra_s = _least_extra(after, moved, may_compete)
    confirmed: dict[str, Reason] = {}
    among, idle = _formed(after, moved), idle_pairs(after, moved)
    for reason in hard:
        nodes = nodes_of.get(reason.visit, [])
        changes = reason.changes
        if not after.pairs_max or not any(_is_possible(after, node, among) for node in nodes):
            changes = ()
        elif not after.visits[nodes[0]].mandatory and not any(
            node in extra_s and _fits(after, (moved, idle), node, extra_s[node], is_late) for node in nodes
        ):
            changes = (*changes, Change(kind=ChangeKind.MAKE_MANDATORY, subject=reason.visit))
        confirmed[reason.visit] = msgspec.structs.replace(reason, changes=changes)
    return tuple(confirmed.get(reason.visit, reason) for reason in found)


def _formed(problem: Problem, tours: Sequence[Tour]) -> tuple[I64, I64]:
    """Return the pairs of these tours, but those that work together against a rule."""
    pairs = np.array([tour.collectors for tour in tours if problem.pair_legal[tour.collectors]], dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _is_possible(problem: Problem, node: int, among: tuple[I64, I64]) -> bool:
    """Report whether some legal pair could make the visit alone; the pairs of the plan are tried first, for they are few."""
    return bool(alone(problem, node, among).with_cash.any() or alone(problem, node).with_cash.any())


def _least_extra(problem: Problem, tours: list[Tour], nodes: list[int]) -> dict[int, int]:
    """Return, per visit, the least travel that adding it to some tour costs, deposits kept where they are; IMPOSSIBLE where it has no place."""
    asked, least = np.array(nodes, dtype=np.int64), np.full(len(nodes), IMPOSSIBLE, dtype=np.int64)
    for tour in tours if nodes else ():
        least = np.minimum(least, offers(problem, tour, asked).extra_s)
    return dict(zip(nodes, least.tolist(), strict=True))


def _fits(
    problem: Problem, crew: tuple[list[Tour], tuple[I64, I64] | None], node: int, extra_s: int, is_late: Callable[[], bool]
) -> bool:
    """Report whether the visit finds a place in the tours, or one of the idle pairs, that costs less than the visit is worth."""
    tours, idle = crew
    if problem.travel_weight * extra_s < int(problem.loss[node]):
        return True
    if problem.cash_fen[node] and not is_late():
        place = cheapest_place(problem, tours, node)
        extra_s = IMPOSSIBLE if place is None else place[1].timing.travel_s - tours[place[0]].timing.travel_s
        if problem.travel_weight * extra_s < int(problem.loss[node]):
            return True
    return extra_s == IMPOSSIBLE and idle is not None and cheapest_of(problem, idle, node) is not None


def _renumber(before: Problem, after: Problem, tours: Sequence[Tour]) -> list[Tour]:
    """Return the tours in the node numbers of the changed day."""
    number = {(visit, rank): node for visit, nodes in after.nodes_of().items() for rank, node in enumerate(nodes)}
    key_of = {node: (visit, rank) for visit, nodes in before.nodes_of().items() for rank, node in enumerate(nodes)}
    shift = after.n - before.n
    moved: list[Tour] = []
    for tour in tours:
        pair = make_pair(after, *tour.collectors)
        timing = time_route(after, pair, tuple(number[key_of[node]] if node in key_of else node + shift for node in tour.timing.nodes))
        assert timing is not None
        moved.append(Tour(pair, timing))
    return moved
