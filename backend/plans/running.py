"""What a running day takes over from today's calendars: the offices of every bank whose cash it holds, as they are open now."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.core.ids import BankId
from backend.plans.gather import open_offices
from backend.plans.tables import PlanRow, ReplanRow
from backend.plans.to_routing import cash_rules, office_location, office_of
from backend.policies.queries import policy_in_force
from routing import Instance
from routing.events import ClosedBank, Event
from routing.model import Bank, Visit


def is_tied(instance: Instance) -> bool:
    """Tell whether the day knows whose money its cash is; days were once planned without."""
    return all(one.bank is not None for one in instance.visits if one.cash_fen)


def with_open_offices(session: Session, base: PlanRow, instance: Instance, joining: Iterable[Visit], now: datetime) -> Instance:
    """Give a day the offices of each bank whose cash it holds or that joins it, as they open today, and those banks' limits (CASH-06, CASH-08).

    An office that was reported closed earlier on the day stays closed; one that today's calendar knows no more, or as closed, takes nothing,
    and stays part of the day, since deposits may have been made there.
    """
    if not is_tied(instance):
        return instance
    cash = sorted({BankId(UUID(one.bank)) for one in (*instance.visits, *joining) if one.cash_fen and one.bank is not None})
    facts = open_offices(session, cash, base.on)
    fresh = {one.id: office_of(one) for one in facts}
    closed = _reported_closed(session, base.id)
    kept = tuple(_as_today(one, fresh.get(one.id), cash, closed) for one in instance.banks)
    known, places = {one.id for one in instance.banks}, {one.id for one in instance.locations}
    added = [one for one in facts if one.id not in known]
    limits = {bank: policy_in_force(session, bank, now).carry_limit_fen for bank in cash}
    return msgspec.structs.replace(
        instance, banks=kept + tuple(fresh[one.id] for one in added), cash=cash_rules(limits, cash, policy_in_force(session, None, now)),
        locations=instance.locations + tuple(place for place in map(office_location, added) if place.id not in places),
    )


def _as_today(office: Bank, fresh: Bank | None, cash: list[BankId], closed: dict[str, int]) -> Bank:
    if office.bank is None or BankId(UUID(office.bank)) not in cash:
        return office
    opens, closes = (0, 0) if fresh is None else (fresh.open, fresh.close)
    closes = min(closes, closed.get(office.id, closes))
    return msgspec.structs.replace(office, open=min(opens, closes), close=closes)


def _reported_closed(session: Session, plan_id: UUID) -> dict[str, int]:
    """Return since when offices are closed by word of a dispatcher, in the versions that the day runs by."""
    found: dict[str, int] = {}
    at: UUID | None = plan_id
    while at is not None:
        row = session.scalar(select(ReplanRow).where(ReplanRow.plan_id == at))
        for one in msgspec.convert(row.events, list[Event]) if row is not None else []:
            if isinstance(one, ClosedBank):
                found[one.bank] = min(one.from_s, found.get(one.bank, one.from_s))
        at = row.base_plan_id if row is not None else None
    return found
