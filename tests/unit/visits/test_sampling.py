"""Which reported visits are looked at: reasons first, then a lot that anybody computes anew from the log (F05)."""

import hashlib
from uuid import UUID

import pytest

from backend.visits.model import TRANSITIONS, Draw, VisitEvent, VisitStatus
from backend.visits.rules import DrawFacts, ticket_of

ROOT = hashlib.sha256(b"a root").hexdigest()


def drawn(number: int, share_pct: int, reasons: tuple[str, ...] = (), root: str = ROOT) -> Draw:
    return DrawFacts(visit_id=UUID(int=number), reasons=reasons, log_root=root, share_pct=share_pct).judged()


@pytest.mark.parametrize("reason", ["cash", "declaration", "entry", "incident", "complaint"])
def test_TEAM_09_whatever_must_be_looked_at_is_looked_at_without_a_lot(reason: str) -> None:
    assert {drawn(number, 0, (reason,)) for number in range(50)} == {Draw.REQUIRED}


def test_share_of_nothing_draws_nobody_and_of_everything_everybody() -> None:
    assert {drawn(number, 0) for number in range(500)} == {Draw.NOT_DRAWN}
    assert {drawn(number, 100) for number in range(500)} == {Draw.DRAWN}


@pytest.mark.parametrize("share_pct", [5, 20, 50])
def test_share_is_met_over_many_visits(share_pct: int) -> None:
    hits = sum(drawn(number, share_pct) is Draw.DRAWN for number in range(20_000))
    assert abs(hits / 20_000 - share_pct / 100) < 0.015


def test_lot_is_what_its_description_says_and_differs_by_root_and_visit() -> None:
    visit = UUID(int=7)
    digest = hashlib.sha256(bytes.fromhex(ROOT) + visit.bytes).digest()
    assert ticket_of(ROOT, visit) == int.from_bytes(digest[:8], "big") % 10_000
    assert len({ticket_of(hashlib.sha256(bytes([number])).hexdigest(), visit) for number in range(100)}) > 90


def test_what_was_not_sampled_never_counts_as_reviewed_unless_somebody_reviews_it() -> None:
    following = {event: status for (before, event), status in TRANSITIONS.items() if before is VisitStatus.NOT_SAMPLED}
    assert following == {
        VisitEvent.CALL_UP: VisitStatus.REPORTED, VisitEvent.ACCEPT: VisitStatus.REVIEWED, VisitEvent.RETURN: VisitStatus.RETURNED,
        VisitEvent.ARCHIVE: VisitStatus.ARCHIVED,
    }
