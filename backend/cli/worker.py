"""`fieldvisit worker`: one of any number of processes that do the work outside requests."""

from uuid import UUID

from backend.cli.app import clock_of, configure_logs, make_resources
from backend.cli.people import opened
from backend.cli.tasks import all_chores, all_tasks
from backend.core.problems import InvalidInput
from backend.core.settings import Settings, SettingsError
from backend.jobs.given_up import GivenUp, let_try_again


def run(settings: Settings, jobs: int) -> None:
    """Work until SIGTERM or SIGINT.

    Raises:
        SettingsError: this deployment's jobs are threads of its server.
    """
    from backend.jobs.workers import Rhythm, Worker

    if settings.jobs != "workers":
        raise SettingsError("FIELDVISIT_JOBS: the server does its work itself here; set it to `workers` for the server and its workers alike")
    configure_logs()
    resources = make_resources(settings, clock_of(settings))
    rhythm = Rhythm(jobs=jobs, stalled_s=settings.worker_stalled_s, sweep_every_s=settings.worker_stalled_s / 2)
    Worker(
        resources.sessions, all_tasks(resources), all_chores(resources), GivenUp(resources.sessions, resources.clock), rhythm,
    ).run()


def retry(settings: Settings, task: str, subject: str) -> bool:
    """Take a job off the given-up list; False when it was not there."""
    try:
        subject_id = UUID(subject)
    except ValueError:
        raise InvalidInput(expected="an id", got=subject[:60]) from None
    with opened(settings) as (sessions, _), sessions.begin() as session:
        return let_try_again(session, task, subject_id)
