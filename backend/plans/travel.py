"""A day's travel times: obtained outside every transaction, in a process of its own unless they are great-circle, and kept with the plan.

What a plan was solved with, it is judged with: by `store`, by `publish`, and when a dispatcher changes it by hand.
"""

import zlib
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from backend.core.ids import BranchId
from backend.core.settings import Settings
from backend.jobs.apart import run_apart
from backend.plans.tables import PlanRow, TravelMatrixRow
from routing import Instance, Plan, TravelMatrix, load_instance
from routing.process_words import Table, to_matrix, to_table
from routing.travel import ProviderName, TravelConfig, TravelRecord, obtain
from routing.travel.great_circle import GreatCircle

BUILD_S_MAX = 900
"""How much longer than its budget the process may take: a large extract is read once."""
MATRIX_BYTES_MAX = 1_000_000_000


class TravelOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order to the process that obtains travel times."""

    instance: dict[str, Any]
    config: TravelConfig


class Travel(msgspec.Struct, frozen=True, kw_only=True):
    """What was obtained; `table` None means the instance's own great-circle travel."""

    record: TravelRecord
    table: Table | None

    @property
    def matrix(self) -> TravelMatrix | None:
        """The table as the solver and the checker take it."""
        return to_matrix(self.table)


def config_of(settings: Settings) -> TravelConfig:
    """Return the configured provider; networks and asked legs are kept in the data folder."""
    return msgspec.structs.replace(settings.travel, cache_folder=str(settings.data_folder / "travel"))


def travel_order(payload: bytes) -> bytes:
    """Obtain one day's travel. Takes a `TravelOrder`, returns a `Travel`, both as MessagePack. Raises `TravelError`."""
    order = msgspec.msgpack.decode(payload, type=TravelOrder)
    matrix, record = obtain(order.config, load_instance(order.instance))
    return msgspec.msgpack.encode(Travel(record=record, table=to_table(matrix)))


def obtain_travel(instance: dict[str, Any], config: TravelConfig) -> Travel:
    """Return a day's travel times.

    Raises:
        WorkerFailed: the provider cannot serve the day; the message says why. WorkerKilled: nor in time.
    """
    if config.provider is ProviderName.GREAT_CIRCLE:
        return Travel(record=GreatCircle(load_instance(instance).travel).record, table=None)
    payload = msgspec.msgpack.encode(TravelOrder(instance=instance, config=config))
    return msgspec.msgpack.decode(run_apart(travel_order, payload, timeout_s=config.budget_s + BUILD_S_MAX), type=Travel)


def named(plan: Plan, travel: Travel) -> tuple[Plan, dict[str, Any]]:
    """Return the plan with the record of its travel times among its parameters, and the record with the matrix's digest."""
    digest = travel.record.matrix_digest or (plan.solver.matrix_digest if plan.solver else "")
    record: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(travel.record, matrix_digest=digest))
    if plan.solver is None:
        return plan, record
    solver = msgspec.structs.replace(plan.solver, parameters={**plan.solver.parameters, "travel": record})
    return msgspec.structs.replace(plan, solver=solver), record


def keep_matrix(session: Session, travel: Travel, now: datetime) -> None:
    """Keep a matrix under its digest, once, however many plans were made with it."""
    if travel.table is None:
        return
    content = zlib.compress(msgspec.msgpack.encode(travel.table), level=6)
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = {"digest": travel.record.matrix_digest, "content": content, "kept_at": now}
    session.execute(insert(TravelMatrixRow).values(values).on_conflict_do_nothing(index_elements=["digest"]))


def matrix_of(session: Session, row: PlanRow) -> TravelMatrix | None:
    """Return the matrix that a plan was made with; None for great-circle travel, which the instance holds itself."""
    digest = (row.travel or {}).get("matrix_digest")
    content = session.scalar(select(TravelMatrixRow.content).where(TravelMatrixRow.digest == digest))
    if content is None:
        assert (row.travel or {}).get("provider", "great-circle") == "great-circle", "a plan's matrix is never deleted"
        return None
    unpacker = zlib.decompressobj()
    packed = unpacker.decompress(content, MATRIX_BYTES_MAX)
    assert not unpacker.unconsumed_tail
    matrix = to_matrix(msgspec.msgpack.decode(packed, type=Table))
    assert matrix is not None
    assert matrix.digest() == digest, "the stored matrix is the one that it is named after"
    return matrix


def latest_for(session: Session, branch_id: BranchId | UUID, on: date, instance: Instance) -> tuple[TravelMatrix | None, dict[str, Any]]:
    """Return the travel of the day's newest solved version that knows all of these places where they are now, and its record.

    A plan made by hand is judged by it. Where there is none the day's great-circle travel takes its place, and the record says so.
    """
    rows = session.scalars(
        select(PlanRow).where(PlanRow.branch_id == branch_id, PlanRow.on == on, PlanRow.travel.is_not(None))
        .order_by(PlanRow.version.desc()).limit(5)
    ).all()
    wanted = {(place.id, place.lat, place.lon) for place in instance.locations}
    for row in rows:
        if wanted <= {(str(one["id"]), float(one["lat"]), float(one["lon"])) for one in row.instance["locations"]}:
            return matrix_of(session, row), dict(row.travel or {})
    return None, msgspec.to_builtins(GreatCircle(instance.travel).record)
