"""A second judge of `fieldday/2`, for the tests only: written from docs/fieldday-2.md and the format's description, sharing no code with `routing`.

It walks every second of a way where speeds change, and tries rules in another order than `routing.check`; what it returns are sentences.
"""

from __future__ import annotations

import math
from typing import Any

Day = dict[str, Any]


def faults(day: Day, plan: Day) -> list[str]:
    """Return one sentence for every fault found; empty: the plan is clean."""
    return _Reading(day, plan).run()


class _Reading:
    def __init__(self, day: Day, plan: Day) -> None:
        self.day, self.plan = day, plan
        self.place = {one["id"]: (math.radians(one["lat"]), math.radians(one["lon"])) for one in day["locations"]}
        self.people = {one["id"]: one for one in day["collectors"]}
        self.visits = {one["id"]: one for one in day["visits"]}
        self.banks = {one["id"]: one for one in day["banks"]}
        self.now = day.get("now") or 0
        self.progress = day.get("progress", [])
        self.found: list[str] = []

    def run(self) -> list[str]:
        if self.plan.get("schema") != "fieldday-plan/1" or self.plan["instance"] != self.day["name"]:
            self.found.append("another plan")
        of_route, waiting = {}, list(self.progress)
        for number, route in enumerate(self.plan["routes"]):
            known = next((one for one in waiting if self.begins_with(route, one)), None)
            if known is not None:
                waiting.remove(known)
                of_route[number] = known
        self.found += [f"locked stops of {one['collectors']} are gone" for one in waiting]
        at_work = [one for number, one in of_route.items() if one.get("together", True)]
        used = [n for n, route in enumerate(self.plan["routes"]) if route["stops"] and (n not in of_route or of_route[n] in at_work)]
        together = sum(1 for one in self.progress if one.get("together", True))
        if len(used) > max(self.day["pairing"]["max_pairs"], together):
            self.found.append("too many pairs")
        self.no_one_twice(used)
        for number, route in enumerate(self.plan["routes"]):
            known = of_route.get(number)
            if route["stops"] and (known is None or known.get("together", True)):
                self.walk(route, known)
        self.no_visit_twice()
        return self.found

    def begins_with(self, route: Day, known: Day) -> bool:
        count, own = len(known["stops"]), route["stops"]
        if sorted(route["collectors"]) != sorted(known["collectors"]) or route.get("departure") != known["departure"] or len(own) < count:
            return False
        if not known.get("together", True) and len(own) != count:
            return False
        keys = ("type", "id", "bank", "place", "arrival", "start", "end")
        return all(own[n].get(key) == known["stops"][n].get(key) for n in range(count) for key in keys)

    def no_one_twice(self, used: list[int]) -> None:
        names = [name for number in used for name in self.plan["routes"][number]["collectors"]]
        self.found += [f"{name} is on two routes" for name in sorted(set(names)) if names.count(name) > 1]

    def no_visit_twice(self) -> None:
        made = [stop["id"] for route in self.plan["routes"] for stop in route["stops"] if stop["type"] == "visit" and stop["id"] in self.visits]
        self.found += [f"{one} twice" for one in sorted(set(made)) if made.count(one) > 1]
        debtors = [self.visits[one].get("debtor") for one in sorted(set(made)) if self.visits[one].get("debtor")]
        self.found += [f"debtor {one} twice" for one in sorted(set(debtors)) if debtors.count(one) > 1]
        listed = self.plan.get("unserved")
        if listed is not None and sorted(one["id"] for one in listed) != sorted(set(self.visits) - set(made)):
            self.found.append("the list of visits left out is wrong")

    def metres(self, one: str, other: str) -> int:
        (lat_a, lon_a), (lat_b, lon_b), travel = self.place[one], self.place[other], self.day["travel"]
        chord = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
        return math.floor(2 * travel["earth_radius_m"] * math.asin(min(1.0, math.sqrt(chord))) * travel["detour_factor"] + 0.5)

    def way(self, one: str, other: str, leaves: int) -> int:
        """Return the arrival, second by second where speeds are given."""
        left = 100 * math.floor(self.metres(one, other) * 3.6 / self.day["travel"]["speed_kmh"] + 0.5)
        spans = self.day["travel"].get("speeds", [])
        clock = leaves
        while left > 0:
            left -= next((span["percent"] for span in spans if span["span"][0] <= clock < span["span"][1]), 100)
            clock += 1
        return clock

    def most(self, bank: str | None) -> int:
        """Return how much of a bank's money may be carried."""
        rules = self.day["cash"]
        return min([rules["carry_limit_fen"]] + [one["carry_limit_fen"] for one in rules.get("limits", []) if one["bank"] == bank])

    def joint_way(self, origins: list[str], goal: str, leaves: int) -> int:
        return max(self.way(one, goal, leaves) for one in origins)

    def pair_rules(self, a: Day, b: Day) -> list[str]:
        rule, both = self.day["pairing"], {a["id"], b["id"]}
        out = [f"{one['id']} is not available" for one in (a, b) if not one["available"]]
        out += ["they must not work together"] if both in [set(one) for one in rule["conflicts"]] else []
        out += ["one of them is bound to another"] if any(len(both & set(one)) == 1 for one in rule.get("fixed", [])) else []
        out += ["nobody leads"] if rule["require_lead"] and not (a["lead"] or b["lead"]) else []
        recent = [one for one in rule["history"] if one["days_ago"] <= rule["max_consecutive_days"]]
        worn = len(recent) >= rule["max_consecutive_days"] and all(both in [set(pair) for pair in one["pairs"]] for one in recent)
        out += ["together too long"] if worn else []
        out += ["their shifts are apart"] if max(a["shift"][0], b["shift"][0]) >= min(a["shift"][1], b["shift"][1]) else []
        return out

    def walk(self, route: Day, known: Day | None) -> None:
        names = route["collectors"]
        if len(set(names)) != 2 or any(name not in self.people for name in names):
            self.found.append(f"{names} are no pair")
            return
        pair = [self.people[name] for name in names]
        locked = 0 if known is None else len(known["stops"])
        if known is None or len(route["stops"]) > locked:
            self.found += self.pair_rules(*pair)
        _Walk(self, route, pair, known).run(locked)

    def freed(self, name: str) -> tuple[str, int] | None:
        parted = [one for one in self.progress if not one.get("together", True) and name in one["collectors"]]
        last = max(parted, key=lambda one: one["free_at"], default=None)
        return None if last is None else (last["place"], last["free_at"])

    def breaks_ahead(self, one: Day, known: Day | None) -> list[tuple[int, int, int]]:
        begins, free_at = max(one["shift"][0], self.day["horizon"][0], self.now), 0
        if known is not None:
            begins = free_at = max(known["free_at"], self.now)
        elif (parted := self.freed(one["id"])) is not None:
            free_at = parted[1]
            begins = max(begins, free_at)
        taken = [
            stop["end"] for past in self.progress if one["id"] in past["collectors"] for stop in past["stops"] if stop["type"] == "pause"
        ]
        return [
            (max(rest["window"][0], free_at), rest["window"][1], rest["duration_s"]) for rest in one.get("breaks", [])
            if rest["window"][1] >= begins and not [end for end in taken if end > rest["window"][0]]
        ]

    def pauses(self, pair: list[Day], known: Day | None) -> list[tuple[int, int, int]]:
        first, second = (self.breaks_ahead(one, known) for one in pair)
        out = []
        while first or second:
            if first and second:
                lo, hi = max(first[0][0], second[0][0]), min(first[0][1], second[0][1])
                if lo <= hi:
                    out.append((lo, hi, max(first.pop(0)[2], second.pop(0)[2])))
                    continue
            queue = first if not second or (first and first[0][1] < second[0][1]) else second
            out.append(queue.pop(0))
        return out


class _Walk:
    """One pair's day from its first stop that is not locked."""

    def __init__(self, reading: _Reading, route: Day, pair: list[Day], known: Day | None) -> None:
        self.r, self.route, self.pair, self.known = reading, route, pair, known
        horizon = reading.day["horizon"]
        self.ends_by = min(pair[0]["shift"][1], pair[1]["shift"][1], horizon[1])
        freed = [reading.freed(one["id"]) for one in pair]
        self.origins = [one["start"] if place is None else place[0] for one, place in zip(pair, freed, strict=True)]
        self.begins = max([horizon[0], reading.now, *(one["shift"][0] for one in pair), *(place[1] for place in freed if place is not None)])
        self.due = reading.pauses(pair, known)
        self.whose: set[str | None] = set()
        self.carried: list[tuple[int, bool]] = []    # (fen, is it only the most that may be taken)
        self.fallback: tuple[str, int] | None = None    # Where and when the pair goes on from if the deposit just made is released.

    def say(self, what: str) -> None:
        self.r.found.append(f"{'+'.join(self.route['collectors'])}: {what}")

    def run(self, locked: int) -> None:
        if self.known is None:
            clock = self.route["departure"] if self.route.get("departure") is not None else self.begins
            if clock < self.begins:
                self.say("leaves too early")
            places = self.origins
            self.left_at: int | None = clock
        else:
            clock, places = self.stand(self.known)
            self.left_at = None
        there = False
        for index, stop in enumerate(self.route["stops"][locked:], start=locked):
            goal = self.goal(index)
            if goal is None:
                self.say(f"stop {index} goes nowhere")
                return
            place = stop.get("place") or (places[0] if len(places) == 1 else None) if stop["type"] == "pause" else goal
            if place is None or (place != goal and places != [place]):
                self.say("a pause at no stop")
                return
            arrival = clock if there or place != goal else self.r.joint_way(places, place, clock)
            clock = self.serve(stop, arrival, (places, place, goal, clock))
            there, places = stop["type"] == "pause" and place == goal, [place]
        self.come_home(places, clock)

    def goal(self, index: int) -> str | None:
        """Return where the next visit or deposit is, this stop included."""
        for stop in self.route["stops"][index:]:
            if stop["type"] != "pause":
                table = self.r.visits if stop["type"] == "visit" else self.r.banks
                found = table.get(stop.get("id" if stop["type"] == "visit" else "bank"))
                return None if found is None else str(found["location"])
        return None

    def stand(self, known: Day) -> tuple[int, list[str]]:
        clock = max(known["free_at"], self.r.now)
        fen, whose = 0, set[str | None]()
        for stop in known["stops"]:
            if stop["type"] == "visit":
                took = stop["cash_fen"] if stop.get("cash_fen") is not None else self.r.visits[stop["id"]]["cash_fen"]
                fen += took
                whose |= {self.r.visits[stop["id"]].get("bank")} if took else set()
            elif stop["type"] == "deposit":
                fen, whose = 0, set()
        ends = [one["end"] for one in self.pair]
        home = max(self.r.way(known["place"], end, clock) for end in ends)
        if fen and len(whose) == 1:
            by_bank = []
            mine = whose.pop()
            for bank in self.r.banks.values():
                if bank.get("bank") not in (None, mine):
                    continue
                begins = max(bank["open"], self.r.way(known["place"], bank["location"], clock))
                if begins + bank["service_s"] <= bank["close"]:
                    by_bank.append(max(self.r.way(bank["location"], end, begins + bank["service_s"]) for end in ends))
            if by_bank:
                home = min(by_bank)
                self.carried.append((min(fen, self.r.most(mine)), False))
                self.whose = {mine}
        self.ends_by = max(self.ends_by, home)
        return clock, [known["place"]]

    def serve(self, stop: Day, arrival: int, at: tuple[list[str], str, str, int]) -> int:
        places, place, goal, left = at
        if stop["type"] == "pause":
            window = [one for one in self.due if stop.get("start") is None or one[0] <= stop["start"] <= one[1]]
            own = window[0] if window else (arrival, arrival, 0)
            start = stop["start"] if stop.get("start") is not None else max(arrival, own[0])
            end = stop["end"] if stop.get("end") is not None else start + own[2]
        else:
            start = stop["start"] if stop.get("start") is not None else self.first_start(stop, arrival)
            lasts = (self.r.visits[stop["id"]] if stop["type"] == "visit" else self.r.banks[stop["bank"]])["service_s"]
            end = start + lasts
        for key, true in (("arrival", arrival), ("end", end)):
            if stop.get(key) is not None and stop[key] != true:
                self.say(f"{key} {stop[key]} is {true}")
        if start < arrival or end < start:
            self.say("begins before it can")
        if self.left_at is not None:
            self.rest_at_home(place, start)
        if self.fallback is not None and place == goal:
            if self.r.way(self.fallback[0], place, self.fallback[1]) > start:
                self.say("late if the deposit before is released")
            self.fallback = None
        if stop["type"] == "pause":
            self.due = [one for one in self.due if not (one[0] <= start <= one[1] and end - start >= one[2])]
            if self.fallback is not None:
                self.fallback = (self.fallback[0], end)
        elif stop["type"] == "visit":
            self.visit(self.r.visits[stop["id"]], start, end)
        else:
            self.deposit(self.r.banks[stop["bank"]], start, (places, left))
        return end

    def rest_at_home(self, place: str, start: int) -> None:
        while self.due:
            over = self.due[0][0] + self.due[0][2]
            given = self.route.get("departure") is not None
            if self.left_at is not None and self.left_at < over and (given or self.r.joint_way(self.origins, place, over) > start):
                break
            self.due.pop(0)
        self.left_at = None

    def spans(self, visit: Day) -> list[list[int]]:
        windows = visit["windows"]
        if visit.get("pinned_start") is not None:
            windows = [[visit["pinned_start"]] * 2 for lo, hi in windows if lo <= visit["pinned_start"] <= hi]
        first, last = self.r.day["horizon"]
        released = visit["approval"]["effective_from"] or 0
        return [[max(lo, first, released), min(hi, last - visit["service_s"])] for lo, hi in windows]

    def first_start(self, stop: Day, arrival: int) -> int:
        if stop["type"] == "visit":
            options = [max(lo, arrival) for lo, hi in self.spans(self.r.visits[stop["id"]]) if max(lo, arrival) <= hi]
            return options[0] if options else arrival
        return max(arrival, int(self.r.banks[stop["bank"]]["open"]))

    def visit(self, visit: Day, start: int, end: int) -> None:
        name = visit["id"]
        if visit["approval"]["status"] != "approved":
            self.say(f"{name} is not approved")
        if not any(lo <= start <= hi for lo, hi in self.spans(visit)):
            self.say(f"{name} starts at {start}, which nobody allows")
        genders = {one["gender"] for one in self.pair}
        ids = [one["id"] for one in self.pair]
        wrong = [
            set(visit["excluded_collectors"]) & set(ids), set(visit.get("pinned_collectors", [])) - set(ids),
            visit["required_cert"] is not None and all(visit["required_cert"] not in one["certs"] for one in self.pair),
            visit["required_language"] is not None and all(visit["required_language"] not in one["languages"] for one in self.pair),
            visit["gender_rule"] != "any" and "F" not in genders, visit["gender_rule"] == "mixed" and "M" not in genders,
            visit.get("credential") and any(visit["credential"] not in one.get("credentials", []) for one in self.pair),
        ]
        if any(wrong):
            self.say(f"they must not make {name}")
        if visit["cash_fen"]:
            self.carried.append((visit["cash_fen"], visit.get("cash_is_cap", False)))
            self.whose.add(visit.get("bank"))
            if len(self.whose) > 1:
                self.say(f"mixes the money of {self.whose}")
        if sum(fen for fen, _ in self.carried) > min([self.r.day["cash"]["carry_limit_fen"], *(self.r.most(one) for one in self.whose)]):
            self.say("carries too much")
        if any(end > hi for _, hi, _ in self.due):
            self.say(f"{name} is made before a break that was due")
            self.due = [one for one in self.due if end <= one[1]]

    def deposit(self, bank: Day, start: int, before: tuple[list[str], int]) -> None:
        if start < bank["open"] or start + bank["service_s"] > bank["close"]:
            self.say(f"{bank['id']} is closed")
        if bank.get("bank") is not None and self.whose - {bank["bank"]}:
            self.say(f"{bank['id']} takes no money of {self.whose}")
        self.whose = set()
        is_released = bool(self.carried) and all(is_cap for _, is_cap in self.carried) and len(before[0]) == 1
        self.fallback = (before[0][0], before[1]) if is_released else None
        self.carried = []

    def come_home(self, places: list[str], clock: int) -> None:
        if self.carried:
            self.say("brings cash home")
        back = max(self.r.way(places[0], one["end"], clock) for one in self.pair)
        if self.route.get("return") is not None and self.route["return"] != back:
            self.say(f"return {self.route['return']} is {back}")
        if back > self.ends_by:
            self.say("home too late")
