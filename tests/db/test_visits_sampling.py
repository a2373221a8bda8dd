"""Drawing which reported visits are looked at, against a real database (F05)."""

import hashlib
from datetime import datetime

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from backend.audit.tables import LogCheckpointRow, LogEntryRow
from backend.cases.tables import CaseRow
from backend.core.problems import Forbidden, NotFound
from backend.exhibits.custody_model import ItemVerdict
from backend.exhibits.item_reviews import ReviewItem
from backend.exhibits.model import ItemState
from backend.exhibits.tables import ItemRow, ManifestRow
from backend.visits import evidence_review, sampling
from backend.visits.model import Draw, VisitStatus
from backend.visits.rules import ticket_of
from backend.visits.tables import SamplingRow
from tests.db.test_visits_closing import closed, recording, review, taken
from tests.support.visits import Planned, outcome, planned_visit, report, started
from tests.support.world import World, shared_keyring, world

KEYRING = shared_keyring()
SHARE = 20


@pytest.fixture
def made(session: Session, now: datetime) -> World:
    return world(session, KEYRING, now)


@pytest.fixture
def whole(session: Session, made: World) -> Planned:
    """A reported visit, closed with its recording, that holds nothing to look at."""
    planned = planned_visit(session, KEYRING, made)
    started(session, KEYRING, made, planned)
    outcome(session, KEYRING, made, planned, "nobody_met", minutes=0)
    report(session, KEYRING, made, planned, minutes=0)
    closed(session, made, taken(session, made, planned, items=(recording(made),)))
    session.execute(update(ItemRow).values(state=ItemState.STORED, stored_at=made.now, blob_key="blob", wrapped_key=b"key"))
    session.execute(update(ManifestRow).values(standing="accepted"))
    return planned


def logged(session: Session, planned: Planned, *, is_drawn: bool) -> str:
    """Put the closing into a log whose root draws the visit or does not; returns the root."""
    roots = (hashlib.sha256(b"%d" % number).hexdigest() for number in range(1_000))
    root = next(one for one in roots if (ticket_of(one, planned.visit_id) < SHARE * 100) is is_drawn)
    entry_id = session.scalars(select(ManifestRow.log_entry_id).where(ManifestRow.visit_id == planned.visit_id)).one()
    session.execute(update(LogEntryRow).where(LogEntryRow.id == entry_id).values(tree_index=4, leaf_hash=b"\x00" * 32))
    at = planned.row(session).dispatched_at
    for size, text in ((4, "before"), (5, root), (6, "after")):
        found = bytes.fromhex(root) if size == 5 else hashlib.sha256(text.encode()).digest()
        session.add(LogCheckpointRow(size=size, root=found, text=text, at=at))
    session.flush()
    return root


def test_F05_visit_waits_for_its_closing_to_be_logged_and_is_drawn_once(session: Session, made: World, whole: Planned) -> None:
    assert sampling.due(session) == (whole.visit_id,)
    assert sampling.draw(session, whole.visit_id, made.now) is None
    root = logged(session, whole, is_drawn=False)
    assert sampling.draw(session, whole.visit_id, made.now) is Draw.NOT_DRAWN
    assert sampling.draw(session, whole.visit_id, made.now) is Draw.NOT_DRAWN
    assert whole.row(session).status is VisitStatus.NOT_SAMPLED
    assert sampling.due(session) == ()
    told = sampling.samplings_of(session, [whole.visit_id])[whole.visit_id]
    assert (told.log_size, told.log_root, told.ticket, told.share_pct) == (5, root, ticket_of(root, whole.visit_id), SHARE)
    with pytest.raises(DBAPIError, match=r"append-only|permission denied"), session.begin_nested():
        session.execute(update(SamplingRow).values(share_pct=99))


def test_F05_drawn_visit_waits_for_its_review(session: Session, made: World, whole: Planned) -> None:
    logged(session, whole, is_drawn=True)
    assert sampling.draw(session, whole.visit_id, made.now) is Draw.DRAWN
    assert whole.row(session).status is VisitStatus.REPORTED
    assert review(session, made, whole) is VisitStatus.REVIEWED


def test_F05_complaint_is_a_reason_and_calls_up_what_was_passed_over(session: Session, made: World, whole: Planned) -> None:
    logged(session, whole, is_drawn=False)
    sampling.draw(session, whole.visit_id, made.now)
    session.execute(update(CaseRow).values(complaint_at=made.now))
    assert sampling.due(session) == (whole.visit_id,)
    sampling.draw(session, whole.visit_id, made.now)
    assert whole.row(session).status is VisitStatus.REPORTED


def test_F05_complaint_before_the_draw_makes_it_required(session: Session, made: World, whole: Planned) -> None:
    logged(session, whole, is_drawn=False)
    session.execute(update(CaseRow).values(complaint_at=made.now))
    assert sampling.draw(session, whole.visit_id, made.now) is Draw.REQUIRED
    assert sampling.samplings_of(session, [whole.visit_id])[whole.visit_id].reasons == ("complaint",)


def test_F20_bank_calls_up_its_own_visits_and_no_others(session: Session, made: World, whole: Planned) -> None:
    logged(session, whole, is_drawn=False)
    sampling.draw(session, whole.visit_id, made.now)
    with pytest.raises(NotFound):
        sampling.call_up(session, made.chen.actor, whole.visit_id, made.now)
    with pytest.raises(Forbidden):
        sampling.call_up(session, made.farid.actor, whole.visit_id, made.now)
    assert sampling.call_up(session, made.lin.actor, whole.visit_id, made.now) is VisitStatus.REPORTED


def test_EVD_09_returned_file_opens_the_visit_again(session: Session, made: World, whole: Planned) -> None:
    item_key = session.scalars(select(ItemRow.id)).one()
    for verdict, status in ((ItemVerdict.COMMENT, VisitStatus.REPORTED), (ItemVerdict.RETURNED, VisitStatus.RETURNED)):
        command = ReviewItem(item_key=item_key, verdict=verdict, comment="the first minute is missing")
        _, became = evidence_review.review(session, made.lin.actor, KEYRING, command, made.now)
        assert became is status
