"""What banks send about money, and the cases that it opens: statements, their files and rejections, variances."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter, RawBody
from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.permissions import Permission
from backend.cases.layout import Acceptance
from backend.cases.placement import rejections_csv
from backend.cash import bank_files, queries, reconciliation, variances
from backend.cash.bank_files import FILE_BYTES_MAX, BankFile, FileView
from backend.console.values import XLSX, sheet_of
from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import BankId
from backend.policies.queries import policy_in_force
from backend.web.app import Resources
from backend.web.body import CONTENT_TYPES, Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

FILE = {CONTENT_TYPES: frozenset({"text/csv", XLSX})}
Code = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]*\Z", min_length=1, max_length=48)]
Reference = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,64}\Z", max_length=64)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", max_length=64)]
BankQuery = Annotated[UUID, QueryParameter(name="bankId")]
RowCount = Annotated[int, QueryParameter(name="rowCount", ge=0, le=1_000_000)]
AmountTotal = Annotated[int, QueryParameter(name="amountTotalFen", ge=0, le=FEN_MAX)]


class ResolutionBody(Body, kw_only=True):
    """How a variance ends; with a slip its owner has paid the amount in after all."""

    code: Code
    slip_reference: Reference | None = None
    account_digest: Sha256 | None = None


class ExplanationBody(Body, kw_only=True):
    """Why an amount differs, as a code, and the number of what shows it."""

    code: Code
    reference: Reference | None = None


class CodeBody(Body, kw_only=True):
    """A reason as a code."""

    code: Code


class StatusView(View, frozen=True):
    """Where it stands now."""

    status: str


class StepsView(View, frozen=True):
    """What was done about a variance."""

    rows: tuple[variances.VarianceStep, ...]


@post(
    "/api/v1/statements", operation_id="importStatement", sync_to_thread=True, opt=FILE, request_max_body_size=FILE_BYTES_MAX, tags=["cash"])
def import_statement(
    body: RawBody, bank_id: BankQuery, row_count: RowCount, amount_total_fen: AmountTotal, actor: NamedDependency[Actor],
    resources: NamedDependency[Resources], now: NamedDependency[datetime], acceptance: FromQuery[Acceptance] = Acceptance.ALL_OR_NOTHING,
) -> reconciliation.Imported:
    """Import a bank's statement (CSV or XLSX) with the totals it declares, and match it at once; the same file twice changes nothing."""
    file = BankFile(
        bank_id=BankId(bank_id), content=bytes(body), row_count=row_count, amount_total_fen=Fen(amount_total_fen), acceptance=acceptance,
        rows=sheet_of(actor, Permission.CASH_RECONCILE, bytes(body)),
    )
    with transaction(resources.sessions, actor, now) as session:
        done = reconciliation.import_statement(session, actor, file, policy_in_force(session, file.bank_id, now), now)
    return reconciliation.demand_taken(done)


@get("/api/v1/bank-files", operation_id="listBankFiles", sync_to_thread=True, tags=["cash"])
def list_bank_files(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Page[FileView]:
    """List the files that banks sent about money, oldest first; a bank sees its own."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = bank_files.list_files(session, actor, limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@get(
    "/api/v1/bank-files/{file_id:uuid}/rejections.csv", operation_id="readFileRejections", sync_to_thread=True, media_type="text/csv", tags=["cash"])
def read_rejections(file_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> Response[bytes]:
    """Return the rejection file of a bank's file: row, column, code, expected, got."""
    with resources.reads() as session:
        text = rejections_csv(bank_files.rejections_of(session, actor, file_id))
    headers = {"Content-Disposition": f'attachment; filename="rejections-{file_id}.csv"'}
    return Response(text.encode("utf-8-sig"), media_type="text/csv; charset=utf-8", headers=headers)


@get("/api/v1/variances", operation_id="listVariances", sync_to_thread=True, tags=["cash"])
def list_variances(
    actor: NamedDependency[Actor], resources: NamedDependency[Resources], limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Page[queries.VarianceView]:
    """List variances with their owners and where they stand."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = queries.list_variances(session, actor, limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@get("/api/v1/variances/{variance_id:uuid}/steps", operation_id="listVarianceSteps", sync_to_thread=True, tags=["cash"])
def list_steps(variance_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> StepsView:
    """List what was done about a variance, oldest first."""
    with resources.reads() as session:
        return StepsView(rows=variances.steps_of(session, actor, variance_id))


@post("/api/v1/variances/{variance_id:uuid}/explain", operation_id="explainVariance", status_code=200, sync_to_thread=True, tags=["cash"])
def explain_variance(
    variance_id: FromPath[UUID], data: JSONBody[ExplanationBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> StatusView:
    """Explain a variance as its owner."""
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(status=variances.explain(session, actor, variance_id, data.code, data.reference, now).value)


@post("/api/v1/variances/{variance_id:uuid}/return", operation_id="returnVariance", status_code=200, sync_to_thread=True, tags=["cash"])
def return_variance(
    variance_id: FromPath[UUID], data: JSONBody[CodeBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> StatusView:
    """Send an explanation back as somebody who does not own the variance."""
    with transaction(resources.sessions, actor, now) as session:
        return StatusView(status=variances.send_back(session, actor, variance_id, data.code, now).value)


@post("/api/v1/variances/{variance_id:uuid}/resolve", operation_id="resolveVariance", status_code=204, sync_to_thread=True, tags=["cash"])
def resolve_variance(
    variance_id: FromPath[UUID], data: JSONBody[ResolutionBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> None:
    """Close a variance as somebody who does not own it."""
    command = variances.Resolution(
        variance_id=variance_id, code=data.code, slip_reference=data.slip_reference, account_digest=data.account_digest
    )
    with transaction(resources.sessions, actor, now) as session:
        variances.resolve_variance(session, actor, command, policy_in_force(session, None, now), now)


ROUTES: list[Any] = [
    import_statement, list_bank_files, read_rejections, list_variances, list_steps, explain_variance, return_variance, resolve_variance,
]
