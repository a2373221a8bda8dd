"""Every kind of work outside requests, gathered from the slices that own it."""

from backend.jobs.queue import Chore, Task
from backend.web.app import Resources


def all_tasks(resources: Resources) -> list[Task]:
    """Return the tasks of every slice."""
    from backend.archive import tasks as archive
    from backend.exhibits import tasks as exhibits
    from backend.plans import tasks as plans
    from backend.plans.solvers import Solvers
    from backend.plans.travel import config_of
    from backend.visits import tasks as visits
    from mobile_api.statement_acts import overdue_task

    solvers = Solvers(resources.settings.solver_memory_bytes_max, resources.settings.strands_per_plan)
    planning = plans.tasks(resources.sessions, resources.clock, solvers, config_of(resources.settings))
    return [*planning, *exhibits.tasks(resources), *visits.tasks(resources), *archive.tasks(resources), overdue_task(resources)]


def all_chores(resources: Resources) -> list[Chore]:
    """Return what time makes due in every slice."""
    from backend.archive import tasks as archive
    from backend.cash import tasks as cash

    return [*cash.chores(resources.sessions, resources.clock), *archive.chores(resources)]
