"""The slice's work outside requests: examination, and the end of uploads whose time is over."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import islice
from uuid import UUID

from backend.audit import log
from backend.core.problems import Problem
from backend.exhibits import examinations, joint, receipts, recordings, uploads
from backend.exhibits.recording_tables import RecordingRow
from backend.exhibits.transfers import item_chunks
from backend.jobs.means import Means
from backend.jobs.queue import Task
from backend.keys.sealing import sealer
from evidence.errors import EvidenceError
from evidence.examination import Examination, State
from evidence.examine_worker import Streamed, examine
from evidence.policy import DEFAULT, ContentPolicy

EXAMINE = "evidence.examine"
EXPIRE = "evidence.expire-upload"
LOOK_INTO = "evidence.examine-recording"
SWEEP_BATCH = 500


def tasks(means: Means) -> list[Task]:
    """Return the slice's tasks, bound to what they work with."""
    return [
        Task(name=EXAMINE, run=partial(_examine, means), unfinished=partial(_unexamined, means), abandon=partial(_abandon, means)),
        Task(name=LOOK_INTO, run=partial(_look_into, means), unfinished=partial(_not_looked_into, means), abandon=partial(_leave_unseen, means)),
        Task(name=EXPIRE, run=partial(_expire, means), unfinished=partial(_expired, means), abandon=lambda _upload_id: None),
    ]


def _examine(means: Means, manifest_id: UUID) -> None:
    """Examine one statement: each file in a process of its own, no transaction open meanwhile."""
    with means.sessions() as session:
        found = examinations.waiting(session, means.keyring, manifest_id)
    for one in found:
        seen = _look(means, one)
        with means.sessions.begin() as session:
            examinations.store(session, one.id, seen, means.clock())
    _conclude(means, manifest_id)


def _look(means: Means, one: examinations.ToExamine, policy: ContentPolicy = DEFAULT) -> Examination:
    try:
        chunks = item_chunks(means.store, means.settings.tenant, one.blob_key, (one.key, one.sha256))
        return examine(Streamed(size=one.size, chunks=chunks), one.media_type, policy)
    except (EvidenceError, Problem) as error:
        # Altered where it lies: said here, named by the check of everything, never guessed at.
        return Examination(state=State.UNDECODABLE, reason=f"the stored bytes do not open: {type(error).__name__}")


def _look_into(means: Means, recording_id: UUID) -> None:
    """Examine a recorder's file with its time marks, then whatever statements waited for it."""
    with means.sessions() as session:
        row = session.get_one(RecordingRow, recording_id)
        if row.examined_at is not None or row.wrapped_key is None:
            return
        key = sealer(session, means.keyring, row.case_id).unwrap_item_key(row.wrapped_key, row.sha256)
        one = examinations.ToExamine(id=row.id, media_type=row.media_type, sha256=row.sha256, blob_key=row.blob_key, key=key,
            size=row.size)
    _seen(means, recording_id, _look(means, one, recordings.POLICY))


def _leave_unseen(means: Means, recording_id: UUID) -> None:
    _seen(means, recording_id, Examination(state=State.NOT_EXAMINED, reason="the examination failed repeatedly"))


def _seen(means: Means, recording_id: UUID, seen: Examination) -> None:
    now: datetime = means.clock()
    with means.sessions.begin() as session:
        waited = recordings.examined(session, recording_id, examinations.composed(seen), now)
    for manifest_id in waited:
        _conclude(means, manifest_id)


def _not_looked_into(means: Means) -> tuple[UUID, ...]:
    with means.sessions() as session:
        return recordings.unexamined(session)


def _conclude(means: Means, manifest_id: UUID) -> None:
    now: datetime = means.clock()
    with means.sessions.begin() as session:
        done = [manifest_id] if examinations.conclude(session, manifest_id, now) else []
    with means.sessions.begin() as session:
        done.extend(one for one in examinations.closes_of(session, manifest_id) if examinations.conclude(session, one, now))
        examinations.hear_again(session, manifest_id, now)
    with means.sessions.begin() as session:
        joint.mark_statement(session, manifest_id, now)
    if not done:
        return
    log.sequence(means.sessions, means.keyring, means.origin, now)
    for one in done:
        with means.sessions.begin() as session:
            receipts.issue_examined(session, means.keyring, one, now, origin=means.origin)


def _unexamined(means: Means) -> tuple[UUID, ...]:
    with means.sessions() as session:
        return examinations.unfinished(session)


def _abandon(means: Means, manifest_id: UUID) -> None:
    with means.sessions.begin() as session:
        examinations.give_up(session, manifest_id, "the examination failed repeatedly", means.clock())
    _conclude(means, manifest_id)


def _expire(means: Means, upload_id: UUID) -> None:
    """End an upload whose time is over, and delete the bytes of one that ended; repeats safely."""
    with means.sessions.begin() as session:
        is_over = uploads.leave_expired(session, upload_id, means.clock())
    if is_over:
        means.store.delete_part(uploads.part_of(upload_id))


def _expired(means: Means) -> tuple[UUID, ...]:
    """Return uploads past their time, and those that ended while their bytes stayed: a crash came in between."""
    staying = (_upload_of(part) for part in means.store.parts(uploads.PARTS))
    found: list[UUID] = []
    with means.sessions() as session:
        found.extend(uploads.expired(session, means.clock()))
        for some in batched((one for one in staying if one is not None), SWEEP_BATCH):
            found.extend(uploads.ended(session, some))
    return tuple(dict.fromkeys(found))


def batched(source: Iterator[UUID], size: int) -> Iterator[list[UUID]]:
    """Yield lists of at most `size`."""
    while some := list(islice(source, size)):
        yield some


def _upload_of(part: str) -> UUID | None:
    try:
        return UUID(hex=part.rpartition("/")[2])
    except ValueError:
        return None                                  # Not of an upload; audit verify names what nothing refers to.
