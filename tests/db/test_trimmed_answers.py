"""Stored answers: whole while their case is open and for 90 days after its end, then id, digest, sender and time alone (both engines)."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from backend.archive import answers
from backend.archive.tasks import TRIM, chores
from backend.cases.actions import recall
from backend.core.ids import new_id
from backend.core.problems import IdempotencyConflict, NotFound
from backend.keys.keyring import Keyring
from backend.submissions import inbox
from backend.submissions.tables import SubmissionRow
from tests.support.cash import Door, door
from tests.support.http import SteppedClock, make_resources
from tests.support.world import world

ANSWER = {"standing": "accepted", "breaches": []}
LATER = timedelta(days=90)


@pytest.fixture
def at(session: Session, keyring: Keyring) -> Door:
    return door(session, keyring, world(session, keyring))


def stored(at: Door, case_id: UUID | None, received_at: datetime | None = None) -> UUID:
    """Store an answer of bilal's phone."""
    submission_id = new_id()
    inbox.remember(at.session, submission_id, "visit.start", "d" * 64, at.made.bilal.on_phone, ANSWER, received_at or at.now, case_id=case_id)
    return submission_id


def replayed(at: Door, submission_id: UUID, digest: str = "d" * 64) -> dict[str, Any] | None:
    return inbox.replay(at.session, submission_id, "visit.start", digest, at.made.bilal.on_phone)


def test_nothing_of_an_open_case_or_of_no_case_is_trimmed(at: Door) -> None:
    kept = [stored(at, at.case_id), stored(at, None)]
    assert answers.trim_due(at.session, at.now + timedelta(days=9_000)) == 0
    with pytest.raises(IntegrityError, match="after its case"), at.session.begin_nested():
        inbox.trim(at.session, [at.case_id], at.now)
    assert [replayed(at, one) for one in kept] == [ANSWER, ANSWER]


def test_answers_are_kept_for_90_days_after_the_end_and_trimmed_then(at: Door) -> None:
    mine, other = stored(at, at.case_id), stored(at, door(at.session, at.keyring, at.made, 2).case_id)
    recall(at.session, at.made.gu.actor, at.case_id, at.now)
    assert answers.trim_due(at.session, at.now + LATER - timedelta(seconds=1)) == 0
    assert answers.trim_due(at.session, at.now + LATER) == 1
    assert answers.trim_due(at.session, at.now + LATER) == 0
    assert replayed(at, other) == ANSWER
    assert replayed(at, mine) == {"receivedAt": at.now.isoformat(), "trimmedAt": (at.now + LATER).isoformat()}


def test_a_late_write_about_an_ended_case_has_its_own_90_days(at: Door) -> None:
    late_at = at.now + timedelta(days=80)
    recall(at.session, at.made.gu.actor, at.case_id, at.now)
    first, late = stored(at, at.case_id), stored(at, at.case_id, late_at)
    assert answers.trim_due(at.session, at.now + LATER) == 0
    assert answers.trim_due(at.session, late_at + LATER) == 2
    assert {one.trimmed_at for one in at.session.scalars(select(SubmissionRow).where(SubmissionRow.id.in_([first, late])))} == {late_at + LATER}


def test_a_trimmed_id_still_belongs_to_its_sender_and_to_one_body(at: Door) -> None:
    mine = stored(at, at.case_id)
    recall(at.session, at.made.gu.actor, at.case_id, at.now)
    answers.trim_due(at.session, at.now + LATER)
    with pytest.raises(IdempotencyConflict):
        replayed(at, mine, "e" * 64)
    with pytest.raises(NotFound):
        inbox.replay(at.session, mine, "visit.start", "d" * 64, at.made.dong.on_phone)
    for change in ("answer = '{}', trimmed_at = NULL", "trimmed_at = received_at", "answer = '{}'"):
        with pytest.raises(IntegrityError), at.session.begin_nested():
            at.session.execute(text(f"UPDATE submissions SET {change}"))


def test_the_sweep_trims_lot_by_lot(
    sessions: sessionmaker[Session], keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    monkeypatch.setattr(answers, "CASES_PER_RUN_MAX", 1)
    clock = SteppedClock(now)
    with sessions.begin() as session:
        made = world(session, keyring, now)
        for serial in (1, 2):
            at = door(session, keyring, made, serial)
            stored(at, at.case_id)
            recall(session, made.gu.actor, at.case_id, now)
    clock.step(LATER.total_seconds())
    (trim,) = [chore for chore in chores(make_resources(sessions, keyring, tmp_path, clock)) if chore.name == TRIM]
    trim.run()
    with sessions() as session:
        assert session.scalars(select(SubmissionRow.trimmed_at)).all() == [clock.now, clock.now]
