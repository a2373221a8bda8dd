"""What the solver process and its owner say to each other: MessagePack, one struct a message."""

from __future__ import annotations

import msgspec
import numpy as np

from routing.limits import Limits
from routing.matrix import TravelMatrix
from routing.model import Instance, Plan, Unserved


class Table(msgspec.Struct, frozen=True):
    """A travel matrix as little-endian bytes."""

    ids: tuple[str, ...]
    seconds: bytes
    metres: bytes


class SolveOrder(msgspec.Struct, frozen=True, tag=True):
    """Solve a day."""

    instance: Instance
    limits: Limits
    seed: int
    matrix: Table | None
    start: Plan | None = None


class ExplainOrder(msgspec.Struct, frozen=True, tag=True):
    """Say for every visit that a plan leaves out why."""

    instance: Instance
    plan: Plan
    matrix: Table | None


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """End the search; finish the best plan so far."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Everything is loaded; orders are taken."""

    has_kernels: bool


class Improved(msgspec.Struct, frozen=True, tag=True):
    """A better plan than any before, without reasons yet."""

    stage: str
    elapsed_s: float
    cost: int
    plan: Plan


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The final plan, judged clean."""

    plan: Plan


class Explained(msgspec.Struct, frozen=True, tag=True):
    """The reasons, one for every visit left out."""

    unserved: tuple[Unserved, ...]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The order could not be carried out; the last line of the traceback."""

    failure: str


Order = SolveOrder | ExplainOrder | Cancel
Answer = Ready | Improved | Finished | Explained | Failed
ENCODER = msgspec.msgpack.Encoder()
ORDERS: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def to_table(matrix: TravelMatrix | None) -> Table | None:
    """Pack a matrix."""
    if matrix is None:
        return None
    return Table(matrix.ids, *(np.ascontiguousarray(table, dtype="<i4").tobytes() for table in (matrix.seconds, matrix.metres)))


def to_matrix(table: Table | None) -> TravelMatrix | None:
    """Unpack a matrix."""
    if table is None:
        return None
    n = len(table.ids)
    seconds, metres = (np.frombuffer(content, dtype="<i4").reshape(n, n).astype(np.int32) for content in (table.seconds, table.metres))
    return TravelMatrix(table.ids, seconds, metres)
