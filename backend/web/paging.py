"""Lists: at most 200 rows and an opaque cursor on an indexed key. There is no offset and no total."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from backend.core.problems import InvalidInput

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
Row = TypeVar("Row")


class Page(msgspec.Struct, Generic[Row], frozen=True):
    """One page of a list; `next` is None on the last."""

    rows: tuple[Row, ...]
    next: str | None


class PageAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller asked for: `after` is the key of the last row seen."""

    limit: int
    after: str | None

    @property
    def after_id(self) -> UUID | None:
        """The cursor's key as an id.

        Raises:
            InvalidInput: it is not one.
        """
        if self.after is None:
            return None
        try:
            return UUID(self.after)
        except ValueError:
            raise InvalidInput(pointer="/cursor", expected="a cursor from a former page", got="another text") from None


def read_page(limit: int | None, cursor: str | None) -> PageAsked:
    """Read the query parameters of a list.

    Raises:
        InvalidInput: `limit` outside 1 … 200, or a cursor that no page gave.
    """
    chosen = LIMIT_DEFAULT if limit is None else limit
    if not 1 <= chosen <= LIMIT_MAX:
        raise InvalidInput(pointer="/limit", expected=f"1 to {LIMIT_MAX}", got=str(chosen))
    if cursor is None:
        return PageAsked(limit=chosen, after=None)
    try:
        after = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("utf-8")
    except (binascii.Error, UnicodeError, ValueError):
        raise InvalidInput(pointer="/cursor", expected="a cursor from a former page", got="another text") from None
    if not after or len(after) > 200 or "\0" in after:
        raise InvalidInput(pointer="/cursor", expected="a cursor from a former page", got="another text")
    return PageAsked(limit=chosen, after=after)


def page_of(rows: Sequence[Row], asked: PageAsked, key: Callable[[Row], str]) -> Page[Row]:
    """Make a page from at most `limit` + 1 rows in key order."""
    shown = tuple(rows[: asked.limit])
    more = len(rows) > asked.limit
    return Page(rows=shown, next=_cursor(key(shown[-1])) if more and shown else None)


def _cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
