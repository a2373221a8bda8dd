"""Writes of policies: a new version takes the place of the old from a future moment on; nothing is ever changed."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.audit.events import EventTag
from backend.audit.record import record
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.core.ids import BankId, new_id
from backend.core.problems import Conflict, InvalidInput
from backend.policies.model import DEFAULT_VERSION, Policy, Thresholds
from backend.policies.tables import PolicyRow


class NewPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the thresholds; what is not named keeps its default. `bank_id` None: for every bank without its own."""

    version: str
    bank_id: BankId | None
    valid_from: datetime
    thresholds: dict[str, Any]


def publish(session: Session, actor: Actor, new: NewPolicy, now: datetime) -> Policy:
    """Publish a policy that begins now or later, since judgements already made stay judged as they were.

    Raises:
        InvalidInput: a threshold is unknown or outside what any policy may say, or it begins in the past.
        Conflict: the version's name is taken.
    """
    authorise(actor, Permission.POLICY_MANAGE)
    if new.valid_from < now:
        raise InvalidInput(pointer="/validFrom", expected="now or later", got=new.valid_from.isoformat())
    if new.version == DEFAULT_VERSION or session.scalar(select(PolicyRow.id).where(PolicyRow.version == new.version)):
        raise Conflict(reason="version-taken")
    try:
        whole = msgspec.convert(new.thresholds, Thresholds)
    except msgspec.ValidationError as error:
        raise InvalidInput(pointer="/thresholds", expected="known thresholds within their bounds", got=str(error)[:200]) from error
    session.add(PolicyRow(
        id=new_id(), version=new.version, bank_id=new.bank_id, valid_from=new.valid_from, thresholds=msgspec.to_builtins(whole), made_by=actor.id,
        made_at=now,
    ))
    session.flush()
    subject = f"bank:{new.bank_id}" if new.bank_id else "policies:all"
    record(session, actor, EventTag.POLICY_CHANGED, subject, now, policy_version=new.version, valid_from=new.valid_from)
    return msgspec.convert({**msgspec.to_builtins(whole), "version": new.version}, Policy)
