"""One request, one transaction, opened and closed in the handler; what is refused is recorded after the rollback."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy.orm import Session, sessionmaker

from backend.audit import log, rows
from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.core.problems import Problem
from backend.core.rulebook import RulesBreached
from backend.keys.keyring import Keyring


def attach_log(sessions: sessionmaker[Session], keyring: Keyring, origin: str) -> None:
    """Make each commit speak for its rows, and `transaction` index what an act appended to the log right after its commit."""
    sessions.configure(info={"keyring": keyring, "origin": origin, rows.COMMITS_ROWS: True})


@contextmanager
def transaction(sessions: sessionmaker[Session], actor: Actor | None, now: datetime) -> Iterator[Session]:
    """Run one act. Commits at the end; on a `Problem` rolls back, records the refusal on the actor's chain, raises on.

    What the act appended to the transparency log is indexed after the commit and before this returns, so that a receipt
    with its proof can be made at once.
    """
    session = sessions()
    try:
        yield session
        session.commit()
    except Problem as problem:
        session.rollback()
        if actor is not None:
            record_refusal(sessions, actor, problem, now)
        raise
    except BaseException:
        session.rollback()
        raise
    finally:
        session.close()
    if session.info.get(log.APPENDED):
        log.sequence(sessions, session.info["keyring"], session.info["origin"], now)


def record_refusal(sessions: sessionmaker[Session], actor: Actor, problem: Problem, now: datetime) -> None:
    """Record a refusal in a transaction of its own: problem, rules and codes, never values (CASH-01, ARCH-09)."""
    rules = sorted({breach.rule.value for breach in problem.breaches}) if isinstance(problem, RulesBreached) else []
    codes = sorted({breach.code for breach in problem.breaches}) if isinstance(problem, RulesBreached) else []
    with sessions.begin() as session:
        record(session, actor, EventTag.REFUSED, f"staff:{actor.id}", now, problem=problem.answered_code, rules=rules, codes=codes)
