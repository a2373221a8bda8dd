"""The one answer to *may this person do that at all*; whether they may see this thing is each slice's `visible_to`."""

from backend.auth.actors import Actor
from backend.auth.permissions import GRANTS, Permission
from backend.core.problems import Forbidden


def authorise(actor: Actor, permission: Permission) -> None:
    """Refuse unless one of the actor's roles grants `permission`.

    Raises:
        Forbidden: no role of the actor grants it.
    """
    if not any(permission in GRANTS.get(role, frozenset()) for role in actor.roles):
        raise Forbidden(permission=permission.value)
