"""What pages of a plan call its people and visits."""

from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.cases import queries as cases
from backend.core.ids import CaseId, RequestId, StaffId
from backend.plans import desk
from backend.plans.model import PlanView
from backend.staff import queries as staff


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """Names of people, references of requests' cases (a short id where the reader may not see the case), and the cases themselves."""

    people: Mapping[StaffId, str]
    cases: Mapping[RequestId, CaseId]
    references: Mapping[CaseId, str]

    def visit(self, request_id: UUID | str) -> str:
        """Return what a request's visit is called."""
        one = RequestId(UUID(str(request_id)))
        return self.references.get(self.cases[one], "") if one in self.cases else str(one)[-12:]

    def pair(self, people: Iterable[StaffId | str]) -> str:
        """Return the names of a pair."""
        return " · ".join(self.people.get(StaffId(UUID(str(one))), "") for one in people)

    def called(self, subject: str) -> str:
        """Return the name of whatever a finding or a change is about: a visit, a person, a pair `a+b`; empty for anything else."""
        try:
            ids = [UUID(one) for one in subject.split("+")]
        except ValueError:
            return ""
        if len(ids) == 1 and ids[0] in self.cases:
            return self.visit(ids[0])
        return self.pair([StaffId(one) for one in ids]) if all(one in self.people for one in ids) else ""


def board_of(
    session: Session, actor: Actor, plan: PlanView, requests: Iterable[RequestId] = (), people: Iterable[StaffId] = ()
) -> Board:
    """Gather the names for one plan's page: of its own visits and people, and of others named on it."""
    wanted = {stop.request_id for route in plan.routes for stop in route.stops if stop.request_id is not None}
    of = desk.cases_of(session, wanted | {one.request_id for one in plan.unserved} | set(requests))
    return Board(
        people=staff.names_of(session, {*desk.collectors_of(plan), *people}), cases=of, references=cases.references_of(session, actor, of.values()),
    )
