"""How often strangers ask, counted in the database: behind several API processes one caller has one count."""

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import case, delete, literal
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from backend.core.problems import TooManyRequests
from backend.db.base import Instant
from backend.submissions.tables import RequestCountRow

KEPT = timedelta(days=1)


def count(session: Session, what: str, whose: str, limit: tuple[int, timedelta], now: datetime) -> None:
    """Count one request of a kind from one place; at most `limit[0]` in each window of `limit[1]` from its first on.

    `whose` is kept as a digest. Commit although the answer is a refusal: the caller's count must stay.

    Raises:
        TooManyRequests: the window holds more than that already.
    """
    number_max, window = limit
    session.execute(delete(RequestCountRow).where(RequestCountRow.begun_at < now - KEPT))
    bucket = hashlib.sha256(f"{what}\n{whose}".encode()).hexdigest()
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    is_over = RequestCountRow.begun_at <= now - window
    counted = insert(RequestCountRow).values(bucket=bucket, begun_at=now, number=1).on_conflict_do_update(
        index_elements=["bucket"],
        set_={
            "number": case((is_over, 1), else_=RequestCountRow.number + 1),
            "begun_at": case((is_over, literal(now, Instant)), else_=RequestCountRow.begun_at),
        },
    ).returning(RequestCountRow.number, RequestCountRow.begun_at)
    number, begun_at = session.execute(counted).one()
    if number > number_max:
        raise TooManyRequests(retry_after_s=max(1, int((begun_at + window - now).total_seconds())))
