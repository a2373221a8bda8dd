"""One thing of every kind that a route can name, all of branch sh1 and bank A: what strangers must not reach.

Names are those of path parameters where a route has one. `PERSONAL` names the things of one case, whose ids no stranger's answer holds.
"""

from datetime import timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.archive import holds, productions
from backend.archive.model import AskProduction, DestructionGround, HoldGround, SetHold
from backend.archive.tables import DestructionRow
from backend.audit import witnesses
from backend.auth.actors import Role as StaffRole
from backend.banks.model import TemplateKind
from backend.banks.tables import TemplateRow
from backend.cases.actions import record_repayment
from backend.cases.model import SuspensionReason
from backend.cases.tables import CaseRow, PlacementBatchRow
from backend.cash import corrections, custody, hints, reconciliation, repayments
from backend.cash.bank_files import BankFile
from backend.cash.hint_model import HintSource
from backend.cash.ledger_tables import AccountRow, VarianceRow
from backend.cash.tables import CollectionRow, ReceiptBookRow
from backend.core.fen import Fen
from backend.core.ids import DisputeId, StaffId, TransferId, new_id
from backend.disputes import actions as disputes
from backend.disputes import suspicions
from backend.disputes.model import StateDispute
from backend.disputes.suspicion_model import SuspicionGround
from backend.exhibits import exports, receipts
from backend.exhibits.actions import accept
from backend.exhibits.copies import CopyPurpose
from backend.exhibits.model import Intake
from backend.exhibits.packs import visit_scope
from backend.exhibits.statements import open_statement
from backend.exhibits.tables import ItemRow
from backend.exhibits.transfers import Desk
from backend.offers import actions as offers
from backend.offers import promises
from backend.offers.model import Concession, NewPromise, NewProposal, PromiseSource, Terms
from backend.offers.tables import PaymentNoticeRow
from backend.plans.tables import RouteRow, StopRow
from backend.requests.tables import VisitRequestRow
from backend.staff import devices, invitations, logins, renewals
from backend.staff.model import EquipmentKind
from backend.staff.tables import CredentialRow, EquipmentRow, StaffRoleRow, StaffRow
from backend.visits.model import Incident, IncidentKind
from backend.visits.reports import report_incident
from backend.visits.tables import IncidentRow, VisitRow
from backend.web.app import Resources
from backend.web.transaction import transaction
from evidence.facts import DeclarationFacts, DeclarationForm, Denial, Kind
from evidence.keys import generate_key, public_jwk
from evidence.manifest import Role
from evidence.witness import enrolment_text
from tests.support.cases import row
from tests.support.cash import Door, door
from tests.support.exhibits import CAPTURE, bring_to_rest, item, photograph, signed_once, signed_twice
from tests.support.visits import ordered_plan
from tests.support.world import Person, World, add_person

PERSONAL = frozenset({
    "case_id", "contact_id", "address_id", "request_id", "visit_id", "plan_id", "batch_id",
    "dispute_id", "declaration_id", "suspicion_id", "incident_id", "manifest_id",
    "item_key", "pack_id", "hold_id", "destruction_id", "production_id",
    "cash_request_id", "jti", "collection_id", "deposit_id", "variance_id", "correction_id", "handover_id",
    "promise_id", "proposal_id", "notice_id", "transfer_id", "hint_id", "name",
})
ABSENT_ROLES = {
    "letter": StaffRole.LETTER_DUTY, "police": StaffRole.POLICE_DUTY, "archive": StaffRole.ARCHIVE_ADMIN, "general": StaffRole.GENERAL_MANAGER,
}
"""Roles that the lasting people of the world do not have."""
BRANCH_ROLES = (
    StaffRole.FIELD_COLLECTOR, StaffRole.PHONE_COLLECTOR, StaffRole.DISPATCHER, StaffRole.SUPERVISOR, StaffRole.DATA_CLERK, StaffRole.CASHIER,
    StaffRole.LETTER_DUTY, StaffRole.POLICE_DUTY, StaffRole.ARCHIVE_ADMIN,
)


def everyone(session: Session, resources: Resources, made: World) -> tuple[Person, ...]:
    """Return at least one person of every role in sh1 and bank A, and one of every branch or bank role in bj1 and bank B."""
    people = list(made.everyone())
    for name, role in ABSENT_ROLES.items():
        branch = None if role is StaffRole.GENERAL_MANAGER else made.sh1
        people.append(add_person(session, resources.keyring, name, role, branch_id=branch, now=made.now))
    there = {next(iter(person.actor.roles)) for person in people if made.bj1 in person.actor.branches}
    people.extend(
        add_person(session, resources.keyring, f"far-{role.value.replace('_', '-')}", role, branch_id=made.bj1, now=made.now)
        for role in BRANCH_ROLES if role not in there
    )
    return tuple(people)


def belongings(sessions: sessionmaker[Session], resources: Resources, made: World) -> dict[str, str]:
    """Make them all and return their ids and numbers as texts."""
    with transaction(sessions, made.bilal.actor, made.now) as session:
        at = door(session, resources.keyring, made)
        things = _of_the_branch(session, resources, made) | _of_the_bank(session, made) | _of_the_case(at) | _money(at)
    things |= _evidence(sessions, resources, at)
    things |= _custody(sessions, resources, at, things)
    things["tile"] = "0/000.p/1"
    with transaction(sessions, made.bilal.actor, made.now) as session:
        at.session = session
        things |= _declaration(at)
        things["ordered_plan"] = str(ordered_plan(session, made, on=made.today + timedelta(days=1)).id)
    return things


def _of_the_branch(session: Session, resources: Resources, made: World) -> dict[str, str]:
    newcomer, uninvited = new_id(), new_id()
    for staff_id in (newcomer, uninvited):
        session.add(StaffRow(
            id=staff_id, employee_no=f"E-{staff_id.hex[-6:]}", name="Newcomer", gender=None, branch_id=made.sh1, bank_id=None, is_active=True,
            joined_on=made.today, left_on=None, language=None))
    session.flush()
    asked = devices.ask_enrolment(session, made.oscar.actor, made.dong.id, made.now)
    logins.ask_reset(session, made.amina.actor, made.dong.id, made.now)
    return {
        "branch": str(made.sh1), "staff_id": str(made.dong.id), "newcomer": str(newcomer), "kid": _kid(made.dong),
        "phone_collector": str(made.hana.id), "witness": _witness(session, resources, made),
        "renewal_id": str(renewals.ask(session, made.dong.on_phone, made.now).renewal.id),
        "enrolment_id": str(asked.id), "on": str(made.today), "tomorrow": str(made.today + timedelta(days=1)), "investigator": str(made.amina.id),
        "credential_id": str(session.scalars(select(CredentialRow.id).where(CredentialRow.staff_id == made.bilal.id)).one()),
        "equipment_id": str(session.scalars(select(EquipmentRow.id).limit(1)).one()),
        "recorder": str(session.scalars(select(EquipmentRow.id).where(
            EquipmentRow.branch_id == made.sh1, EquipmentRow.kind == EquipmentKind.AUDIO).limit(1)).one()),
    }


def _of_the_bank(session: Session, made: World) -> dict[str, str]:
    template_id = new_id()
    session.add(TemplateRow(
        id=template_id, bank_id=made.bank_a.id, kind=next(iter(made.bank_a.templates)), version=2, text_zh="新文本", approved_at=None,
        approved_by=None))
    session.flush()
    return {
        "bank_id": str(made.bank_a.id), "mandate_id": str(made.bank_a.mandate_id), "template_id": str(template_id),
        "bank_kid": made.bank_a.authoriser_kid, "office_id": str(made.bank_a.office_id), "authoriser": str(made.mo.id),
        "bank_newcomer": _bank_newcomer(session, made), "account_digest": made.bank_a.account_digest,
    }


def _bank_newcomer(session: Session, made: World) -> str:
    staff_id = StaffId(new_id())
    session.add(StaffRow(
        id=staff_id, employee_no=f"B-{staff_id.hex[-6:]}", name="Newcomer", gender=None, branch_id=None, bank_id=made.bank_a.id, is_active=True,
        joined_on=made.today, left_on=None, language=None))
    session.flush()
    session.add(StaffRoleRow(id=new_id(), staff_id=staff_id, role=StaffRole.BANK_AUTHORISER, branch_id=None))
    session.flush()
    invitations.invite(session, made.oscar.actor, staff_id, made.now)
    return str(staff_id)


def _of_the_case(at: Door) -> dict[str, str]:
    visit = at.session.get_one(VisitRow, at.visit_id)
    request, stop = at.session.get_one(VisitRequestRow, visit.request_id), at.session.get_one(StopRow, visit.stop_id)
    case, route = at.session.get_one(CaseRow, at.case_id), at.session.get_one(RouteRow, stop.route_id)
    batch = at.session.get_one(PlacementBatchRow, case.batch_id)
    incident = report_incident(
        at.session, at.made.dong.on_phone, at.keyring, Incident(visit_id=at.visit_id, at=at.now, kind=IncidentKind.SAFETY, note="loose step"), at.now)
    assert incident is not None
    return {
        "case_id": str(at.case_id), "visit_id": str(at.visit_id), "request_id": str(request.id), "contact_id": str(request.contact_id),
        "address_id": str(visit.address_id), "plan_id": str(route.plan_id), "batch_id": str(case.batch_id), "profile_id": str(batch.profile_id),
        "incident_id": str(at.session.scalars(select(IncidentRow.id)).one()), "name": row(1)["name"],
    }


def _dealings(at: Door) -> dict[str, str]:
    """A promise, a proposal, a way of paying and a payment of which nobody was told."""
    case = at.session.get_one(CaseRow, at.case_id)
    promise_id = promises.promise(at.session, at.made.hana.actor, case, NewPromise(
        case_id=at.case_id, amount_fen=Fen(1_000), due_on=at.made.today, made_on=at.made.today, source=PromiseSource.CONTACT, source_id=new_id()),
        at.now)
    terms = Terms(kind=Concession.WAIVER, waived_fen=Fen(100))
    proposal_id = offers.propose(at.session, at.made.hana.actor, NewProposal(case_id=at.case_id, terms=terms), at.now)
    offers.suggest_method(at.session, at.made.oscar.actor, at.bank.id, "points", ("积分还款", "Points"), at.now)
    record_repayment(at.session, at.made.gu.actor, at.case_id, reference="F-0", amount=Fen(1), paid_on=at.made.today, now=at.now)
    promises.after_repayments(at.session, at.made.gu.actor, [at.case_id], at.now)
    notice_id = at.session.scalars(select(PaymentNoticeRow.id)).one()
    return {"promise_id": str(promise_id), "proposal_id": str(proposal_id), "method": "points", "notice_id": str(notice_id)}


def _money(at: Door) -> dict[str, str]:
    numbers, jti = at.lease(), at.authorise()
    collected = [at.take(number, amount, jti) for number, amount in zip(numbers[:3], (600, 400, 300), strict=True)]
    unallowed = at.take(numbers[3], 200, None)
    assert unallowed.exception_number is not None
    net = at.deposit(580, numbers[0])
    custody.report_deposit(at.session, at.made.bilal.actor, net, at.policy, at.now)
    refused = repayments.import_repayments(at.session, at.made.gu.actor, BankFile(
        bank_id=at.bank.id, content=f"case,reference,paid_on,amount\nNOBODY,R-1,{at.made.today},1.00".encode(), row_count=1,
        amount_total_fen=Fen(100), as_of_on=at.made.today), at.now)
    reconciliation.import_statement(at.session, at.made.kai.actor, at.statement_file(("NOBODY", "x")), at.policy, at.now)
    offered = at.handover(at.made.bilal, at.made.kai, 100, signs=False)
    custody.hand_over(at.session, at.made.bilal.on_phone, offered, at.now)
    transfers = dict(at.session.execute(select(CollectionRow.receipt_number, CollectionRow.transfer_id)).all())
    proposal = corrections.Proposal(transfer_id=TransferId(transfers[numbers[1]]), reason="written on the wrong case")
    return {
        **_dealings(at), "account_id": str(at.session.scalars(select(AccountRow.id).where(
            AccountRow.kind == "custody", AccountRow.owner == str(at.made.bilal.id))).one()),
        "jti": jti, "file_id": str(refused.file_id), "number": unallowed.exception_number,
        "book_id": str(at.session.scalars(select(ReceiptBookRow.id)).one()),
        "collection_id": str(collected[1].collection_id), "deposit_id": str(net.deposit_id), "receipt_number": numbers[2],
        "variance_id": str(at.session.scalars(select(VarianceRow.id)).one()), "handover_id": str(offered.handover_id),
        "correction_id": str(corrections.propose(at.session, at.made.kai.actor, proposal, at.now)), "transfer_id": str(transfers[numbers[2]]),
        "cash_request_id": str(at.request(cap_fen=1_000)),
        "hint_id": str(hints.tell(
            at.session, at.made.hana.actor, hints.Hint(case_id=at.case_id, source=HintSource.COMPLAINT), at.now)),
    }


def _evidence(sessions: sessionmaker[Session], resources: Resources, at: Door) -> dict[str, str]:
    """Deliver a photograph."""
    content, when = photograph(), at.taken_at
    with transaction(sessions, at.made.bilal.actor, at.now) as session:
        payload = at.first.payload(at.made, at.facts, Kind.CAPTURE, CAPTURE, at=when, items=(item(content, at=when),))
        intake = Intake(visit=at.facts, policy=at.policy, keyring=at.keyring, tenant="fieldvisit")
        accepted = accept(session, at.made.bilal.on_phone, open_statement(session, signed_once(at.first, payload), at.now), intake, at.now)
    bring_to_rest(sessions, Desk(resources.store, resources.settings), resources.keyring, accepted, content)
    with transaction(sessions, at.made.bilal.actor, at.now) as session:
        receipts.issue(session, resources.keyring, accepted.manifest_id, at.now, origin=resources.origin)
        item_key = session.scalars(select(ItemRow.id).where(ItemRow.manifest_id == accepted.manifest_id)).one()
    return {"manifest_id": str(accepted.manifest_id), "item_key": str(item_key)}


def _custody(sessions: sessionmaker[Session], resources: Resources, at: Door, things: dict[str, str]) -> dict[str, str]:
    """Make a pack, hold the case, propose to destroy it against every rule, and ask for an original."""
    made, place = at.made, exports.place_of(resources.store, resources.settings, resources.origin)
    request = exports.PackRequest(scope=visit_scope(UUID(things["visit_id"])), purpose=CopyPurpose.AUDIT)
    pack = exports.export(lambda: transaction(sessions, made.lin.actor, at.now), made.lin.actor, resources.keyring, place, (request, at.now))
    key = public_jwk(generate_key().public_key())
    with transaction(sessions, made.amina.actor, at.now) as session:
        hold = SetHold(case_id=at.case_id, ground=HoldGround.LITIGATION, reason="a suit is announced")
        hold_id = holds.set_hold(session, made.amina.actor, resources.keyring, hold, at.now)
        destruction = DestructionRow(
            id=new_id(), case_id=at.case_id, ground=DestructionGround.TERM_OVER, proposed_by=made.petra.id, proposed_at=at.now, decided_by=None,
            decided_at=None, is_approved=None, done_at=None, certificate=None, log_entry_id=None)
        session.add(destruction)
        session.flush()
        asked = productions.ask(session, made.lin.actor, resources.keyring, AskProduction(
            case_id=at.case_id, items=(UUID(things["item_key"]),), recipient="court", recipient_jwk=dict(key), purpose="litigation",
            reason="a suit"), at.now)
        return {"pack_id": str(pack.id), "hold_id": str(hold_id), "destruction_id": str(destruction.id), "production_id": str(asked.id),
                "key_x": key["x"], "key_y": key["y"]}


def _declaration(at: Door) -> dict[str, str]:
    """Deny at the door, and sign the declaration."""
    stated = StateDispute(
        dispute_id=DisputeId(new_id()), case_id=at.case_id, visit_id=at.visit_id, kind=SuspensionReason.DENIES_APPLICATION, stated_at=at.now)
    disputes.state_dispute(at.session, at.made.bilal.actor, stated, at.policy, at.now)
    facts = DeclarationFacts(
        denial=Denial.APPLICATION, form=DeclarationForm.NOT_MY_CARD, template_id=str(at.bank.templates[TemplateKind.NOT_MY_CARD]), template_version=1,
        text="", special_circumstances=None, transcription="", written_by_declarant=True, signed_by_declarant=True, id_card_generation=2)
    roles = (Role.DECLARATION_PAGE, Role.ID_FRONT, Role.ID_BACK)
    items = tuple(item(f"{role} {new_id()}".encode(), role, at=at.taken_at) for role in roles)
    payload = at.first.payload(at.made, at.facts, Kind.DECLARATION, facts, partner=at.second, at=at.taken_at, items=items)
    statement = open_statement(at.session, signed_twice(at.first, at.second, payload, at.taken_at), at.now)
    accepted = accept(
        at.session, at.made.bilal.on_phone, statement, Intake(visit=at.facts, policy=at.policy, keyring=at.keyring, tenant="fieldvisit"), at.now)
    done = disputes.take_declaration(at.session, at.made.bilal.on_phone, accepted, at.policy, at.now)
    assert done is not None
    suspicion = suspicions.hear(at.session, at.made.amina.actor, at.case_id, SuspicionGround.FRAUD, at.now)
    suspicions.decide(at.session, at.made.amina.actor, suspicion.id, at.now, is_verified=True)
    return {"dispute_id": str(stated.dispute_id), "declaration_id": str(done.declaration_id), "suspicion_id": str(suspicion.id)}


def _kid(person: Person) -> str:
    assert person.phone is not None
    return person.phone.kid


def _witness(session: Session, resources: Resources, made: World) -> str:
    name, key, actor = "witness.example/a", Ed25519PrivateKey.generate(), made.mo.actor
    proof = key.sign(enrolment_text(origin=resources.origin, bank=str(made.bank_a.id), staff=str(actor.id), name=name))
    witnesses.enrol(session, actor, witnesses.NewWitness(name=name, key=key.public_key().public_bytes_raw(), proof=proof), resources.origin, made.now)
    return name
