"""What an export pack takes from the books: the bank's own tokens under which money was taken."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.cash.tables import AuthorisationRow


def tokens_of(session: Session, case_id: UUID, jtis: Collection[str]) -> tuple[str, ...]:
    """Return a case's authorisations of these ids as the bank signed them; an id of another case has none."""
    query = select(AuthorisationRow.token).where(AuthorisationRow.case_id == case_id, AuthorisationRow.jti.in_(sorted(jtis)))
    return tuple(session.scalars(query.order_by(AuthorisationRow.jti)))
