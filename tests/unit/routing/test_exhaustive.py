"""Small days against an exhaustive search that shares nothing with the engines: how far the mean cost lies from the best there is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from routing import Engine, Limits, check, cost, load_instance, solve
from routing.assemble import encode_plan
from routing.check_rules import pair_faults, visit_faults
from routing.engines import search
from routing.matrix import travel_matrix
from routing.model import Collector, Instance
from tests.unit.routing.support_days import HOUR, day, visit

pytestmark = pytest.mark.long

Labels = dict[tuple[str, int], list[tuple[int, int]]]


def _random_day(seed: int) -> dict[str, Any]:
    """Draw a day of five to eight visits, four or five people and at most two pairs, tight enough that something often stays out."""
    rng = random.Random(seed)
    locations = [{"id": f"L{n}", "kind": "visit", "lat": 31.1 + rng.random() * 0.2, "lon": 121.4 + rng.random() * 0.2} for n in range(10)]
    crew = [
        {"id": f"C{n}", "gender": rng.choice("FM"), "lead": rng.random() < 0.7, "certs": ["a"] if rng.random() < 0.5 else [], "languages": ["zh"],
         "available": True, "shift": [rng.choice([8, 9]) * HOUR, rng.choice([13, 15, 18]) * HOUR], "start": f"L{rng.randrange(10)}",
         "end": f"L{rng.randrange(10)}"}
        for n in range(rng.choice([4, 5]))
    ]
    visits = []
    for n in range(rng.randint(5, 8)):
        opens = rng.choice([8, 9, 10, 12]) * HOUR
        visits.append(visit(
            f"V{n}", f"L{rng.randrange(10)}", service_s=rng.choice([1800, 2700, 3600]), value=rng.choice([1, 2, 4, 8]), mandatory=rng.random() < 0.1,
            windows=[[opens, opens + rng.choice([1, 3, 8]) * HOUR]], required_cert="a" if rng.random() < 0.2 else None,
            gender_rule=rng.choice(["any", "any", "female_present"]), cash_fen=rng.choice([0, 0, 30_000, 60_000]),
        ))
    return day(
        *visits, locations=locations, collectors=crew, cash={"carry_limit_fen": 100_000},
        banks=[{"id": "B", "location": "L0", "open": 9 * HOUR, "close": 16 * HOUR, "service_s": 600}],
        pairing={"max_consecutive_days": 3, "require_lead": True, "max_pairs": 2, "conflicts": [], "history": []},
    )


class _Best:
    """The least cost of a day, by trying every set of pairs and every division of the visits among them."""

    def __init__(self, instance: Instance) -> None:
        self.instance, self.matrix = instance, travel_matrix(instance)
        self.row = {one: index for index, one in enumerate(self.matrix.ids)}
        self.count = len(instance.visits)

    def leg(self, a: str, b: str) -> int:
        return int(self.matrix.seconds[self.row[a], self.row[b]])

    def least(self) -> int:
        pairs = [(a, b) for a, b in combinations(self.instance.collectors, 2) if not list(pair_faults(self.instance, a, b))]
        routes = [self.routes(a, b) for a, b in pairs]
        weights = self.instance.objective
        loss = [weights.mandatory_unserved if one.mandatory else weights.lost_value * one.value for one in self.instance.visits]
        whole = (1 << self.count) - 1
        lost = [sum(price for bit, price in enumerate(loss) if subset >> bit & 1) for subset in range(whole + 1)]
        best = lost[whole]
        for first, (a, b) in enumerate(pairs):
            for subset, (travel, _) in routes[first].items():
                best = min(best, lost[whole & ~subset] + travel)
            for second in range(first + 1, len(pairs)):
                if {a.id, b.id}.isdisjoint(one.id for one in pairs[second]):
                    best = min([best, *self.both(routes[first], routes[second], lost)])
        return best

    def both(self, one: dict[int, tuple[int, int]], two: dict[int, tuple[int, int]], lost: list[int]) -> Iterator[int]:
        whole = (1 << self.count) - 1
        for mine, (travel, work) in one.items():
            for yours, (also, beside) in two.items():
                if not mine & yours:
                    yield lost[whole & ~(mine | yours)] + travel + also + abs(work - beside) // self.instance.objective.imbalance_div

    def routes(self, a: Collector, b: Collector) -> dict[int, tuple[int, int]]:
        """Return, per set of visits that the pair can make, the least travel and the work: every order, with a deposit wherever it may be."""
        lo, hi = max(a.shift[0], b.shift[0], self.instance.horizon[0]), min(a.shift[1], b.shift[1], self.instance.horizon[1])
        able = [not list(visit_faults(one, a, b)) for one in self.instance.visits]
        table: list[Labels] = [{} for _ in range(1 << self.count)]
        found: dict[int, tuple[int, int]] = {}
        for subset in range(1 << self.count):
            states = [("", 0, lo, 0)] if not subset else [(place, cash, *one) for (place, cash), ones in table[subset].items() for one in ones]
            for place, cash, clock, travel in states:
                if subset and not cash:
                    home = max(self.leg(place, a.end), self.leg(place, b.end))
                    service = sum(one.service_s for bit, one in enumerate(self.instance.visits) if subset >> bit & 1)
                    done = (travel + home, travel + home + service + self.deposits_s(subset, place, clock, travel))
                    if clock + home <= hi and (subset not in found or done[0] < found[subset][0]):
                        found[subset] = done
                for bit, one in enumerate(self.instance.visits):
                    if able[bit] and not subset >> bit & 1 and cash + one.cash_fen <= self.instance.cash.carry_limit_fen:
                        way = self.leg(place, one.location) if place else max(self.leg(a.start, one.location), self.leg(b.start, one.location))
                        start = max(clock + way, one.windows[0][0], lo)
                        if start <= one.windows[0][1] and start + one.service_s <= self.instance.horizon[1]:
                            self.extend(table[subset | 1 << bit], one.location, cash + one.cash_fen, start + one.service_s, travel + way)
        return found

    def extend(self, labels: Labels, place: str, cash: int, clock: int, travel: int) -> None:
        _keep(labels, (place, cash), (clock, travel))
        for bank in self.instance.banks if cash else ():
            start = max(clock + self.leg(place, bank.location), bank.open)
            if start + bank.service_s <= bank.close:
                _keep(labels, (bank.location, 0), (start + bank.service_s, travel + self.leg(place, bank.location)))

    def deposits_s(self, subset: int, place: str, clock: int, travel: int) -> int:
        """Balance counts the service of deposits too; their number is not kept, so the least is taken: the bound stays a bound."""
        return min((bank.service_s for bank in self.instance.banks), default=0) if self.has_cash(subset) else 0

    def has_cash(self, subset: int) -> bool:
        return any(one.cash_fen for bit, one in enumerate(self.instance.visits) if subset >> bit & 1)


def _keep(labels: Labels, key: tuple[str, int], one: tuple[int, int]) -> None:
    known = labels.setdefault(key, [])
    if not any(clock <= one[0] and travel <= one[1] for clock, travel in known):
        labels[key] = [other for other in known if not (one[0] <= other[0] and one[1] <= other[1])] + [one]


def _mean_gap(limits: Limits, seeds: range) -> float:
    gaps = []
    for seed in seeds:
        instance = load_instance(_random_day(seed))
        plan = solve(instance, limits)
        assert check(instance, plan) == ()
        least, got = _Best(instance).least(), cost(instance, plan).total
        assert got >= least - 200, "the search over everything missed something"
        gaps.append(got / least - 1)
    print(f"{limits.engine.value}: mean {sum(gaps) / len(gaps):.4%}, worst {max(gaps):.4%}")
    return sum(gaps) / len(gaps)


def test_small_days_cost_within_one_per_cent_of_the_best_there_is() -> None:
    if not search.is_ready():
        pytest.skip("the search kernels are not compiled: run `python -m routing warm`")
    assert _mean_gap(Limits(search_s=60, iterations_max=2000, engine=Engine.SEARCH), range(24)) <= 0.01


def test_small_days_of_ortools_alone_stay_within_one_per_cent() -> None:
    assert _mean_gap(Limits(search_s=60, iterations_max=40, engine=Engine.ORTOOLS), range(14)) <= 0.01


def test_ortools_alone_forms_other_pairs_where_that_pays_and_repeats_to_the_byte() -> None:
    instance = load_instance(_random_day(4))
    limits = Limits(search_s=60, iterations_max=20, engine=Engine.ORTOOLS)
    plan = solve(instance, limits, seed=3)
    assert cost(instance, plan).total == _Best(instance).least()
    assert encode_plan(solve(instance, limits, seed=3)) == encode_plan(plan)
