"""The ledger, read: every transfer of a bank's money."""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from backend.auth.actors import Actor
from backend.cash import journal
from backend.core.ids import BankId
from backend.web.app import Resources
from backend.web.paging import Page, page_of, read_page


@get("/api/v1/ledger/transfers", operation_id="listTransfers", sync_to_thread=True, tags=["cash"])
def list_transfers(
    bank_id: Annotated[UUID, QueryParameter(name="bankId")], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
) -> Page[journal.TransferView]:
    """List the transfers of a bank's money, oldest first."""
    asked = read_page(limit, cursor)
    with resources.reads() as session:
        rows = journal.list_transfers(session, actor, BankId(bank_id), limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


ROUTES = [list_transfers]
