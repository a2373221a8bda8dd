"""The authoriser's page: the bank's key is made and kept in this browser, and signs here; our server only ever sees what it signed."""

import json
from datetime import datetime
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from backend.auth.actors import Actor
from backend.banks import queries as banks
from backend.banks.actions import KEY_PROOF_TYP
from backend.banks.model import BankKeyState, KeyPurpose
from backend.cash import drafts
from backend.cash.tokens import TYP
from backend.console.pages import PAGE, page, shared
from backend.core.ids import BankId
from backend.policies.queries import policy_in_force
from backend.web.app import Resources
from backend.web.transaction import transaction


@get("/console/authority", operation_id="showAuthority", **PAGE)
def show_authority(
    request: Request[Any, Any, Any], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> Response[str]:
    """Show an authoriser the open requests of their bank with their countdown, and let the browser's own key sign the answer (CASH-04, F19)."""
    with transaction(resources.sessions, actor, now) as session:
        bank_id = BankId(actor.bank) if actor.bank else None
        policy = policy_in_force(session, bank_id, now)
        waiting = drafts.open_drafts(session, actor, resources.keyring, policy, now)
        assert bank_id is not None, "only a bank's authoriser comes this far"
        known = [
            one.kid for one in banks.keys(session, bank_id)
            if one.state is BankKeyState.ACTIVE and one.purpose is KeyPurpose.CASH_AUTHORISATION and one.enrolled_by == actor.id
        ]
        values = shared(session, request, actor, resources, now)
    about = {
        "bank": str(bank_id), "staff": str(actor.id), "purpose": KeyPurpose.CASH_AUTHORISATION.value, "keyTyp": KEY_PROOF_TYP,
        "tokenTyp": TYP, "csrf": values["identity"].csrf, "enrolled": known,
    }
    agency = {"agency": resources.settings.tenant}
    rows = [(one, json.dumps(one.claims | agency) if one.claims else "") for one in waiting]
    return page("authority.html", request, **values, rows=rows, about=json.dumps(about))


ROUTES: list[Any] = [show_authority]
