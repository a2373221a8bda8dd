"""Contacts: leave asked, facts reported, results, agreed hours and work numbers."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ControllerRouterHandler
from msgspec import Meta
from sqlalchemy.orm import Session

from backend.auth.actors import Actor
from backend.console.values import Moment, sound_values, within_reach
from backend.contacts import actions, queries
from backend.contacts.model import (
    AGENCY_IDENTITY,
    SUSPENDING,
    AgreeHours,
    Attitude,
    Carried,
    Channel,
    ContactReceipt,
    Mode,
    Person,
    Purpose,
    RecordContact,
    Result,
    Standing,
    ThirdParty,
    Told,
)
from backend.contacts.queries import ContactView
from backend.core.fen import FEN_MAX, Fen
from backend.core.ids import CaseId, ContactId
from backend.disputes import actions as disputes
from backend.disputes import suspicions
from backend.disputes.suspicion_model import SuspicionGround
from backend.web.app import Resources
from backend.web.body import Body, View
from backend.web.paging import Page, page_of, read_page
from backend.web.transaction import transaction

Text = Annotated[str, Meta(min_length=1, max_length=1_000)]
Number = Annotated[str, Meta(pattern=r"^\+?[0-9]{3,20}$")]
Amount = Annotated[int, Meta(ge=1, le=FEN_MAX)]


class ThirdPartyBody(Body):
    """Somebody else who is asked."""

    relation: Annotated[str, Meta(min_length=1, max_length=60)]
    phone: Number


class ResultBody(Body):
    """What came of a contact."""

    result: Result
    attitude: Attitude | None = None
    feedback: Text | None = None
    next_step: Text | None = None
    promised_fen: Amount | None = None
    promised_on: date | None = None
    recording_reference: Annotated[str, Meta(max_length=128)] | None = None

    def to_told(self) -> Told:
        """Return the same in the domain's words."""
        return Told(
            result=self.result, attitude=self.attitude, feedback=self.feedback, next_step=self.next_step, promised_on=self.promised_on,
            promised_fen=None if self.promised_fen is None else Fen(self.promised_fen), recording_reference=self.recording_reference,
        )


class ContactBody(Body):
    """A contact: an intent has neither time nor result, a fact has both."""

    mode: Mode
    channel: Channel
    person: Person = Person.DEBTOR
    purpose: Purpose = Purpose.COLLECTION
    at: Moment | None = None
    carried: Annotated[frozenset[Carried], Meta(max_length=4)] = frozenset()
    third_party: ThirdPartyBody | None = None
    is_consented: bool = False
    work_number: Number | None = None
    identity_presented: Annotated[str, Meta(min_length=1, max_length=32)] = AGENCY_IDENTITY
    outcome: ResultBody | None = None

    def to_command(self, case_id: UUID, now: datetime) -> RecordContact:
        """Return the same in the domain's words. Raises `InvalidInput`."""
        with sound_values():
            if (self.mode is Mode.FACT) != (self.at is not None):
                raise ValueError("a fact has its time, an intent is for now")
            return RecordContact(
                case_id=CaseId(case_id), mode=self.mode, channel=self.channel, at=now if self.at is None else within_reach(self.at, now, "/at"),
                person=self.person, purpose=self.purpose, carried=self.carried, is_consented=self.is_consented, work_number=self.work_number,
                third_party=None if self.third_party is None else ThirdParty(relation=self.third_party.relation, phone=self.third_party.phone),
                identity_presented=self.identity_presented,
                told=None if self.outcome is None else self.outcome.to_told(),
            )


class AgreementBody(Body):
    """A time outside the hours that the cardholder agreed to (CONT-04)."""

    from_at: Moment
    to_at: Moment
    agreed_with: Annotated[str, Meta(min_length=1, max_length=40)]
    contact_id: UUID


class WorkNumberBody(Body):
    """A number of the agency that may be called from (CONT-07)."""

    branch_id: UUID
    number: Number


class BreachView(View, frozen=True):
    """One broken rule."""

    rule: str
    code: str
    expected: str
    got: str


class ContactReceiptView(View, frozen=True, kw_only=True):
    """A stored contact and what was found about it."""

    id: ContactId
    case_id: CaseId
    standing: Standing
    result: Result | None
    breaches: tuple[BreachView, ...]
    is_case_suspended: bool


class AgreementView(View, frozen=True):
    """The recorded agreement."""

    id: UUID


@get("/api/v1/cases/{case_id:uuid}/contacts", operation_id="listContacts", sync_to_thread=True, tags=["contacts"])
def read_contacts(
    case_id: FromPath[UUID], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime],
    limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None,
) -> Page[ContactView]:
    """List the contacts of a case, oldest first. The read is recorded (SEC-01)."""
    asked = read_page(limit, cursor)
    with transaction(resources.sessions, actor, now) as session:
        rows = queries.list_contacts(session, actor, resources.keyring, case_id, now, limit=asked.limit, after=asked.after_id)
    return page_of(rows, asked, lambda row: str(row.id))


@post("/api/v1/cases/{case_id:uuid}/contacts", operation_id="recordContact", sync_to_thread=True, tags=["contacts"])
def record_contact(
    case_id: FromPath[UUID], data: JSONBody[ContactBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> ContactReceiptView:
    """Ask leave for a contact (`intent`, refused with every breach), or report one that was made (`fact`, stored with them)."""
    command = data.to_command(case_id, now)
    with transaction(resources.sessions, actor, now) as session:
        return _shown(_heard(session, actor, actions.record_contact(session, actor, resources.keyring, command, now), command.at, now))


@post("/api/v1/contacts/{contact_id:uuid}/result", operation_id="concludeContact", status_code=200, sync_to_thread=True, tags=["contacts"])
def conclude_contact(
    contact_id: FromPath[UUID], data: JSONBody[ResultBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> ContactReceiptView:
    """Write down what came of a contact that leave was given for."""
    with transaction(resources.sessions, actor, now) as session:
        receipt = actions.conclude_contact(session, actor, resources.keyring, ContactId(contact_id), data.to_told(), now)
        return _shown(_heard(session, actor, receipt, now, now))


@post("/api/v1/cases/{case_id:uuid}/agreements", operation_id="agreeHours", sync_to_thread=True, tags=["contacts"])
def agree_hours(
    case_id: FromPath[UUID], data: JSONBody[AgreementBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources],
    now: NamedDependency[datetime],
) -> AgreementView:
    """Record that the cardholder agreed to a time outside the hours (VIS-10, CONT-04)."""
    with sound_values():
        command = AgreeHours(
            case_id=CaseId(case_id), from_at=within_reach(data.from_at, now, "/fromAt"), to_at=within_reach(data.to_at, now, "/toAt"),
            agreed_with=data.agreed_with, contact_id=data.contact_id,
        )
    with transaction(resources.sessions, actor, now) as session:
        return AgreementView(id=actions.agree_hours(session, actor, command, now))


@post("/api/v1/work-numbers", operation_id="registerWorkNumber", status_code=204, sync_to_thread=True, tags=["contacts"])
def register_work_number(
    data: JSONBody[WorkNumberBody], actor: NamedDependency[Actor], resources: NamedDependency[Resources], now: NamedDependency[datetime]
) -> None:
    """Register a number that may be called from (CONT-07)."""
    with transaction(resources.sessions, actor, now) as session:
        actions.register_work_number(session, actor, data.branch_id, data.number, now)


def _heard(session: Session, actor: Actor, receipt: ContactReceipt, at: datetime, now: datetime) -> ContactReceipt:
    """Let a denial open its dispute (DECL-01) and a suspicion wait for a supervisor (DECL-02, DECL-14), in the same transaction."""
    if receipt.result in SUSPENDING and receipt.is_case_suspended and receipt.person is not Person.THIRD_PARTY:
        disputes.hear_denial(session, actor, receipt.case_id, SUSPENDING[receipt.result], now, at=at)
    elif receipt.result is Result.SUSPECTED_FRAUD:
        suspicions.hear(session, actor, receipt.case_id, SuspicionGround.FRAUD, now)
    return receipt


def _shown(receipt: ContactReceipt) -> ContactReceiptView:
    return msgspec.convert(receipt, ContactReceiptView, from_attributes=True)


ROUTES: list[ControllerRouterHandler] = [read_contacts, record_contact, conclude_contact, agree_hours, register_work_number]
