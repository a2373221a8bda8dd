"""What time makes due in cash: unanswered requests expire, held chains go on, and slips that no statement shows become variances."""

from datetime import timedelta
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.banks.tables import BankRow
from backend.cash import custody
from backend.cash.authorisations import expire_due
from backend.cash.variances import flag_missing_credits
from backend.core.clock import Clock
from backend.core.ids import BankId
from backend.jobs.queue import Chore
from backend.policies.queries import policy_in_force

EXPIRE_EVERY_S = 60.0
FLAG_EVERY_S = 3600.0
RELEASE_EVERY_S = 60.0


def chores(sessions: sessionmaker[Session], clock: Clock) -> list[Chore]:
    """Return the slice's chores, bound to a database and a clock."""
    return [
        Chore(name="cash.expire-requests", every_s=EXPIRE_EVERY_S, run=partial(_expire, sessions, clock)),
        Chore(name="cash.release-held", every_s=RELEASE_EVERY_S, run=partial(_release, sessions, clock)),
        Chore(name="cash.flag-missing-credits", every_s=FLAG_EVERY_S, run=partial(_flag, sessions, clock)),
    ]


def _expire(sessions: sessionmaker[Session], clock: Clock) -> None:
    with sessions.begin() as session:
        expire_due(session, clock())


def _release(sessions: sessionmaker[Session], clock: Clock) -> None:
    """One transaction for each person: a chain goes as far as it can at once, the rest at the next sweep."""
    with sessions() as session:
        waiting = custody.waiting_people(session)
    for bank_id, staff_id in waiting:
        with sessions.begin() as session:
            custody.release_waiting(session, bank_id, staff_id, clock())


def _flag(sessions: sessionmaker[Session], clock: Clock) -> None:
    """One transaction for each bank: what fails at one keeps no other from its turn at the next sweep."""
    now = clock()
    with sessions() as session:
        banks = session.scalars(select(BankRow.id).order_by(BankRow.id)).all()
    for bank_id in banks:
        with sessions.begin() as session:
            wait = timedelta(days=policy_in_force(session, BankId(bank_id), now).missing_credit_days)
            flag_missing_credits(session, BankId(bank_id), now - wait, now)
