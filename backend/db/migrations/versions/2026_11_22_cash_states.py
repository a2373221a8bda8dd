"""Let the database itself follow the states of money: what begins how, what may come after what, what stands behind each step.

Until now a person with the owner's rights could set a hand-over, a deposit, a variance, an authorisation request or a receipt number to any
status, and only the check of the row commitments told of it. No row changes by this: every stored row came about in the permitted order.

A deposit may name a receipt by what is printed on its paper, so that gets an index: without one every deposit read all receipts.
"""

from alembic import op

from backend.db.migrations import ddl

revision = "cash_states"
down_revision = "cash_once"
branch_labels = None
depends_on = None

_STATES: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "authorisation_requests": (("requested",), {
        "requested": ("seconded", "granted", "refused", "expired"), "seconded": ("granted", "refused", "expired"),
    }),
    "receipt_numbers": (("leased",), {
        "leased": ("issued", "void", "returned", "suspended"), "suspended": ("issued", "void", "returned"), "issued": ("void",),
    }),
    "handovers": (("offered",), {"offered": ("held", "declined"), "held": ("posted",)}),
    "deposits": (("held", "posted"), {"held": ("posted", "unbooked"), "posted": ("confirmed", "reversed")}),
    "variances": (("open",), {"open": ("explained", "resolved"), "explained": ("open", "resolved")}),
    "direct_payments": (("claimed",), {"claimed": ("confirmed", "contradicted")}),
    "promises": (("open",), {"open": ("kept", "broken", "replaced"), "broken": ("kept",)}),
    "proposals": (("proposed",), {
        "proposed": ("offered", "declined", "withdrawn"), "offered": ("revoked", "accepted"), "accepted": ("kept", "broken"),
    }),
}
_ENDED = {
    "authorisation_requests": ("granted", "refused", "expired"), "receipt_numbers": ("void", "returned"), "handovers": ("posted", "declined"),
    "deposits": ("confirmed", "reversed", "unbooked"), "variances": ("resolved",),
}
_ONCE = {
    ("authorisation_requests", "second_once"): ("seconded_by", "seconded_at"),
    ("receipt_numbers", "settled_once"): ("settled_at",),
    ("receipt_books", "back_once"): ("signed_in_at", "signed_in_by"),
    ("handovers", "taken_once"): ("taken_at", "taker_token"),
    ("deposits", "booked_once"): ("transfer_id",),
    ("statement_lines", "matched_once"): ("deposit_id", "transfer_id"),
    ("corrections", "decided_once"): ("decided_at", "decided_by", "is_approved"),
    ("corrections", "reversed_once"): ("reversal_id",),
    ("payment_notices", "told_once"): ("told_at", "told_by"),
}
_REFUSED_UPDATES = {
    ("receipt_books", "holder"): ("OLD.held_by <> NEW.held_by", "a book is signed out once"),
    ("deposits", "standing"): ("OLD.standing <> NEW.standing AND NEW.standing <> 'breach'", "a deposit only ever comes to stand worse"),
}
_OF_BANK = "EXISTS (SELECT 1 FROM staff WHERE staff.id = NEW.{by} AND staff.bank_id = NEW.bank_id)"
_SAME_PERSON = "replace(accounts.owner, '-', '') = replace(CAST(NEW.{by} AS text), '-', '')"
_DEMANDS: dict[tuple[str, str], tuple[str, str]] = {
    ("authorisation_requests", "answer"): (
        "(NEW.status IN ('granted', 'refused')) = (NEW.decided_by IS NOT NULL) AND (NEW.decided_by IS NULL) = (NEW.decided_at IS NULL) "
        "AND (NEW.status <> 'seconded' OR NEW.seconded_by IS NOT NULL) AND (NEW.seconded_by IS NULL) = (NEW.seconded_at IS NULL) "
        "AND (NEW.decided_at IS NULL OR NEW.decided_at < NEW.expires_at) AND (NEW.seconded_at IS NULL OR NEW.seconded_at < NEW.expires_at)",
        "an answer has its giver and comes in time"),
    ("authorisation_requests", "bank"): (
        "EXISTS (SELECT 1 FROM cases WHERE cases.id = NEW.case_id AND cases.bank_id = NEW.bank_id) "
        f"AND (NEW.decided_by IS NULL OR {_OF_BANK.format(by='decided_by')}) AND (NEW.seconded_by IS NULL OR {_OF_BANK.format(by='seconded_by')})",
        "only the bank of the case answers"),
    ("cash_exceptions", "resolvers"): (
        "(NEW.agency_resolved_by IS NULL OR (NEW.agency_resolved_by NOT IN (NEW.collector_id, NEW.cosigner_id) "
        "AND EXISTS (SELECT 1 FROM staff WHERE staff.id = NEW.agency_resolved_by AND staff.bank_id IS NULL))) "
        f"AND (NEW.bank_resolved_by IS NULL OR {_OF_BANK.format(by='bank_resolved_by')})",
        "agency and bank resolve it, each for itself, and nobody of the two who took the money"),
    ("handovers", "custody"): (
        "(NEW.status IN ('held', 'posted')) = (NEW.taken_at IS NOT NULL) AND (NEW.transfer_id IS NULL OR EXISTS ("
        "SELECT 1 FROM transfers WHERE transfers.id = NEW.transfer_id AND transfers.kind = 'handover' AND transfers.amount_fen = NEW.amount_fen "
        "AND transfers.bank_id = NEW.bank_id "
        f"AND EXISTS (SELECT 1 FROM accounts WHERE accounts.id = transfers.debit_id AND {_SAME_PERSON.format(by='taker_id')}) "
        f"AND EXISTS (SELECT 1 FROM accounts WHERE accounts.id = transfers.credit_id AND {_SAME_PERSON.format(by='giver_id')})))",
        "it is taken by its taker and moves its own amount between the two"),
    ("deposits", "money"): (
        "(NEW.status IN ('posted', 'confirmed', 'reversed') AND (NEW.transfer_id IS NOT NULL OR NEW.amount_fen = 0) "
        "OR NEW.status IN ('held', 'unbooked') AND NEW.transfer_id IS NULL) "
        "AND (NEW.transfer_id IS NULL OR EXISTS (SELECT 1 FROM transfers JOIN accounts ON accounts.id = transfers.debit_id "
        "WHERE transfers.id = NEW.transfer_id AND transfers.kind IN ('deposit', 'recovery') AND transfers.amount_fen = NEW.amount_fen "
        "AND transfers.bank_id = NEW.bank_id AND accounts.kind = 'in_transit' AND accounts.owner = NEW.account_digest)) "
        "AND (NEW.status <> 'reversed' OR EXISTS (SELECT 1 FROM transfers WHERE transfers.reverses_id = NEW.transfer_id)) "
        "AND (NEW.status <> 'confirmed' OR EXISTS (SELECT 1 FROM statement_lines WHERE statement_lines.deposit_id = NEW.id))",
        "a slip moves its own amount to its own account, is confirmed by a credit and undone by a reversal"),
    ("statement_lines", "match"): (
        "(NEW.deposit_id IS NULL) = (NEW.transfer_id IS NULL) AND (NEW.deposit_id IS NULL OR ("
        "EXISTS (SELECT 1 FROM deposits WHERE deposits.id = NEW.deposit_id AND deposits.bank_id = NEW.bank_id AND deposits.status IN ('posted', 'confirmed') "
        "AND deposits.account_digest = NEW.account_digest AND deposits.slip_reference = NEW.reference AND NEW.amount_fen > 0) "
        "AND EXISTS (SELECT 1 FROM transfers WHERE transfers.id = NEW.transfer_id AND transfers.kind = 'confirmation' "
        "AND transfers.bank_id = NEW.bank_id AND transfers.amount_fen <= NEW.amount_fen)))",
        "a credit confirms the slip that it names"),
    ("corrections", "reversal"): (
        "(NEW.decided_at IS NULL) = (NEW.is_approved IS NULL) AND (NEW.reversal_id IS NULL OR (NEW.is_approved AND EXISTS ("
        "SELECT 1 FROM transfers WHERE transfers.id = NEW.reversal_id AND transfers.reverses_id = NEW.transfer_id "
        "AND transfers.made_by = NEW.proposed_by AND transfers.approved_by = NEW.decided_by)))",
        "an approved correction is the mirror of its transfer, by its two people"),
}
_INSERTS: dict[tuple[str, str], tuple[str, str]] = {
    ("authorisations", "granted"): (
        "EXISTS (SELECT 1 FROM authorisation_requests AS asked WHERE asked.id = NEW.request_id AND asked.status = 'granted' "
        "AND asked.case_id = NEW.case_id AND asked.bank_id = NEW.bank_id AND asked.branch_id = NEW.branch_id "
        "AND asked.cap_requested_fen >= NEW.cap_fen AND asked.decided_by = NEW.granted_by)",
        "the bank granted what was asked, or less"),
    ("receipt_numbers", "in_book"): (
        "EXISTS (SELECT 1 FROM receipt_books WHERE receipt_books.id = NEW.book_id AND receipt_books.bank_id = NEW.bank_id "
        "AND NEW.ordinal BETWEEN receipt_books.first_number AND receipt_books.last_number AND receipt_books.signed_in_at IS NULL)",
        "a number is printed in its book"),
    ("collections", "leave"): (
        "NEW.exception_number IS NOT NULL OR (NEW.instrument <> 'personal_transfer' AND NEW.payer <> 'other')",
        "it stands under an exception number"),
    ("deposit_lines", "whole"): (
        "NEW.reversed_at IS NULL AND EXISTS (SELECT 1 FROM deposits JOIN collections ON collections.id = NEW.collection_id "
        "WHERE deposits.id = NEW.deposit_id AND deposits.status = 'held' AND deposits.bank_id = collections.bank_id)",
        "a deposit names its receipts when it is booked, and of its own bank"),
}
_UPDATES: dict[tuple[str, str], tuple[str, str]] = {
    ("deposit_lines", "free"): (
        "NEW.reversed_at IS NULL OR EXISTS (SELECT 1 FROM deposits WHERE deposits.id = NEW.deposit_id AND deposits.status = 'reversed')",
        "only a deposit that is reversed frees its receipts"),
}


def upgrade() -> None:
    op.create_index("ix_receipts_stated_number", "receipts", ["stated_number"])
    op.create_index("uq_deposits_transfer_id", "deposits", ["transfer_id"], unique=True)
    op.create_index("uq_statement_lines_transfer_id", "statement_lines", ["transfer_id"], unique=True)
    for table, (begins, follows) in _STATES.items():
        ddl.transitions(table, begins=begins, follows=follows)
    for table, statuses in _ENDED.items():
        ended = ", ".join(f"'{status}'" for status in statuses)
        ddl.refuse_update_when(table, "ended", f"OLD.status IN ({ended})", "it has come to its end")
    for (table, name), columns in _ONCE.items():
        ddl.set_once(table, name, columns)
    for (table, name), (condition, reason) in _REFUSED_UPDATES.items():
        ddl.refuse_update_when(table, name, condition, reason)
    for (table, name), (condition, reason) in _DEMANDS.items():
        ddl.demand(table, name, condition, reason)
    for (table, name), (condition, reason) in _INSERTS.items():
        ddl.demand(table, name, condition, reason, verbs=("INSERT",))
    for (table, name), (condition, reason) in _UPDATES.items():
        ddl.demand(table, name, condition, reason, verbs=("UPDATE",))


def downgrade() -> None:
    for table, name in _UPDATES:
        ddl.drop_demand(table, name, verbs=("UPDATE",))
    for table, name in _INSERTS:
        ddl.drop_demand(table, name, verbs=("INSERT",))
    for table, name in _DEMANDS:
        ddl.drop_demand(table, name)
    for table, name in (*_REFUSED_UPDATES, *_ONCE, *((table, "ended") for table in _ENDED)):
        ddl.drop_trigger(table, name)
    for table in _STATES:
        ddl.drop_trigger(table, "begins")
        ddl.drop_trigger(table, "follows")
    op.drop_index("uq_statement_lines_transfer_id", "statement_lines")
    op.drop_index("uq_deposits_transfer_id", "deposits")
    op.drop_index("ix_receipts_stated_number", "receipts")
