"""The one answer to *may this person do that at all*; whether they may see this thing is each slice's `visible_to`."""

from backend.auth.actors import Actor
from backend.auth.permissions import GRANTS, Permission
from backend.core.problems import Forbidden


def may(actor: Actor, permission: Permission) -> bool:
    """Tell whether one of the actor's roles grants `permission`."""
    return any(permission in GRANTS.get(role, frozenset()) for role in actor.roles)


def authorise(actor: Actor, *permissions: Permission) -> None:
    """Refuse unless one of the actor's roles grants one of `permissions`.

    Raises:
        Forbidden: no role of the actor grants any; names the first.
    """
    if not any(may(actor, one) for one in permissions):
        raise Forbidden(permission=permissions[0].value)
