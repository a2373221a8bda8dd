"""What the pages of a case and of its visits show of a bank's acts after its ruling of fraud."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.auth.authorise import may
from backend.auth.permissions import Permission
from backend.disputes import follow_ups
from backend.disputes.follow_up_model import FollowUpAct
from backend.keys.keyring import Keyring
from backend.staff import queries as staff

SHOWN = 50


def shown_of(session: Session, actor: Actor, keyring: Keyring, case_id: UUID) -> dict[str, Any]:
    """Return the template's values; `fraud_ruling` is None where nothing was ruled to be fraud, or where it is not the actor's to read."""
    if not (may(actor, Permission.DISPUTE_READ) or may(actor, Permission.FRAUD_FOLLOW)):
        return {"fraud_ruling": None}
    ruling = follow_ups.ruling_of(session, actor, case_id)
    if ruling is None:
        return {"fraud_ruling": None}
    told = follow_ups.page(session, actor, keyring, after=None, limit=SHOWN, case_id=case_id)
    may_tell = actor.bank is not None and may(actor, Permission.FRAUD_FOLLOW)
    return {
        "fraud_ruling": ruling, "follow_ups": told, "tellers": staff.names_of(session, {one.recorded_by for one in told}),
        "record_deletion": follow_ups.standing_of(session, case_id), "acts": tuple(FollowUpAct) if may_tell else (),
        "slips": follow_ups.slips_of(session, actor, case_id) if may_tell else ()}
