"""Insert visits into timed tours with NumPy: exact tests for all places at once, a regret start, and the repair of a finished plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from routing.objective import Tour, is_open, open_of, visits_of
from routing.problem import FOREIGN_S, I64, Problem
from routing.schedule import plan_deposits, time_route
from routing.timing import Pause

IMPOSSIBLE = 1 << 40
BANKS_TRIED = 3
LOSS_CAP = 200_000
LOSS_SHARE = 0.25


class _Frame(msgspec.Struct, frozen=True, eq=False):
    """One tour seen from its gaps 0 … L: when the pair can leave before the gap, when it must arrive after it, spare cash room.

    Where money goes to its bank's own offices: `held`, whose is carried into the gap; `joined`, whose the deposit ahead takes (0: anybody's).
    """

    leaves: I64
    due: I64
    room_fen: I64
    base_s: I64
    held: I64
    joined: I64


class Offers(msgspec.Struct, frozen=True, eq=False):
    """Cheapest insertion of each asked visit into one tour: extra travel (IMPOSSIBLE if none), the gap, and the bank to add (-1 none)."""

    extra_s: I64
    gap: I64
    bank: I64


def offers(problem: Problem, tour: Tour, visits: I64) -> Offers:
    """Return the cheapest feasible insertion of each visit into the tour as it stands, deposits kept where they are.

    A cash visit goes before an existing deposit with room, or brings its own deposit right behind it. Pauses stay where they are; whether
    another visit makes one more due is not looked at. By hours of different speed, `extra_s` is that at the ordinary speed.
    """
    extra, bank = _gap_table(problem, tour, visits)
    gap = extra.argmin(axis=0)
    columns = np.arange(len(visits))
    return Offers(extra[gap, columns], gap, bank[gap, columns])


def _gap_table(problem: Problem, tour: Tour, visits: I64) -> tuple[I64, I64]:
    """Return (extra travel, bank to add), each gap by visit."""
    frame = _frame(problem, tour)
    nodes = np.array(tour.timing.nodes, dtype=np.intp)
    to_s = np.vstack([tour.pair.out_s[visits][None, :], problem.travel_s[np.ix_(nodes, visits)]]).astype(np.int64)
    from_s = np.vstack([problem.travel_s[np.ix_(visits, nodes)].T, tour.pair.back_s[visits][None, :]]).astype(np.int64)
    done = _service_end(problem, visits, problem.speeds.reach_all(frame.leaves[:, None], to_s))
    allowed = problem.pair_serves(*tour.collectors)[visits]
    cash = problem.cash_fen[visits]
    own = problem.purse[visits][None, :]
    joins = (frame.joined[:, None] == 0) | (frame.joined[:, None] == own)
    has_room = (cash == 0)[None, :] | ((cash[None, :] <= frame.room_fen[:, None]) & joins)
    plain = (problem.speeds.reach_all(done, from_s) <= frame.due[:, None]) & has_room
    extra = np.where(plain & allowed[None, :], to_s + from_s - frame.base_s[:, None], IMPOSSIBLE)
    bank = np.full(extra.shape, -1, dtype=np.int64)
    carrying = np.flatnonzero((cash > 0) & allowed & (cash <= problem.carry_fen[visits]))
    if problem.banks and len(carrying):
        _offer_banks(problem, tour, frame, (visits, carrying, to_s, done, extra, bank))
    return extra, bank


def _frame(problem: Problem, tour: Tour) -> _Frame:
    pair, nodes = tour.pair, tour.timing.nodes
    size = len(nodes)
    leaves, due = np.empty(size + 1, dtype=np.int64), np.empty(size + 1, dtype=np.int64)
    room, base = np.full(size + 1, -1, dtype=np.int64), np.zeros(size + 1, dtype=np.int64)
    leaves[0], due[size] = pair.shift[0], pair.shift[1]
    held, joined = np.zeros(size + 1, dtype=np.int64), np.full(size + 1, -1, dtype=np.int64)
    carried = 0
    for index, node in enumerate(nodes):
        base[index] = pair.out_s[node] if index == 0 else problem.travel_s[nodes[index - 1], node]
        after = [pause.end for pause in tour.timing.pauses if pause.at == index and pause.is_after]
        leaves[index + 1] = max([tour.timing.starts[index] + int(problem.service_s[node]), *after])
        if node < problem.n:
            carried += int(problem.cash_fen[node])
            held[index + 1] = problem.purse[node] if problem.cash_fen[node] else held[index]
        else:
            # Whose money this deposit takes: what is carried to it, else what its office takes.
            joined[: index + 1] = np.where(room[: index + 1] < 0, held[index] or problem.purse[node], joined[: index + 1])
            room[: index + 1] = np.where(room[: index + 1] < 0, problem.carry_fen[node] - carried, room[: index + 1])
            carried = 0
    if size:
        base[size] = pair.back_s[nodes[-1]]
    for index in range(size - 1, -1, -1):
        own = [pause for pause in tour.timing.pauses if pause.at == index]
        leave_by = problem.speeds.leave_by(int(due[index + 1]), int(base[index + 1]))
        spare = _before_pauses(problem, tour, [one for one in own if one.is_after], leave_by) - int(problem.service_s[nodes[index]])
        windows = zip(problem.window_lo[nodes[index]].tolist(), problem.window_hi[nodes[index]].tolist(), strict=True)
        latest = max((min(hi, spare) for lo, hi in windows if lo <= min(hi, spare)), default=-1)
        due[index] = _before_pauses(problem, tour, [one for one in own if not one.is_after], latest)
    return _Frame(leaves, due, room, base, held, joined)


def _before_pauses(problem: Problem, tour: Tour, pauses: list[Pause], due: int) -> int:
    """Return by when these pauses, one after the other, must be able to begin so that they are over at `due`; -1 when they cannot be."""
    rests = problem.pauses_of(tour.pair.a, tour.pair.b) if pauses else ()
    for pause in reversed(pauses):
        lo, hi, lasts = next(one for one in rests if one[0] <= pause.start <= one[1] and one[2] == pause.end - pause.start)
        due = min(hi, due - lasts) if lo + lasts <= due else -1
    return due


def _service_end(problem: Problem, nodes: I64, arrival: I64) -> I64:
    """Return when service ends after arriving at each node (last axis), or IMPOSSIBLE past the last window."""
    start = np.full(arrival.shape, IMPOSSIBLE, dtype=np.int64)
    for k in range(problem.window_lo.shape[1] - 1, -1, -1):
        begin = np.maximum(arrival, problem.window_lo[nodes, k])
        start = np.where(begin <= problem.window_hi[nodes, k], begin, start)
    return start + problem.service_s[nodes]


def _offer_banks(problem: Problem, tour: Tour, frame: _Frame, state: tuple[I64, I64, I64, I64, I64, I64]) -> None:
    """Improve `extra` and `bank` in place with visit + deposit insertions at the banks nearest to each visit."""
    visits, carrying, to_s, done, extra, chosen = state
    own = visits[carrying]
    hops = problem.office_hops(own)
    near = np.argsort(hops, axis=1, kind="stable")[:, :BANKS_TRIED] + problem.n
    can_take = hops[np.arange(len(own))[:, None], near - problem.n] < FOREIGN_S
    nodes = np.array(tour.timing.nodes, dtype=np.intp)
    for rank in range(near.shape[1]):
        bank = near[:, rank].astype(np.int64)
        hop = problem.travel_s[own, bank].astype(np.int64)[None, :]
        closed = _service_end(problem, bank, problem.speeds.reach_all(done[:, carrying], hop))
        onward = np.vstack([problem.travel_s[np.ix_(bank, nodes)].T, tour.pair.back_s[bank][None, :]]).astype(np.int64)
        price = to_s[:, carrying] + hop + onward - frame.base_s[:, None]
        in_time = problem.speeds.reach_all(closed, onward) <= frame.due[:, None]
        better = in_time & (price < extra[:, carrying]) & can_take[:, rank][None, :] & _carry_fits(problem, frame, own, len(nodes))
        rows, columns = np.nonzero(better)
        extra[rows, carrying[columns]] = price[rows, columns]
        chosen[rows, carrying[columns]] = bank[columns]


def _carry_fits(problem: Problem, frame: _Frame, own: I64, size: int) -> I64:
    """A visit with its own deposit adds to what is carried only until that deposit; before a known deposit the room says how much."""
    assert len(frame.room_fen) == size + 1
    cash, limit = problem.cash_fen[own][None, :], problem.carry_fen[own][None, :]
    if not problem.is_tied:
        return np.asarray(cash <= np.where(frame.room_fen < 0, problem.carry_limit_fen, frame.room_fen)[:, None])
    held, purse = frame.held[:, None], problem.purse[own][None, :]
    room = np.where((held == 0) | (frame.room_fen[:, None] < 0), limit, frame.room_fen[:, None])
    return np.asarray(((held == 0) | (held == purse)) & (cash <= room))


def insert_visit(problem: Problem, tour: Tour, node: int, gap: int, bank: int) -> Tour | None:
    """Put a visit (and its bank) into a gap, then choose the deposits anew; None when the offer does not hold."""
    nodes = tour.timing.nodes
    added = (node,) if bank < 0 else (node, bank)
    fixed = (*nodes[:gap], *added, *nodes[gap:])
    exact = time_route(problem, tour.pair, fixed)
    chosen = plan_deposits(problem, tour.pair, tuple(one for one in fixed if one < problem.n))
    timings = [timing for timing in (exact, chosen) if timing is not None]
    if not timings:
        return None
    return Tour(tour.pair, min(timings, key=lambda timing: (timing.travel_s, timing.return_at)))


def regret_start(
    problem: Problem, tours: Sequence[Tour], stop: Callable[[], bool], asked: Sequence[int] | None = None,
    favour: Sequence[float] | None = None, *, is_thrifty: bool = False,
) -> list[Tour]:
    """Insert every visit that fits: first the one that loses most by waiting (regret against its second-best tour, plus a share of its loss).

    `asked` are the visits to insert where these tours are not the whole plan; by default all that are open. `favour` is added to the score
    of each of them: by chance, a start of another shape. Thrifty: nothing is inserted that costs more travel
    than it is worth.
    """
    grown = list(tours)
    open_visits = np.array(open_of(problem, grown) if asked is None else asked, dtype=np.int64)
    if not grown or not len(open_visits):
        return grown
    table = [offers(problem, tour, open_visits) for tour in grown]
    extra = np.vstack([one.extra_s for one in table])
    gap, bank = np.vstack([one.gap for one in table]), np.vstack([one.bank for one in table])
    dearest_s = problem.loss[open_visits] // max(1, problem.travel_weight) if is_thrifty else np.full(len(open_visits), IMPOSSIBLE)
    extra[extra > dearest_s[None, :]] = IMPOSSIBLE
    weight = LOSS_SHARE * np.minimum(problem.loss[open_visits], LOSS_CAP) + (0.0 if favour is None else np.array(favour))
    waiting, least = np.ones(len(open_visits), dtype=np.bool_), _Least(extra)
    while waiting.any() and not stop():
        best, second = least.value
        score = np.where(waiting & (best < IMPOSSIBLE), np.minimum(second, 20_000) - best + weight, -np.inf)
        column = int(score.argmax())
        if score[column] == -np.inf:
            break
        row = int(extra[:, column].argmin())
        tour = insert_visit(problem, grown[row], int(open_visits[column]), int(gap[row, column]), int(bank[row, column]))
        if tour is None:
            extra[row, column] = IMPOSSIBLE
            least.look_at(np.array([column]))
            continue
        grown[row] = tour
        waiting[column] = False
        extra[:, column] = IMPOSSIBLE
        if problem.rivals[open_visits[column]] >= 0:
            waiting[np.isin(open_visits, problem.rivals_of(int(open_visits[column])))] = False
            extra[:, ~waiting] = IMPOSSIBLE
        fresh = offers(problem, tour, open_visits)
        extra[row], gap[row], bank[row] = np.where(waiting & (fresh.extra_s <= dearest_s), fresh.extra_s, IMPOSSIBLE), fresh.gap, fresh.bank
        least.changed(row)
    return grown


class _Least:
    """The least and second-least entry of each column of a table whose rows change one at a time; kept, for looking again at all is slow."""

    def __init__(self, table: I64) -> None:
        self.table = table
        shape = (2, table.shape[1])
        self.value, self.row = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64)
        self.look_at(np.arange(table.shape[1]))

    def look_at(self, columns: I64) -> None:
        """Find both entries of these columns anew."""
        part, every = self.table[:, columns], np.arange(len(columns))
        for rank in (0, 1):
            at = part.argmin(axis=0)
            self.value[rank, columns], self.row[rank, columns] = part[at, every], at
            part[at, every] = IMPOSSIBLE

    def changed(self, row: int) -> None:
        """Take in that one row of the table is another now."""
        self.look_at(np.flatnonzero((self.row == row).any(axis=0)))
        given = self.table[row]
        first = np.flatnonzero((self.row[0] != row) & (given < self.value[0]))
        self.value[1, first], self.row[1, first] = self.value[0, first], self.row[0, first]
        self.value[0, first], self.row[0, first] = given[first], row
        second = np.flatnonzero((self.row != row).all(axis=0) & (given < self.value[1]))
        self.value[1, second], self.row[1, second] = given[second], row


def repair(problem: Problem, tours: Sequence[Tour], is_late: Callable[[], bool]) -> list[Tour]:
    """Insert every unserved visit that still fits somewhere, dearest first, until none does: a visit left out is then truly displaced.

    Stops early when `is_late`.
    """
    grown = list(tours)
    found = True
    while found:
        found = False
        for node in sorted(open_of(problem, grown), key=lambda one: (-int(problem.loss[one]), one)):
            if problem.rivals[node] >= 0 and not is_open(problem, grown, node):
                continue
            place = None if is_late() else cheapest_place(problem, grown, node)
            if place is not None:
                grown[place[0]] = place[1]
                found = True
    return grown


def cheapest_place(problem: Problem, tours: Sequence[Tour], node: int) -> tuple[int, Tour] | None:
    """Return the tour to change and its new form for the cheapest feasible insertion of one visit, or None."""
    asked = np.array([node], dtype=np.int64)
    priced: list[tuple[int, int, Tour]] = []
    for row, tour in enumerate(tours):
        offer = offers(problem, tour, asked)
        changed = None
        if offer.extra_s[0] < IMPOSSIBLE:
            changed = insert_visit(problem, tour, node, int(offer.gap[0]), int(offer.bank[0]))
        if changed is None and (offer.extra_s[0] >= IMPOSSIBLE or not problem.is_plain):
            changed = _anywhere(problem, tour, node)
        if changed is not None:
            priced.append((changed.timing.travel_s - tour.timing.travel_s, row, changed))
    if not priced:
        return None
    _, row, changed = min(priced, key=lambda one: one[:2])
    return row, changed


def _anywhere(problem: Problem, tour: Tour, node: int) -> Tour | None:
    """Try every gap with deposits and pauses chosen anew, where the route without them would have time at all."""
    order = visits_of(problem, tour)
    if not problem.cash_fen[[*order, node]].any() and not problem.pauses_of(tour.pair.a, tour.pair.b):
        return None
    carefree = msgspec.structs.replace(problem, cash_fen=np.zeros_like(problem.cash_fen), rests=((),) * len(problem.rests))
    bare = time_route(carefree, tour.pair, order)
    if bare is None:
        return None
    extra, _ = _gap_table(carefree, Tour(tour.pair, bare), np.array([node], dtype=np.int64))
    best: Tour | None = None
    for gap in np.flatnonzero(extra[:, 0] < IMPOSSIBLE).tolist():
        timing = plan_deposits(problem, tour.pair, (*order[:gap], node, *order[gap:]))
        if timing is not None and (best is None or timing.travel_s < best.timing.travel_s):
            best = Tour(tour.pair, timing)
    return best
