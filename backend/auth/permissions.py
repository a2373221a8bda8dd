"""What may be done, and which role may do it. Deny by default: what no role is granted, nobody may do. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from backend.auth.actors import Role


class Permission(StrEnum):
    """One permission per kind of act or read; who it concerns is decided by `visible_to` in each slice."""

    STAFF_MANAGE = "staff.manage"
    STAFF_READ = "staff.read"
    STAFF_CONFIRM = "staff.confirm"        # The second person behind whoever speaks for a bank, or confirms such people.
    DEVICE_APPROVE = "device.approve"
    BANK_MANAGE = "bank.manage"
    BANK_READ = "bank.read"
    POLICY_MANAGE = "policy.manage"
    BATCH_IMPORT = "batch.import"
    BATCH_READ = "batch.read"
    CASE_READ = "case.read"
    CASE_UNMASK = "case.unmask"
    CASE_DECIDE = "case.decide"
    CONTACT_RECORD = "contact.record"
    REQUEST_RAISE = "request.raise"
    REQUEST_ANALYSE = "request.analyse"
    REQUEST_DECIDE = "request.decide"
    REQUEST_READ = "request.read"
    PLAN_MAKE = "plan.make"
    PLAN_READ = "plan.read"
    PLAN_PUBLISH = "plan.publish"
    VISIT_PERFORM = "visit.perform"
    VISIT_READ = "visit.read"
    VISIT_REVIEW = "visit.review"
    VISIT_ARCHIVE = "visit.archive"
    EVIDENCE_SUBMIT = "evidence.submit"
    EVIDENCE_READ = "evidence.read"
    RECORDING_IMPORT = "recording.import"      # Off recorders and body cameras, at the desk.
    EVIDENCE_EXPORT = "evidence.export"
    EVIDENCE_UNMASK = "evidence.unmask"        # Identity documents legible on copies.
    EVIDENCE_DESTROY = "evidence.destroy"      # One proposes, another decides.
    HOLD_MANAGE = "hold.manage"
    ORIGINAL_REQUEST = "original.request"
    ORIGINAL_APPROVE = "original.approve"      # Twice, once by the general manager (ARCH-11).
    CASH_REQUEST = "cash.request"
    CASH_AUTHORISE = "cash.authorise"
    CASH_COLLECT = "cash.collect"
    CASH_DEPOSIT = "cash.deposit"
    CASH_READ = "cash.read"
    CASH_RECONCILE = "cash.reconcile"
    CASH_RESOLVE = "cash.resolve"          # Exceptions and variances.
    CASH_HINT = "cash.hint"                # What was heard of a personal transfer; it blocks the pair.
    CASH_CORRECT = "cash.correct"          # Reversals: one proposes, another approves.
    RECEIPTS_LEASE = "receipts.lease"
    DISPUTE_RECORD = "dispute.record"
    DISPUTE_INVESTIGATE = "dispute.investigate"
    DISPUTE_RULE = "dispute.rule"
    DISPUTE_READ = "dispute.read"
    FRAUD_FOLLOW = "fraud.follow"          # A bank's own people: what they did after they ruled fraud.
    AUDIT_READ = "audit.read"
    WORKDAY_MANAGE = "workday.manage"
    PAIR_REUNITE = "pair.reunite"          # Parting two people is safe; letting them together again is not.
    EQUIPMENT_INSPECT = "equipment.inspect"
    TEMPLATE_APPROVE = "template.approve"
    MANDATE_END = "mandate.end"
    BANK_KEY_ENROL = "bank-key.enrol"
    ADDRESS_PIN = "address.pin"
    PROPOSAL_MAKE = "proposal.make"
    PROPOSAL_DECIDE = "proposal.decide"    # Only a bank's authoriser turns a proposal into an offer (BANK-01).


P = Permission
_READS = frozenset({
    P.CASE_READ, P.REQUEST_READ, P.PLAN_READ, P.VISIT_READ, P.EVIDENCE_READ, P.CASH_READ, P.DISPUTE_READ, P.BATCH_READ, P.BANK_READ, P.STAFF_READ,
})

GRANTS: Mapping[Role, frozenset[Permission]] = MappingProxyType({
    Role.FIELD_COLLECTOR: frozenset({
        P.VISIT_PERFORM, P.EVIDENCE_SUBMIT, P.CASH_REQUEST, P.CASH_COLLECT, P.CASH_DEPOSIT, P.DISPUTE_RECORD,
    }),
    Role.PHONE_COLLECTOR: frozenset({
        P.CASE_READ, P.CONTACT_RECORD, P.REQUEST_RAISE, P.REQUEST_READ, P.DISPUTE_RECORD, P.PROPOSAL_MAKE, P.CASH_HINT,
    }),
    Role.DISPATCHER: frozenset({
        P.ADDRESS_PIN, P.PLAN_MAKE, P.PLAN_READ, P.PLAN_PUBLISH, P.REQUEST_READ, P.REQUEST_RAISE, P.VISIT_READ, P.STAFF_READ, P.CASE_READ,
        P.BANK_READ, P.WORKDAY_MANAGE,
    }),
    Role.SUPERVISOR: frozenset({
        P.REQUEST_RAISE, P.REQUEST_ANALYSE, P.REQUEST_DECIDE, P.VISIT_REVIEW, P.VISIT_ARCHIVE, P.DEVICE_APPROVE, P.CASE_DECIDE, P.CASE_UNMASK,
        P.DISPUTE_INVESTIGATE,
        P.CASH_REQUEST, P.PLAN_MAKE, P.PLAN_PUBLISH, P.EVIDENCE_EXPORT, P.CONTACT_RECORD, P.DISPUTE_RECORD, P.CASH_RESOLVE,
        P.CASH_CORRECT, P.WORKDAY_MANAGE, P.EQUIPMENT_INSPECT, P.EVIDENCE_UNMASK, P.HOLD_MANAGE, P.PROPOSAL_MAKE, P.PAIR_REUNITE,
        P.CASH_HINT, P.RECORDING_IMPORT,
    }) | _READS,
    Role.BANK_LIAISON: frozenset({
        P.CASE_READ, P.VISIT_READ, P.EVIDENCE_READ, P.EVIDENCE_EXPORT, P.VISIT_REVIEW, P.CASH_READ, P.DISPUTE_READ, P.DISPUTE_RULE, P.FRAUD_FOLLOW,
        P.BATCH_READ, P.BANK_READ, P.BATCH_IMPORT, P.CASH_RESOLVE, P.TEMPLATE_APPROVE, P.MANDATE_END,
        P.EVIDENCE_UNMASK, P.HOLD_MANAGE, P.ORIGINAL_REQUEST, P.STAFF_CONFIRM, P.CASH_HINT,
    }),
    Role.BANK_AUTHORISER: frozenset({
        P.CASH_AUTHORISE, P.CASH_READ, P.CASH_RESOLVE, P.CASE_READ, P.BANK_READ, P.BANK_KEY_ENROL, P.PROPOSAL_DECIDE, P.STAFF_CONFIRM,
        P.CASH_HINT, P.FRAUD_FOLLOW,
    }),
    Role.DATA_CLERK: frozenset({P.ADDRESS_PIN, P.BATCH_IMPORT, P.BATCH_READ, P.CASE_READ, P.BANK_READ}),
    Role.CASHIER: frozenset({P.CASH_READ, P.CASH_RECONCILE, P.RECEIPTS_LEASE, P.CASH_DEPOSIT, P.CASH_CORRECT, P.CASH_HINT, P.BANK_READ}),
    Role.LETTER_DUTY: frozenset({P.CASE_READ}),
    Role.POLICE_DUTY: frozenset({P.CASE_READ}),
    Role.ARCHIVE_ADMIN: frozenset({
        P.VISIT_ARCHIVE, P.EVIDENCE_READ, P.HOLD_MANAGE, P.EVIDENCE_DESTROY, P.ORIGINAL_APPROVE,
    }),
    Role.MANAGER: _READS | {
        P.REQUEST_ANALYSE, P.REQUEST_DECIDE, P.CASH_CORRECT, P.CASH_RESOLVE, P.HOLD_MANAGE, P.EVIDENCE_DESTROY, P.ORIGINAL_APPROVE,
        P.STAFF_CONFIRM,
    },
    Role.GENERAL_MANAGER: _READS | {P.HOLD_MANAGE, P.EVIDENCE_DESTROY, P.ORIGINAL_APPROVE, P.STAFF_CONFIRM},
    Role.AUDITOR: _READS | {P.AUDIT_READ},
    Role.OPERATOR: frozenset({
        P.STAFF_MANAGE, P.STAFF_READ, P.DEVICE_APPROVE, P.BANK_MANAGE, P.BANK_READ, P.POLICY_MANAGE, P.AUDIT_READ, P.WORKDAY_MANAGE,
        P.PAIR_REUNITE,
        P.EQUIPMENT_INSPECT,
    }),
})
