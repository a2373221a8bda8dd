"""Placement batches: the file as it is in the body, what the bank declared about it in the query."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, QueryParameter, RawBody
from litestar.types import ControllerRouterHandler

from backend.auth.actors import Actor
from backend.auth.permissions import Permission
from backend.cases.batches import FILE_BYTES_MAX, StatisticsLine, demand_imported, import_placement, list_batches, rejections_of, statistics_of
from backend.cases.layout import Acceptance, BatchOutcome, ImportPlacement
from backend.cases.placement import rejections_csv
from backend.console.values import XLSX, sheet_of
from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import BankId, BatchId, BranchId, StaffId
from backend.web.app import Resources
from backend.web.body import CONTENT_TYPES, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

_FILE: dict[str, Any] = {CONTENT_TYPES: frozenset({"text/csv", "application/octet-stream", XLSX})}

BatchNumber = Annotated[str, QueryParameter(pattern=r"^[0-9A-Za-z._/-]{1,64}\Z", max_length=64)]


class BatchView(View, frozen=True, kw_only=True):
    """What became of a placement file."""

    id: BatchId
    outcome: BatchOutcome
    number: str
    file_sha256: str
    encoding: str
    row_count: int
    accepted_count: int
    rejected_count: int
    amount_total_fen: Fen
    accepted_fen: Fen
    as_of_on: date
    received_at: datetime
    received_by: StaffId
    is_first: bool


class StatisticsView(View, frozen=True):
    """A batch by delinquency bucket."""

    rows: tuple[StatisticsLine, ...]


@post(
    "/api/v1/batches", operation_id="importBatch", sync_to_thread=True, opt=_FILE, request_max_body_size=FILE_BYTES_MAX, tags=["batches"],
    responses={200: ResponseSpec(BatchView, description="The same file was imported before; nothing changed.")},
)
def import_batch(
    body: RawBody, bank: FromQuery[UUID], profile: FromQuery[UUID], branch: FromQuery[UUID], number: BatchNumber,
    as_of_on: Annotated[date, QueryParameter(name="asOfOn")], row_count: Annotated[int, QueryParameter(name="rowCount", ge=1, le=1_000_000)],
    amount_total_fen: Annotated[int, QueryParameter(name="amountTotalFen", ge=0, le=FEN_MAX)], actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime], acceptance: FromQuery[Acceptance] = Acceptance.ALL_OR_NOTHING,
) -> Response[BatchView]:
    """Take in a placement file; the same file again answers 200 with the first result."""
    command = ImportPlacement(
        bank_id=BankId(bank), profile_id=profile, branch_id=BranchId(branch), number=number, content=bytes(body), as_of_on=as_of_on,
        row_count=row_count, amount_total_fen=Fen(amount_total_fen), acceptance=acceptance,
        rows=sheet_of(actor, Permission.BATCH_IMPORT, bytes(body)),
    )
    with transaction(resources.sessions, actor, now) as session:
        result = import_placement(session, actor, resources.keyring, command, now)
    # After the commit: a file refused for its rows keeps its rejections.
    view = msgspec.convert(demand_imported(result), BatchView, from_attributes=True)
    return Response(view, status_code=201 if result.is_first else 200)


@get("/api/v1/batches", operation_id="listBatches", sync_to_thread=True, tags=["batches"])
def read_batches(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Page[BatchView]:
    """List placement batches, oldest first."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = list_batches(session, actor, limit=asked.limit, after=asked.after_id)
    return page_of([msgspec.convert(row, BatchView, from_attributes=True) for row in rows], asked, lambda row: str(row.id))


@get("/api/v1/batches/{batch_id:uuid}/rejections.csv", operation_id="readRejections", sync_to_thread=True, media_type="text/csv", tags=["batches"])
def read_rejections(batch_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> Response[bytes]:
    """Return the rejection file of a batch: row, column, code, expected, got (masked)."""
    with resources.reads() as session:
        text = rejections_csv(rejections_of(session, actor, batch_id))
    headers = {"Content-Disposition": f'attachment; filename="rejections-{batch_id}.csv"'}
    return Response(text.encode("utf-8-sig"), media_type="text/csv; charset=utf-8", headers=headers)


@get("/api/v1/batches/{batch_id:uuid}/statistics", operation_id="readBatchStatistics", sync_to_thread=True, tags=["batches"])
def read_statistics(batch_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> StatisticsView:
    """Return cases and amounts of a batch by delinquency bucket (CASE-02)."""
    with resources.reads() as session:
        return StatisticsView(rows=statistics_of(session, actor, batch_id))


ROUTES: list[ControllerRouterHandler] = [import_batch, read_batches, read_rejections, read_statistics]
