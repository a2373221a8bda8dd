"""Recordings of external recorders that wait to be accepted: what a phone shows its owner, who signs for them (F06)."""

from litestar import get
from litestar.di import NamedDependency

from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.exhibits import recordings
from backend.exhibits.recording_model import RecordingView
from backend.visits.for_evidence import recent_visits
from backend.web.app import Resources
from backend.web.body import View


class WaitingRecordings(View, frozen=True):
    """Examined recordings of one's own visits that one has not signed for yet."""

    recordings: tuple[RecordingView, ...]


@get("/mobile/v1/recordings", operation_id="listWaitingRecordings", sync_to_thread=True, tags=["evidence"])
def list_waiting(actor: NamedDependency[Actor], resources: NamedDependency[Resources]) -> WaitingRecordings:
    """Return what was brought in for one's own visits and waits for one's signature.

    Accept it by a `capture` of occasion `equipment_import` whose items name digest, size, start and end as given here; its bytes are here.
    """
    authorise(actor, Permission.EVIDENCE_SUBMIT)
    with resources.reads() as session:
        return WaitingRecordings(recordings=recordings.waiting_for(session, actor, recent_visits(session, actor.id)))


ROUTES = [list_waiting]
