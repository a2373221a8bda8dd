"""The slice's work outside requests: destructions are carried out, what has had its time is dropped, audit chains anchored, the log stamped."""

from functools import partial
from uuid import UUID

from backend.archive import answers, destructions
from backend.audit import log, stamps, verify
from backend.core.rulebook import RulesBreached
from backend.exhibits import exports
from backend.jobs.means import Means
from backend.jobs.queue import Chore, Task

DESTROY = "evidence.destroy"
DROP_PACK = "evidence.drop-pack"
ANCHOR = "audit.anchor"
ANCHOR_EVERY_S = 3600.0                                 # An act cut off a chain's end sooner, together with its head, leaves no trace.
TRIM = "submissions.trim"
TRIM_EVERY_S = 3600.0
STAMP = "log.stamp"
STAMP_EVERY_S = 900.0                                   # How soon a day's stamp is asked for, and asked for again after a failure.


def tasks(means: Means) -> list[Task]:
    """Return the slice's tasks, bound to what they work with."""
    return [
        Task(name=DESTROY, run=partial(_destroy, means), unfinished=partial(_approved, means), abandon=lambda _id: None),
        Task(name=DROP_PACK, run=partial(_drop, means), unfinished=partial(_over, means), abandon=lambda _id: None),
    ]


def chores(means: Means) -> list[Chore]:
    """Return what time makes due: the anchor of the audit chains, answers of cases long over, the day's time-stamp where one is asked for."""
    stamping = [] if means.settings.tsa_url is None else [Chore(name=STAMP, every_s=STAMP_EVERY_S, run=partial(_stamp, means))]
    anchoring = Chore(name=ANCHOR, every_s=ANCHOR_EVERY_S, run=partial(_anchor, means))
    return [anchoring, Chore(name=TRIM, every_s=TRIM_EVERY_S, run=partial(_trim, means)), *stamping]


def _anchor(means: Means) -> None:
    """Log the heads of the chains that moved, and give them their place in the log at once; when none did, nothing is logged."""
    now = means.clock()
    with means.sessions.begin() as session:
        is_moved = verify.anchor(session, now)
    if is_moved:
        log.sequence(means.sessions, means.keyring, means.origin, now)


def _trim(means: Means) -> None:
    """One transaction for each lot: what was trimmed stays so, whatever ends the run."""
    while True:
        with means.sessions.begin() as session:
            if not answers.trim_due(session, means.clock()):
                return


def _stamp(means: Means) -> None:
    from backend.audit.authority import configured

    stamps.stamp(means.sessions, configured(means.settings), means.clock())


def _destroy(means: Means, destruction_id: UUID) -> None:
    """Shred first, delete after: whatever a crash leaves in the store, nobody can open any more."""
    now = means.clock()
    try:
        with means.sessions.begin() as session:
            packs = destructions.carry_out(session, destruction_id, now)
    except RulesBreached:
        return                                      # A hold came after the decision and beats it; looked at again later.
    log.sequence(means.sessions, means.keyring, means.origin, now)
    with means.sessions() as session:
        blobs = destructions.blobs_of(session, destruction_id)
    for blob in (*blobs, *(exports.blob_of(pack_id) for pack_id in packs)):
        means.store.delete(blob)


def _approved(means: Means) -> tuple[UUID, ...]:
    with means.sessions() as session:
        return destructions.unfinished(session)


def _drop(means: Means, pack_id: UUID) -> None:
    means.store.delete(exports.blob_of(pack_id))
    with means.sessions.begin() as session:
        exports.forget(session, pack_id)


def _over(means: Means) -> tuple[UUID, ...]:
    with means.sessions() as session:
        return exports.over(session, means.clock())
