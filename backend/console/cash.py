"""All routes of money, and the one question that is open to everybody: is this receipt genuine."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from backend.cash import queries
from backend.console import bank_hours, cash_authority, cash_books, cash_desk, reconciliation
from backend.core.fen import FEN_MAX
from backend.core.problems import InvalidInput
from backend.web.app import Resources
from backend.web.limits import Limit, client_of, demand_within
from backend.web.pages import render_page

CALLER_LIMIT: Limit = (60, timedelta(minutes=10))
NUMBER_LIMIT: Limit = (20, timedelta(hours=1))
"""A code has a hundred random bits: this is against crawling, and against guessing at one receipt for ever.

Only wrong guesses at a number count: else any stranger who knows it could keep its payer from asking.
"""


@get("/verify/receipt", operation_id="verifyReceipt", sync_to_thread=True, tags=["public"])
def verify_receipt(
    request: Request[Any, Any, Any], resources: NamedDependency[Resources], now: NamedDependency[datetime],
    number: FromQuery[str] = "",
    amount_fen: Annotated[int, QueryParameter(name="amountFen")] = 0,
    code: FromQuery[str] = "",
) -> Response[Any]:
    """Tell whoever holds a receipt whether it is genuine, void or unknown, and nothing else. Limited by caller, wrong guesses by number too."""
    if max(len(number), len(code)) > 64 or not 0 <= amount_fen <= FEN_MAX or "\0" in number + code:
        raise InvalidInput(pointer="", expected="number, amountFen and code as printed on the receipt", got="other values")
    answer = queries.ReceiptAnswer(status="unknown")
    if number and code:
        demand_within(resources, (("verify-receipt-from", client_of(request, resources), CALLER_LIMIT),), now)
        with resources.reads() as session:
            answer = queries.verify_receipt(session, number, amount_fen, code)
        if answer.status == "unknown":
            demand_within(resources, (("verify-receipt-of", number, NUMBER_LIMIT),), now)
    if "text/html" in request.headers.get("accept", ""):
        return render_page("verify_receipt.html", request, status=answer.status, is_asked=bool(number and code))
    return Response(answer)


ROUTES: list[Any] = [*cash_authority.ROUTES, *cash_books.ROUTES, *cash_desk.ROUTES, *reconciliation.ROUTES, *bank_hours.ROUTES]
OPEN_ROUTES: list[Any] = [verify_receipt]
