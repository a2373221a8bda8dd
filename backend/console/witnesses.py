"""A bank's witnesses of the log over JSON: enrolled and ended by the bank's own authoriser. What they submit: `log_tiles`."""

import base64
import binascii
from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from backend.audit import witnesses
from backend.audit.witnesses import WitnessName
from backend.auth.actors import Actor
from backend.auth.authorise import authorise
from backend.auth.permissions import Permission
from backend.banks import queries as banks
from backend.core.ids import BankId
from backend.core.problems import InvalidInput
from backend.web.app import Resources
from backend.web.body import Body
from backend.web.transaction import transaction

Key = Annotated[str, Meta(min_length=44, max_length=44)]
Signature = Annotated[str, Meta(min_length=88, max_length=88)]


class WitnessBody(Body):
    """A witness: the name of its note key, 32 bytes of Ed25519 and its signature for this person, both in base64."""

    name: WitnessName
    key: Key
    proof: Signature


class WitnessEndBody(Body):
    """Which witness ends."""

    name: WitnessName


@get("/api/v1/banks/{bank_id:uuid}/witnesses", operation_id="listWitnesses", sync_to_thread=True, tags=["banks"])
def list_witnesses(
    bank_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources]
) -> tuple[witnesses.WitnessView, ...]:
    """List a bank's witnesses, and how far each has signed the log."""
    authorise(actor, Permission.BANK_READ)
    with resources.reads() as session:
        return witnesses.of_bank(session, banks.bank(session, actor, BankId(bank_id)).id)


@post("/api/v1/witnesses", operation_id="enrolWitness", sync_to_thread=True, tags=["banks"])
def enrol_witness(
    data: JSONBody[WitnessBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> witnesses.WitnessView:
    """Enrol a witness of one's own bank; only its authoriser can."""
    new = witnesses.NewWitness(name=data.name, key=key_text(data.key, "/key"), proof=key_text(data.proof, "/proof"))
    with transaction(resources.sessions, actor, now) as session:
        return witnesses.enrol(session, actor, new, resources.origin, now)


@post("/api/v1/witnesses/end", operation_id="endWitness", status_code=204, sync_to_thread=True, tags=["banks"])
def end_witness(
    data: JSONBody[WitnessEndBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """End a witness of one's own bank; what it signed stays signed."""
    with transaction(resources.sessions, actor, now) as session:
        witnesses.revoke(session, actor, data.name, now)


ROUTES = [list_witnesses, enrol_witness, end_witness]


def key_text(text: str, pointer: str) -> bytes:
    """Read base64. Raises `InvalidInput`."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(pointer=pointer, expected="base64", got="another text") from None
