"""One visit's moments in order, from whatever told of them: events, statements, reviews. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from backend.console.words import word
from backend.core.i18n import N_
from backend.core.ids import StaffId
from backend.exhibits.queries import StatementView
from backend.visits.queries import VisitDetail


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What happened at an instant: `text` is a msgid, `what` the msgid of a code, `who` a name. `received_at` where it came later."""

    at: datetime
    text: str
    what: str = ""
    who: str = ""
    received_at: datetime | None = None


def timeline_of(visit: VisitDetail, statements: Sequence[StatementView], people: Mapping[StaffId, str]) -> tuple[Moment, ...]:
    """Return the moments of a visit, earliest first; what happened at the same instant stays in the order of a visit."""
    moments = [
        *(_checked_in(visit, people)),
        *_instants(visit),
        *(
            Moment(at=one.at, text=N_("Right party confirmed") if one.is_match else N_("Right party not confirmed"), who=people.get(one.staff_id, ""),
                   received_at=one.received_at) for one in visit.right_party
        ),
        *(
            Moment(at=one.at, text=N_("Entered with consent") if one.consented_by else N_("Entered"), received_at=one.received_at)
            for one in visit.entries
        ),
        *(
            Moment(at=one.at, text=N_("Outcome told"), what=word(one.code) if isinstance(one.code, StrEnum) else one.told_code,
                   received_at=one.received_at) for one in visit.outcomes
        ),
        *(Moment(at=one.captured_at, text=N_("Statement signed"), what=word(one.kind), received_at=one.received_at) for one in statements),
        *(
            Moment(at=one.reported_at, text=N_("Report"), what=word(one.recoverability), who=people.get(one.reported_by, ""),
                   received_at=one.received_at) for one in visit.reports
        ),
        *(Moment(at=one.at, text=N_("Review"), what=word(one.verdict), who=people.get(one.by, "")) for one in visit.reviews),
    ]
    return tuple(sorted(moments, key=lambda moment: moment.at))


def _checked_in(visit: VisitDetail, people: Mapping[StaffId, str]) -> tuple[Moment, ...]:
    return tuple(
        Moment(at=one.at, text=N_("Checked in, badge worn") if one.is_credential_worn else N_("Checked in without a badge"),
               what=word(one.identity_presented), who=people.get(one.staff_id, ""), received_at=one.received_at)
        for one in visit.check_ins
    )


def _instants(visit: VisitDetail) -> tuple[Moment, ...]:
    known = (
        (visit.summary.started_at, N_("Visit started")), (visit.summary.ended_at, N_("Visit ended")), (visit.summary.closed_at, N_("Visit closed")),
    )
    return tuple(Moment(at=at, text=text) for at, text in known if at is not None)
