"""All routes of money, and the one question that is open to everybody: is this receipt genuine."""

from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from backend.cash import queries
from backend.console import cash_authority, cash_desk, reconciliation
from backend.core.fen import FEN_MAX
from backend.core.problems import InvalidInput
from backend.web.app import Resources
from backend.web.pages import render_page


@get("/verify/receipt", operation_id="verifyReceipt", sync_to_thread=True, tags=["public"])
def verify_receipt(
    request: Request[Any, Any, Any], resources: NamedDependency[Resources], number: FromQuery[str] = "",
    amount_fen: Annotated[int, QueryParameter(name="amountFen")] = 0,
    code: FromQuery[str] = "",
) -> Response[Any]:
    """Tell whoever holds a receipt whether it is genuine, void or unknown, and nothing else."""
    if max(len(number), len(code)) > 64 or not 0 <= amount_fen <= FEN_MAX or "\0" in number + code:
        raise InvalidInput(pointer="", expected="number, amountFen and code as printed on the receipt", got="other values")
    answer = queries.ReceiptAnswer(status="unknown")
    if number and code:
        with resources.reads() as session:
            answer = queries.verify_receipt(session, number, amount_fen, code)
    if "text/html" in request.headers.get("accept", ""):
        return render_page("verify_receipt.html", request, status=answer.status, is_asked=bool(number and code))
    return Response(answer)


ROUTES: list[Any] = [*cash_authority.ROUTES, *cash_desk.ROUTES, *reconciliation.ROUTES]
OPEN_ROUTES: list[Any] = [verify_receipt]
