"""What a pack may be asked for: a visit, a case, a placement batch, or a bank's days; and the bank's tokens that go with it."""

from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.cases.queries import cases_of_batch
from backend.cash.for_packs import tokens_of
from backend.core.ids import BankId, CaseId, VisitId
from backend.core.problems import InvalidInput
from backend.disputes import follow_ups
from backend.exhibits.custody_model import Scope, ScopeKind
from backend.exhibits.packs import Contents, authorisations_named
from backend.keys.keyring import Keyring
from evidence.pack import PackFollowUp

PERIOD_DAYS_MAX = 366
ZONE = ZoneInfo("Asia/Shanghai")
"""A bank's days are those of its country."""


class AskScope(msgspec.Struct, frozen=True, kw_only=True):
    """`id` names a visit, case or batch; a period has a bank and two days, both included."""

    kind: ScopeKind
    id: UUID | None = None
    bank_id: BankId | None = None
    from_on: date | None = None
    to_on: date | None = None


def scope_of(session: Session, actor: Actor, asked: AskScope) -> Scope:
    """Return the scope that was asked for; whether anything in it is the actor's is decided when the pack is made.

    Raises:
        InvalidInput: its parts do not fit its kind.
        NotFound: no such batch of the actor's.
    """
    if asked.kind is ScopeKind.PERIOD:
        return _period(actor, asked)
    if asked.id is None or asked.kind is ScopeKind.PRODUCTION:
        raise InvalidInput(pointer="/id", expected="a visit, case or batch", got=asked.kind.value)
    told = {asked.kind.value: str(asked.id)}
    match asked.kind:
        case ScopeKind.VISIT:
            return Scope(kind=asked.kind, told=told, visit_ids=(VisitId(asked.id),))
        case ScopeKind.CASE:
            return Scope(kind=asked.kind, told=told, case_ids=(CaseId(asked.id),))
    return Scope(kind=asked.kind, told=told, case_ids=cases_of_batch(session, actor, asked.id))


def tokens_for(session: Session, held: Contents) -> tuple[str, ...]:
    """Return the bank's cash authorisations that a pack's receipts name."""
    named = authorisations_named(session, held)
    return tuple(token for case_id in sorted(named) for token in tokens_of(session, case_id, named[case_id]))


def told_after(session: Session, keyring: Keyring, held: Contents) -> tuple[PackFollowUp, ...]:
    """Return what the bank did after it ruled cases of a pack to be fraud (DECL-09)."""
    return follow_ups.for_pack(session, keyring, held.cases)


def _period(actor: Actor, asked: AskScope) -> Scope:
    bank_id = actor.bank or asked.bank_id
    if bank_id is None or asked.from_on is None or asked.to_on is None:
        raise InvalidInput(pointer="/fromOn", expected="a bank, the first and the last day", got="less")
    days = (asked.to_on - asked.from_on).days
    if not 0 <= days < PERIOD_DAYS_MAX or not 1970 <= asked.from_on.year < 9998:
        raise InvalidInput(pointer="/toOn", expected=f"1 to {PERIOD_DAYS_MAX} days", got=str(days + 1))
    return Scope(
        kind=ScopeKind.PERIOD, told={"bank": str(bank_id), "from": asked.from_on.isoformat(), "to": asked.to_on.isoformat()}, bank_id=bank_id,
        from_at=_midnight(asked.from_on), to_at=_midnight(asked.to_on + timedelta(days=1)))


def _midnight(on: date) -> datetime:
    return datetime.combine(on, time(), ZONE)
