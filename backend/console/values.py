"""From the wire's words to the domain's: what a command refuses becomes a problem, and instants stay within reach of a calendar."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Annotated

from msgspec import Meta

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.cases.sheets import Rows, is_workbook, rows_of
from backend.core.problems import InvalidInput

INSTANT_REACH = timedelta(days=400)
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

Moment = Annotated[datetime, Meta(tz=True)]
Note = Annotated[str, Meta(min_length=1, max_length=2_000)]
Limit = Annotated[int, Meta(ge=1, le=200)]
Cursor = Annotated[str, Meta(min_length=1, max_length=300)]


@contextmanager
def sound_values(pointer: str = "") -> Iterator[None]:
    """Turn the `ValueError` of a command's constructor into a refusal.

    Raises:
        InvalidInput: The values do not fit together.
    """
    try:
        yield
    except ValueError as error:
        raise InvalidInput(pointer=pointer, expected=str(error)[:200], got="values that do not fit together") from error


def within_reach(at: datetime, now: datetime, pointer: str) -> datetime:
    """Return an instant, or refuse one further from now than any fact or appointment of ours.

    Raises:
        InvalidInput: more than 400 days away.
    """
    if abs(at - now) > INSTANT_REACH:
        raise InvalidInput(pointer=pointer, expected="an instant within 400 days of now", got=at.isoformat())
    return at


def day_within_reach(on: date, now: datetime, pointer: str) -> date:
    """Return a day, or refuse one further from today than any plan of ours.

    Raises:
        InvalidInput: more than 400 days away.
    """
    if abs(on - now.date()) > INSTANT_REACH:
        raise InvalidInput(pointer=pointer, expected="a day within 400 days of today", got=on.isoformat())
    return on


def sheet_of(actor: Actor, permission: Permission, content: bytes) -> Rows | None:
    """Return the rows of a workbook, None for a text. Read before the transaction begins, and only for who may send it.

    Raises:
        Forbidden: the actor may not.
        SheetUnreadable: the workbook cannot be read.
    """
    if not is_workbook(content):
        return None
    authorise(actor, permission)
    return rows_of(content)
