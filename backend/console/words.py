"""What codes are called on pages: one short English text per code, translated where it is shown."""

from collections.abc import Mapping
from enum import StrEnum

from backend.archive.model import HoldGround
from backend.auth.actors import Role
from backend.cases.model import Stop
from backend.cash.claim_model import ClaimStatus
from backend.cash.model import Circumstance
from backend.contacts.model import Channel, Person, Result
from backend.core.i18n import N_
from backend.disputes.follow_up_model import FollowUpAct
from backend.disputes.model import RecordDeletion
from backend.exhibits.copies import CopyPurpose, UnmaskPurpose
from backend.exhibits.custody_model import ItemVerdict, MaskReason
from backend.exhibits.model import ItemState, ManifestState, Standing
from backend.exhibits.model import Verdict as ReviewVerdict
from backend.exhibits.recording_model import ClockProof
from backend.offers.model import Concession, PromiseStatus, ProposalStatus
from backend.plans.model import PlanStatus
from backend.requests.model import Withheld
from backend.staff.model import EquipmentKind
from backend.visits.catalogue import Outcome
from backend.visits.model import Draw, Identity, Recoverability, Reviewer, Verdict, VisitStatus
from evidence.facts import Kind
from evidence.manifest import Role as ItemRole
from evidence.model import Grade

_ROLES: Mapping[StrEnum, str] = {
    Role.FIELD_COLLECTOR: N_("field collector"), Role.PHONE_COLLECTOR: N_("phone collector"), Role.DISPATCHER: N_("dispatcher"),
    Role.SUPERVISOR: N_("supervisor"), Role.BANK_LIAISON: N_("bank liaison"), Role.BANK_AUTHORISER: N_("bank authoriser"),
    Role.DATA_CLERK: N_("data clerk"), Role.CASHIER: N_("cashier"), Role.LETTER_DUTY: N_("letter duty-holder"),
    Role.POLICE_DUTY: N_("police duty-holder"), Role.ARCHIVE_ADMIN: N_("archive administrator"), Role.MANAGER: N_("manager"),
    Role.GENERAL_MANAGER: N_("general manager"), Role.AUDITOR: N_("auditor"), Role.OPERATOR: N_("operator"),
}
_STATUSES: Mapping[StrEnum, str] = {
    VisitStatus.DISPATCHED: N_("dispatched"), VisitStatus.STARTED: N_("started"), VisitStatus.ENTERED: N_("entered"),
    VisitStatus.CONCLUDED: N_("concluded, report due"), VisitStatus.REPORTED: N_("reported, review due"),
    VisitStatus.RETURNED: N_("returned to the pair"), VisitStatus.REVIEWED: N_("reviewed"), VisitStatus.CANCELLED: N_("cancelled"),
    VisitStatus.ARCHIVED: N_("archived"), VisitStatus.NOT_SAMPLED: N_("not sampled"),
}
_PLANS: Mapping[StrEnum, str] = {
    PlanStatus.QUEUED: N_("waits for a worker"), PlanStatus.SOLVING: N_("being solved"), PlanStatus.READY: N_("ready to be published"),
    PlanStatus.FAILED: N_("could not be solved"), PlanStatus.PUBLISHED: N_("published"), PlanStatus.SUPERSEDED: N_("superseded by another version"),
    PlanStatus.CANCELLED: N_("cancelled"),
}
_OUTCOMES: Mapping[StrEnum, str] = {
    Outcome.PROMISE: N_("promise to pay"), Outcome.PROMISE_VAGUE: N_("vague promise"), Outcome.REFUSED_TO_PAY: N_("refused to pay"),
    Outcome.HARDSHIP: N_("hardship, proposal noted"), Outcome.PAID_DIRECTLY: N_("paid to the bank directly, unconfirmed"),
    Outcome.CASH_TAKEN: N_("cash taken"), Outcome.DENIES_APPLICATION: N_("denies having applied"),
    Outcome.DENIES_SPENDING: N_("denies the spending"), Outcome.DISPUTES_AMOUNT: N_("disputes the amount"),
    Outcome.DECLARATION_TAKEN: N_("declaration taken"), Outcome.THIRD_PARTY_MET: N_("third party met"), Outcome.TENANT_MET: N_("tenant met"),
    Outcome.ONLY_MINOR: N_("only a minor there"), Outcome.ONLY_FRAIL_PERSON: N_("only an elderly or confused person there"),
    Outcome.NOBODY_MET: N_("nobody met"), Outcome.NO_ANSWER_INTERCOM: N_("no answer at the intercom"),
    Outcome.GATE_REFUSED: N_("refused at the gate"), Outcome.ADDRESS_ABSENT: N_("address does not exist"), Outcome.MOVED_AWAY: N_("moved away"),
    Outcome.LETTER_HANDED_OVER: N_("letter handed over"), Outcome.LETTER_IN_MAILBOX: N_("letter put into the mailbox"),
    Outcome.DECEASED: N_("deceased"), Outcome.VULNERABLE_FOUND: N_("vulnerable person found"),
    Outcome.SELF_HARM_THREAT: N_("threat of self-harm"), Outcome.CONFLICT_LEFT: N_("left to avoid a conflict"),
    Outcome.POLICE_ATTENDED: N_("police attended"), Outcome.FILMED_BY_DEBTOR: N_("filmed by the debtor"), Outcome.HAZARD: N_("hazard"),
    Outcome.RECORDING_OBJECTED: N_("recording objected to"), Outcome.OUT_OF_TIME: N_("out of time"),
}
_WITHHELD: Mapping[StrEnum, str] = {
    Withheld.NOT_APPROVED: N_("not approved"), Withheld.NOT_YET_EFFECTIVE: N_("approval not yet effective"),
    Withheld.APPROVAL_EXPIRED: N_("approval expired"), Withheld.NEEDS_PIN: N_("address needs a pin"),
    Withheld.OUTSIDE_TERRITORY: N_("outside the territory"), Withheld.ADDRESS_REPLACED: N_("address replaced"),
    Withheld.UNCONFIRMED: N_("fields not confirmed"), Withheld.AMOUNT_TOO_OLD: N_("amount too old"), Withheld.DAILY_CAP: N_("daily cap reached"),
    Withheld.NO_HOURS: N_("outside the permitted hours"), Withheld.SUSPENDED: N_("collection suspended"), Withheld.DECEASED: N_("deceased"),
    Withheld.PAID: N_("paid"), Withheld.PAYMENT_CLAIMED: N_("payment claimed, not confirmed yet"),
    Withheld.RECALLED: N_("recalled by the bank"), Withheld.TERM_OVER: N_("placement term over"),
    Withheld.VULNERABLE: N_("vulnerable person, held"), Withheld.COMPLAINT: N_("complaint being handled"), Withheld.HOLD: N_("held by decision"),
    Withheld.CLOSED: N_("case closed"),
}
_KINDS: Mapping[StrEnum, str] = {
    Kind.ARRIVAL: N_("arrival"), Kind.CAPTURE: N_("capture"), Kind.DECLARATION: N_("declaration"), Kind.CASH_RECEIPT: N_("cash receipt"),
    Kind.VOID: N_("void receipt"), Kind.DEPARTURE: N_("departure"), Kind.VISIT_CLOSE: N_("closing of the visit"),
    Kind.COSIGN_REFUSAL: N_("refusal to sign"),
}
_ITEMS: Mapping[StrEnum, str] = {
    ItemRole.PHOTO: N_("photo"), ItemRole.AUDIO: N_("recording"), ItemRole.VIDEO: N_("video"),
    ItemRole.DECLARATION_PAGE: N_("declaration page"), ItemRole.ID_FRONT: N_("identity card, front"), ItemRole.ID_BACK: N_("identity card, back"),
    ItemRole.PAYER_SIGNATURE: N_("payer's signature"), ItemRole.DEPOSIT_SLIP: N_("deposit slip"),
    ItemRole.DEBTOR_DOCUMENT: N_("document from the debtor"), ItemRole.DOOR_PLATE: N_("door plate"),
    ItemRole.AUTHORISATION_SHOWN: N_("authorisation shown"), ItemRole.LETTER_DELIVERY: N_("letter delivery"),
    ItemRole.POLICE_SLIP: N_("police slip"), ItemRole.CASH_COUNT: N_("cash counted"), ItemRole.COUNTERFOIL: N_("counterfoil"),
    ItemRole.REFUSAL: N_("refusal"),
}
_STATES: Mapping[StrEnum, str] = {
    Standing.ACCEPTED: N_("accepted"), Standing.DOUBTFUL: N_("in doubt"), Standing.BREACH: N_("breach"), Standing.QUARANTINED: N_("quarantined"),
    ManifestState.AWAITING_COSIGNATURE: N_("awaits the second signature"), ManifestState.COMPLETE: N_("all signatures there"),
    ManifestState.LAPSED: N_("the second signature never came"),
    ItemState.NEEDED: N_("not received"), ItemState.STORED: N_("stored"),
    Grade.INFO: N_("note"), Grade.DOUBT: N_("doubt"), Grade.FRAUD_SIGN: N_("sign of fraud"),
}
_REST: Mapping[StrEnum, str] = {
    Recoverability.RECOVERABLE: N_("recoverable"), Recoverability.PARTLY: N_("partly recoverable"), Recoverability.UNLIKELY: N_("unlikely"),
    Recoverability.UNRECOVERABLE: N_("unrecoverable"), Recoverability.UNKNOWN: N_("unknown"),
    Verdict.ACCEPTED: N_("accepted"), Verdict.RETURNED: N_("returned"), Reviewer.SUPERVISOR: N_("supervisor"), Reviewer.LIAISON: N_("bank liaison"),
    Identity.AGENCY: N_("as the agency"), Identity.BANK: N_("as the bank"), Identity.AUTHORITY: N_("as an authority"),
    Identity.OTHER: N_("as somebody else"),
}
_PURPOSES: Mapping[StrEnum, str] = {
    CopyPurpose.REVIEW: N_("review"), CopyPurpose.BANK: N_("for the bank"), CopyPurpose.LITIGATION: N_("litigation"),
    CopyPurpose.COMPLAINT: N_("complaint"), CopyPurpose.AUDIT: N_("audit"), CopyPurpose.POLICE: N_("police"),
}
_CUSTODY: Mapping[StrEnum, str] = {
    ItemVerdict.ACCEPTED: N_("accepted"), ItemVerdict.RETURNED: N_("returned"), ItemVerdict.REJECTED: N_("rejected from exports"),
    ItemVerdict.COMMENT: N_("comment"), ReviewVerdict.RELEASE: N_("release"), ReviewVerdict.UPHOLD: N_("uphold the doubt"),
    Draw.REQUIRED: N_("must be looked at"), Draw.DRAWN: N_("drawn by lot"), Draw.NOT_DRAWN: N_("not drawn"),
}
_GROUNDS: Mapping[StrEnum, str] = {
    HoldGround.LITIGATION: N_("litigation"), HoldGround.COMPLAINT: N_("complaint"), HoldGround.POLICE: N_("police"),
    HoldGround.REGULATOR: N_("regulator"), HoldGround.DISPUTE: N_("dispute"), HoldGround.OTHER: N_("other"),
}
_MASKS: Mapping[StrEnum, str] = {
    MaskReason.BYSTANDER: N_("bystander"), MaskReason.CHILD: N_("child"), MaskReason.PLATE: N_("number plate"),
    MaskReason.DOCUMENT: N_("document"), MaskReason.OTHER: N_("other"),
}
_UNMASKS: Mapping[StrEnum, str] = {
    UnmaskPurpose.IDENTITY_CHECK: N_("identity check"), UnmaskPurpose.DECLARATION_RULING: N_("ruling on a declaration"),
    UnmaskPurpose.LITIGATION: N_("litigation"), UnmaskPurpose.POLICE: N_("police"),
}
_RECORDERS: Mapping[StrEnum, str] = {
    ClockProof.FILMED: N_("time code filmed"), ClockProof.PHOTOGRAPHED: N_("time code photographed"),
    ClockProof.INHERITED: N_("proven by another file"), ClockProof.NONE: N_("not proven"),
    EquipmentKind.AUDIO: N_("audio recorder"), EquipmentKind.CAMERA: N_("camera"),
}
REASONS: Mapping[str, str] = {
    "cash": N_("cash"), "declaration": N_("declaration"), "entry": N_("entry"), "incident": N_("incident"), "complaint": N_("complaint"),
    "delicate-outcome": N_("delicate outcome"), "evidence-in-doubt": N_("evidence in doubt"), "exception": N_("exceptions at closing"),
    "breach": N_("rules broken"), "returned-before": N_("reviewed before"),
}
"""Why a visit must be looked at, by the codes that a draw stores."""
# Keyed by type and value, and made of several tables: codes of different nouns share spellings, and a `StrEnum` equals its text.
# Keyed by type and value, and made of several tables: codes of different nouns share spellings, and a `StrEnum` equals its text.
_CIRCUMSTANCES: Mapping[StrEnum, str] = {
    Circumstance.REMOTE_AREA: N_("remote area"), Circumstance.LIMITED_MOBILITY: N_("limited mobility"),
    Circumstance.NO_BANK_CHANNEL: N_("no bank channel in reach"), Circumstance.OTHER_OBSTACLE: N_("another obstacle"),
}
_STOPS: Mapping[StrEnum, str] = {
    Stop.SUSPENDED: N_("collection suspended"), Stop.DECEASED: N_("deceased"), Stop.PAID: N_("paid"),
    Stop.PAYMENT_CLAIMED: N_("payment claimed, not confirmed yet"), Stop.RECALLED: N_("recalled by the bank"),
    Stop.TERM_OVER: N_("placement term over"), Stop.VULNERABLE: N_("vulnerable person, held"), Stop.COMPLAINT: N_("complaint being handled"),
    Stop.HOLD: N_("held by decision"), Stop.CLOSED: N_("case closed"),
}
_OFFERS: Mapping[StrEnum, str] = {
    Concession.INSTALMENT: N_("instalments"), Concession.WAIVER: N_("waiver of fees"), Concession.DEFERRAL: N_("deferral"),
    Concession.REACTIVATION: N_("reactivation of the card"), Concession.AUTOMATIC_DEBIT: N_("automatic debit"),
    Concession.FLEXIBLE_DUE_DATE: N_("another due date"),
    ProposalStatus.PROPOSED: N_("proposed"), ProposalStatus.DECLINED: N_("declined"), ProposalStatus.WITHDRAWN: N_("withdrawn by the agency"),
    ProposalStatus.OFFERED: N_("offered"), ProposalStatus.REVOKED: N_("taken back by the bank"), ProposalStatus.ACCEPTED: N_("accepted"),
    ProposalStatus.KEPT: N_("kept"), ProposalStatus.BROKEN: N_("broken"),
    PromiseStatus.OPEN: N_("open"), PromiseStatus.KEPT: N_("kept"), PromiseStatus.BROKEN: N_("broken"),
    PromiseStatus.REPLACED: N_("replaced by another promise"),
    ClaimStatus.CLAIMED: N_("payment claimed, not confirmed yet"), ClaimStatus.CONFIRMED: N_("confirmed by the bank"),
    ClaimStatus.CONTRADICTED: N_("not found by the bank"),
}
_FOLLOW_UPS: Mapping[StrEnum, str] = {
    FollowUpAct.POLICE_REPORTED: N_("fraud reported to the police"), FollowUpAct.DEPARTMENT_REPORTED: N_("reported to the bank's fraud department"),
    FollowUpAct.DELETION_REQUESTED: N_("deletion requested"), FollowUpAct.DELETION_CONFIRMED: N_("deletion confirmed"),
    FollowUpAct.DELETION_REFUSED: N_("deletion refused"),
    RecordDeletion.NOT_DUE: N_("no deletion due"), RecordDeletion.DUE: N_("deletion to be requested"),
    RecordDeletion.REQUESTED: N_("deletion requested"), RecordDeletion.DONE: N_("deleted"), RecordDeletion.REFUSED: N_("deletion refused"),
}
_CONTACTS: Mapping[StrEnum, str] = {
    Channel.PHONE: N_("phone"), Channel.SMS: N_("SMS"), Channel.LETTER: N_("letter"), Channel.VISIT: N_("visit"),
    Person.DEBTOR: N_("debtor"), Person.THIRD_PARTY: N_("third party"), Person.NOBODY: N_("nobody"),
    Result.CONNECTED: N_("spoken with"), Result.NO_ANSWER: N_("no answer"), Result.BUSY: N_("busy"), Result.SWITCHED_OFF: N_("switched off"),
    Result.WRONG_NUMBER: N_("wrong number"), Result.PROMISE_TO_PAY: N_("promise to pay"), Result.VAGUE_PROMISE: N_("vague promise"),
    Result.REFUSES: N_("refused to pay"), Result.HARDSHIP: N_("hardship"), Result.CLAIMS_PAID: N_("says it is paid"),
    Result.DENIES_APPLICATION: N_("denies having applied"), Result.DENIES_SPENDING: N_("denies the spending"),
    Result.DISPUTES_AMOUNT: N_("disputes the amount"), Result.SUSPECTED_FRAUD: N_("suspected fraud"),
    Result.VULNERABLE: N_("vulnerable person found"),
    Result.COMPLAINT: N_("complaint"), Result.DECEASED: N_("deceased"), Result.DELIVERED: N_("letter delivered"),
    Result.INFORMED: N_("told something"),
    Result.DOES_NOT_KNOW: N_("does not know"), Result.UNWILLING: N_("unwilling"), Result.DISPLEASED: N_("displeased"),
}
_WORDS = {
    (type(code), code.value): text
    for words in (
        _ROLES, _STATUSES, _PLANS, _OUTCOMES, _WITHHELD, _KINDS, _ITEMS, _STATES, _REST, _PURPOSES, _CUSTODY, _GROUNDS, _MASKS, _UNMASKS,
        _CIRCUMSTANCES, _RECORDERS, _STOPS, _OFFERS, _CONTACTS, _FOLLOW_UPS)
    for code, text in words.items()
}


def word(code: StrEnum) -> str:
    """Return the msgid of what `code` is called; every code of these enums has one."""
    return _WORDS[type(code), code.value]


def withheld_word(code: str) -> str:
    """Return the msgid of why a stop is withdrawn."""
    return word(Withheld(code))
