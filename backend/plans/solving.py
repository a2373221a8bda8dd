"""The solver's side of planning, run in a process of its own: bytes in, bytes out, nothing of the house."""

from typing import Any

import msgspec

from routing import Limits, encode_plan, load_instance, solve

GRACE_S = 90
"""How long beyond its search a worker may take before it is killed: starting, compiling the search once, finishing."""


class SolveOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order to the worker."""

    instance: dict[str, Any]
    search_s: float
    seed: int


def solve_order(payload: bytes) -> bytes:
    """Solve one day. Takes a `SolveOrder`, returns a `fieldday-plan/1`, both as JSON."""
    order = msgspec.json.decode(payload, type=SolveOrder)
    plan = solve(load_instance(order.instance), Limits(search_s=order.search_s), seed=order.seed)
    return encode_plan(plan)
