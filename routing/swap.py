"""An unannounced exchange of partners between two pairs that nobody can choose: committed before the plan is known, revealed when it is published.

Commit: when a plan is ordered, 32 random bytes are drawn and only their commitment is made public (in the audit chain and the transparency log).
Reveal: when the plan is published, the bytes are shown. Whether partners change, and which, follows from them and from the plan's digest alone:

1 The commitment binds the bytes to the plan's name, the day's instance and the chance in per cent, so that none of them moves afterwards.
2 A stream of numbers is drawn by HMAC-SHA-256, keyed with the bytes, over the digest of the plan as it was before.
3 The first number, below 100, says whether there is an exchange: it is, when it lies below the chance.
4 All exchanges of two routes (four for each two) are put into an order by the following numbers (Fisher and Yates).
5 They are tried in that order; the first that breaks no hard rule by `routing.check` is made. What was tried, and why it was not made, is listed.

Whoever holds the document checks 1 to 4 and the list's form by `verify_swap`; whoever also holds the day's instance and matrix checks 5 and the
published plan. It takes nobody's word: not the solver's, not the dispatcher's. What it cannot show is that the bytes were drawn at random: a host
who solves the whole day beforehand could try many before committing to one. After the commitment nobody chooses.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from itertools import combinations
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from routing.check import check
from routing.hand import Draft, lay_out
from routing.matrix import TravelMatrix, travel_matrix
from routing.model import Bank, CollectorId, Instance, Plan, Route, Stop, StopType, Visit
from routing.provenance import instance_digest, plan_digest

SCHEMA = "pair-swap/1"
SEED_BYTES = 32
TRIED_MAX = 400
NOT_DRAWN, SWAPPED, NONE_LEGAL, TOO_FEW, NOT_ASKED = "not-drawn", "swapped", "none-legal", "fewer-than-two-pairs", "day-begun"

Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Pair = tuple[CollectorId, CollectorId]
Exchange = tuple[int, int, int, int]
"""Routes i < j, and which member of each (0 or 1) keeps the route; the other two change places."""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange: the two routes, their pairs after it, and the codes of the rules that it would break; none for the one that was made."""

    routes: tuple[int, int]
    pairs: tuple[Pair, Pair]
    breaks: tuple[str, ...]


class SwapDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is published about a draw. `pairs` are those of the plan as it was, route by route."""

    plan: str
    chance_pct: Annotated[int, Meta(ge=0, le=100)]
    commitment: Hex
    seed: Hex
    instance_digest: Hex
    matrix_digest: Hex
    base_digest: Hex
    pairs: tuple[Pair, ...]
    outcome: str
    tried: tuple[Tried, ...]
    result_digest: Hex
    schema: str = SCHEMA


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """The plan to publish, which is the given one unless partners changed, and the document."""

    plan: Plan
    document: SwapDocument

    @property
    def is_swapped(self) -> bool:
        """Whether partners changed."""
        return self.document.outcome == SWAPPED


def commit(seed: bytes, plan: str, instance: Instance, chance_pct: int) -> str:
    """Return the commitment to a seed for one plan of one day at one chance.

    Raises:
        ValueError: the seed is not 32 bytes long, or the chance is not from 0 to 100.
    """
    if len(seed) != SEED_BYTES or not 0 <= chance_pct <= 100:
        raise ValueError("a seed has 32 bytes, a chance is 0 to 100 per cent")
    return _commitment(seed, plan, instance_digest(instance), chance_pct)


def draw(
    seed: bytes, plan_name: str, instance: Instance, base: Plan, *, chance_pct: int, matrix: TravelMatrix | None = None, is_asked: bool = True,
) -> Drawn:
    """Make the draw for a clean plan. The same arguments give the same answer, on any machine.

    Args:
        is_asked: False records that pairs are at work already and must not change; the seed is revealed all the same.
    """
    travel = travel_matrix(instance) if matrix is None else matrix
    outcome, tried, result = _outcome(seed, instance, base, travel, chance_pct) if is_asked else (NOT_ASKED, (), base)
    document = SwapDocument(
        plan=plan_name, chance_pct=chance_pct, commitment=commit(seed, plan_name, instance, chance_pct), seed=seed.hex(),
        instance_digest=instance_digest(instance), matrix_digest=travel.digest(), base_digest=plan_digest(base),
        pairs=tuple((route.collectors[0], route.collectors[1]) for route in base.routes), outcome=outcome, tried=tried,
        result_digest=plan_digest(result),
    )
    return Drawn(plan=result, document=document)


def verify_swap(document: SwapDocument, committed: str) -> tuple[str, ...]:
    """Return what is wrong with a draw, from its document and the commitment as it was logged; empty means that it follows from its seed."""
    findings = []
    if document.schema != SCHEMA:
        findings.append(f"schema: expected {SCHEMA}, got {document.schema[:40]!r}")
    opened = _commitment(bytes.fromhex(document.seed), document.plan, document.instance_digest, document.chance_pct)
    if opened != committed or document.commitment != committed:
        findings.append("the seed does not open the commitment that was logged for this plan, day and chance")
    if document.outcome == NOT_ASKED:
        return (*findings, *([] if document.result_digest == document.base_digest and not document.tried else ["pairs changed although not asked"]))
    numbers = _Numbers(bytes.fromhex(document.seed), document.base_digest)
    is_drawn = numbers.below(100) < document.chance_pct
    order = _order(numbers, len(document.pairs)) if is_drawn and len(document.pairs) > 1 else []
    expected = [((i, j), _exchanged(document.pairs, (i, j, x, y))) for i, j, x, y in order]
    told = [(one.routes, one.pairs) for one in document.tried]
    if told != expected[: len(told)]:
        findings.append("the exchanges were not tried in the order that the seed gives")
    if any(not one.breaks for one in document.tried[:-1]):
        findings.append("an exchange that breaks nothing was passed over")
    is_made = bool(document.tried) and not document.tried[-1].breaks
    right = NOT_DRAWN if not is_drawn else TOO_FEW if len(document.pairs) < 2 else SWAPPED if is_made else NONE_LEGAL
    if document.outcome != right:
        findings.append(f"outcome: expected {right}, got {document.outcome[:40]!r}")
    if right == NONE_LEGAL and len(told) != len(expected):
        findings.append(f"only {len(told)} of {len(expected)} exchanges were tried")
    if (right == SWAPPED) == (document.result_digest == document.base_digest):
        findings.append("the published plan changed without an exchange, or did not change with one")
    return tuple(findings)


def verify_in_full(
    document: SwapDocument, committed: str, instance: Instance, base: Plan, published: Plan, matrix: TravelMatrix | None = None
) -> tuple[str, ...]:
    """Return what is wrong with a draw, made again from the day itself; also whether the published plan is the one that it gives."""
    findings = list(verify_swap(document, committed))
    again = draw(
        bytes.fromhex(document.seed), document.plan, instance, base, chance_pct=document.chance_pct, matrix=matrix,
        is_asked=document.outcome != NOT_ASKED,
    )
    findings += [
        f"{key}: the draw made again gives something else" for key in SwapDocument.__struct_fields__
        if key != "commitment" and getattr(again.document, key) != getattr(document, key)
    ]
    if plan_digest(published) != again.document.result_digest:
        findings.append("the published plan is not the one that follows from the seed")
    findings += [f"the published plan breaks {one.rule}: {one.code}" for one in check(instance, published, matrix)]
    return tuple(findings)


class _Numbers:
    """Step 2: numbers below a bound, every one as likely, from HMAC-SHA-256 over a counter."""

    def __init__(self, seed: bytes, base_digest: str) -> None:
        self.seed, self.label, self.count = seed, f"{SCHEMA}\0{base_digest}\0".encode(), 0

    def below(self, bound: int) -> int:
        limit = 2**64 - 2**64 % bound
        while True:
            block = hmac.new(self.seed, self.label + self.count.to_bytes(8, "big"), hashlib.sha256).digest()
            self.count += 1
            number = int.from_bytes(block[:8], "big")
            if number < limit:
                return number % bound


def _commitment(seed: bytes, plan: str, day_digest: str, chance_pct: int) -> str:
    bound = msgspec.json.encode([SCHEMA, plan, day_digest, chance_pct])
    return hashlib.sha256(bound + b"\0" + seed).hexdigest()


def _order(numbers: _Numbers, routes: int) -> list[Exchange]:
    """Step 4. Only as many as may be tried are put into order."""
    every = [(i, j, x, y) for i, j in combinations(range(routes), 2) for x in (0, 1) for y in (0, 1)]
    for at in range(min(TRIED_MAX, len(every) - 1)):
        other = at + numbers.below(len(every) - at)
        every[at], every[other] = every[other], every[at]
    return every[:TRIED_MAX]


def _exchanged(pairs: tuple[Pair, ...], exchange: Exchange) -> tuple[Pair, Pair]:
    i, j, x, y = exchange
    return (pairs[i][x], pairs[j][1 - y]), (pairs[j][y], pairs[i][1 - x])


def _outcome(seed: bytes, instance: Instance, base: Plan, matrix: TravelMatrix, chance_pct: int) -> tuple[str, tuple[Tried, ...], Plan]:
    """Steps 3 to 5."""
    numbers = _Numbers(seed, plan_digest(base))
    if numbers.below(100) >= chance_pct:
        return NOT_DRAWN, (), base
    if len(base.routes) < 2:
        return TOO_FEW, (), base
    pairs = tuple((route.collectors[0], route.collectors[1]) for route in base.routes)
    tried: list[Tried] = []
    for exchange in _order(numbers, len(pairs)):
        i, j = exchange[:2]
        new = _exchanged(pairs, exchange)
        routes = [timed(instance, matrix, pair, base.routes[at].stops) for at, pair in zip((i, j), new, strict=True)]
        broken = _broken(instance, base, matrix, routes)
        result = base
        if not broken:
            placed = dict(zip((i, j), routes, strict=True))
            result = msgspec.structs.replace(base, routes=tuple(placed.get(at, route) for at, route in enumerate(base.routes)))
            broken = tuple(sorted({one.code.value for one in check(instance, result, matrix)}))
        tried.append(Tried(routes=(i, j), pairs=new, breaks=broken))
        if not broken:
            return SWAPPED, tuple(tried), result
    return NONE_LEGAL, tuple(tried), base


def _broken(instance: Instance, base: Plan, matrix: TravelMatrix, routes: list[Route]) -> tuple[str, ...]:
    """Judge the two routes alone, which is quick; whoever passes is judged within the whole plan."""
    alone = msgspec.structs.replace(base, routes=tuple(routes), unserved=None)
    return tuple(sorted({one.code.value for one in check(instance, alone, matrix)}))


def timed(instance: Instance, matrix: TravelMatrix, pair: Pair, stops: tuple[Stop, ...]) -> Route:
    """Give a pair's route its earliest times, leaving as late as its first stop allows. Whether that is legal is not judged here.

    Where somebody has a break or some hours are slower, pauses and deposits are placed anew for the same visits in the same order.
    """
    if instance.travel.speeds or any(one.breaks for one in instance.collectors):
        order = tuple(stop.id for stop in stops if stop.type is StopType.VISIT and stop.id is not None)
        return lay_out(instance, (Draft(pair, order),), matrix).routes[0]
    row = {one: index for index, one in enumerate(matrix.ids)}
    crew = [next(one for one in instance.collectors if one.id == name) for name in pair]
    places = [_place(instance, stop) for stop in stops]
    clock = max(instance.horizon[0], *(one.shift[0] for one in crew))
    departure, here = clock, [row[one.start] for one in crew]
    made: list[Stop] = []
    for place, stop in zip(places, stops, strict=True):
        there = row[place.location]
        leg_s = max(int(matrix.seconds[at, there]) for at in here)
        start = next((max(clock + leg_s, first) for first, last in _starts(instance, place) if max(clock + leg_s, first) <= last), clock + leg_s)
        if not made:
            clock = departure = start - leg_s
        end = start + place.service_s
        made.append(Stop(type=stop.type, id=stop.id, bank=stop.bank, arrival=clock + leg_s, start=start, end=end))
        clock, here = end, [there]
    back = clock + max(int(matrix.seconds[here[0], row[one.end]]) for one in crew) if made else clock
    return Route(collectors=pair, stops=tuple(made), departure=departure, return_at=back)


def _place(instance: Instance, stop: Stop) -> Visit | Bank:
    if stop.type is StopType.VISIT:
        return next(one for one in instance.visits if one.id == stop.id)
    return next(one for one in instance.banks if one.id == stop.bank)


def _starts(instance: Instance, place: Visit | Bank) -> Iterator[tuple[int, int]]:
    if isinstance(place, Bank):
        yield place.open, place.close - place.service_s
        return
    first, last = instance.horizon
    for opens, closes in sorted(place.windows):
        yield max(opens, first, place.approval.effective_from or 0), min(closes, last - place.service_s)


def load_document(content: dict[str, Any]) -> SwapDocument:
    """Read a `pair-swap/1`. Raises `ValueError` that names the key at fault."""
    try:
        return msgspec.convert(content, SwapDocument)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
