"""Let the database itself follow denials, declarations, suspicions, promises, offers, holds, destructions, productions and renewals.

As with money before: what begins how, what may come after what, what is said once, whose word stands behind each step, and nothing after the end.
Until now a decision on a destruction could be taken back with direct SQL, a suspicion dismissed be reported, a ruled dispute be opened again.

Stored answers may lose their words once their case is over; id, digest, sender and time stay for ever. From here on each answer names its case, when
it is about one; of those stored before, no case is known, and they stay whole. No other row changes. Going back, answers without words get empty ones.
"""

import sqlalchemy as sa
from alembic import op

from backend.db.migrations import ddl

revision = "decision_states"
down_revision = "claims_per_case"
branch_labels = None
depends_on = None

_STATES: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "suspicions": (("heard",), {"heard": ("reported", "dismissed"), "reported": ("acknowledged",)}),
    "disputes": (("stated",), {"stated": ("declared", "ruled"), "declared": ("ruled",)}),
    "declarations": (("taken",), {"taken": ("investigation",), "investigation": ("compared",), "compared": ("ruled",)}),
}
_ENDED = {
    "suspicions": "OLD.status IN ('acknowledged', 'dismissed')", "disputes": "OLD.status = 'ruled'",
    "promises": "OLD.status IN ('kept', 'replaced')", "proposals": "OLD.status IN ('declined', 'withdrawn', 'revoked', 'kept', 'broken')",
    "destructions": "OLD.is_approved IS NOT NULL AND NOT OLD.is_approved", "productions": "OLD.pack_id IS NOT NULL",
}
_ONCE = {
    ("suspicions", "decision_once"): ("decided_at", "decided_by", "due_at", "log_entry_id"),
    ("declarations", "handwriting_once"): ("handwriting", "handwriting_at"),
    ("declarations", "ruling_once"): ("ruling", "ruled_by", "ruled_at"),
    ("proposals", "term_once"): ("valid_to_on",),
    ("proposals", "acceptance_once"): ("accepted_at", "accepted_on"),
    ("destructions", "decision_once"): ("decided_at", "decided_by", "is_approved"),
    ("productions", "first_once"): ("first_by", "first_at"),
    ("productions", "second_once"): ("second_by", "second_at"),
    ("device_renewals", "grant_once"): ("approved_at", "approved_by"),
}
_SAME = "((OLD.{0} IS NULL AND NEW.{0} IS NULL) OR (OLD.{0} IS NOT NULL AND NEW.{0} IS NOT NULL AND OLD.{0} = NEW.{0}))"
_REFUSED_UPDATES = {
    ("declarations", "investigator_stands"): (
        f"OLD.status IN ('compared', 'ruled') AND NOT ({_SAME.format('investigator_id')} AND {_SAME.format('investigator_named_at')})",
        "who compared the hands stays the investigator"),
    ("promises", "judged_by_status"): (f"OLD.status = NEW.status AND NOT {_SAME.format('judged_at')}", "a promise is judged with its status"),
    ("proposals", "decided_by_status"): (
        f"OLD.status = NEW.status AND NOT ({_SAME.format('decided_by')} AND {_SAME.format('decided_at')})", "a proposal is decided with its status"),
    ("productions", "twice_is_final"): ("OLD.second_by IS NOT NULL AND NEW.refused_by IS NOT NULL", "what two approved nobody refuses"),
}
_OF_CASE = "EXISTS (SELECT 1 FROM cases WHERE cases.id = NEW.case_id AND cases.bank_id = NEW.bank_id AND cases.branch_id = NEW.branch_id)"
_OF_BANK = "EXISTS (SELECT 1 FROM staff WHERE staff.id = NEW.{0} AND staff.bank_id = NEW.bank_id)"
_OF_AGENCY = "EXISTS (SELECT 1 FROM staff WHERE staff.id = NEW.{0} AND staff.bank_id IS NULL)"
_LOGGED = "EXISTS (SELECT 1 FROM log_entries WHERE log_entries.id = NEW.{0} AND log_entries.entry_type IN ({1}))"
_REPORT_LOGGED = _LOGGED.format("log_entry_id", "'suspicion-reported', 'ruling'")        # What was logged before it had a type of its own.
_PROOF_LOGGED = _LOGGED.format("proof_entry_id", "'suspicion-acknowledged'")
_RULING_LOGGED = _LOGGED.format("log_entry_id", "'ruling'")
_DEMANDS: dict[tuple[str, str], tuple[str, str]] = {
    ("suspicions", "whose_word"): (
        f"(NEW.decided_by IS NULL OR {_OF_AGENCY.format('decided_by')}) AND (NEW.acknowledged_by IS NULL OR {_OF_BANK.format('acknowledged_by')}) "
        f"AND (NEW.log_entry_id IS NULL OR {_REPORT_LOGGED}) "
        f"AND (NEW.proof_entry_id IS NULL OR {_PROOF_LOGGED})",
        "the agency reports, the bank acknowledges, and both are logged"),
    ("disputes", "whose_word"): (
        f"NEW.ruled_by IS NULL OR ({_OF_BANK.format('ruled_by')} AND NEW.log_entry_id IS NOT NULL AND {_RULING_LOGGED})",
        "only its own bank rules, and the ruling is logged"),
    ("declarations", "whose_word"): (
        f"(NEW.ruled_by IS NULL OR {_OF_BANK.format('ruled_by')}) "
        f"AND (NEW.investigator_id IS NULL OR {_OF_AGENCY.format('investigator_id')}) "
        "AND (NEW.investigator_id IS NULL) = (NEW.investigator_named_at IS NULL) AND (NEW.handwriting IS NULL) = (NEW.handwriting_at IS NULL)",
        "only its own bank rules, and somebody of the agency investigates"),
    ("promises", "whose_word"): (
        f"NEW.followed_up_by IS NULL OR {_OF_AGENCY.format('followed_up_by')}", "the agency follows up"),
    ("legal_holds", "whose_word"): (
        "EXISTS (SELECT 1 FROM staff JOIN cases ON cases.id = NEW.case_id WHERE staff.id = NEW.set_by "
        "AND (staff.bank_id IS NULL OR staff.bank_id = cases.bank_id)) AND (NEW.lifted_by IS NULL OR EXISTS ("
        "SELECT 1 FROM staff AS setter JOIN staff AS lifter ON lifter.id = NEW.lifted_by WHERE setter.id = NEW.set_by "
        "AND (setter.bank_id = lifter.bank_id OR (setter.bank_id IS NULL AND lifter.bank_id IS NULL))))",
        "a hold is set by the agency or the bank of the case, and lifted by the side that set it"),
    ("destructions", "whose_word"): (
        f"{_OF_AGENCY.format('proposed_by')} AND (NEW.decided_by IS NULL OR {_OF_AGENCY.format('decided_by')}) "
        "AND (NEW.done_at IS NULL) = (NEW.certificate IS NULL) AND (NEW.done_at IS NULL) = (NEW.log_entry_id IS NULL) "
        "AND (NEW.done_at IS NULL OR (NOT EXISTS (SELECT 1 FROM legal_holds WHERE legal_holds.case_id = NEW.case_id AND legal_holds.lifted_at IS NULL) "
        "AND NOT EXISTS (SELECT 1 FROM case_keys WHERE case_keys.subject_id = NEW.case_id AND case_keys.wrapped IS NOT NULL)))",
        "two of the agency destroy, what is certified is gone, and nothing is that is held"),
    ("productions", "whose_word"): (
        f"{_OF_BANK.format('requested_by')} AND (NEW.first_by IS NULL OR {_OF_AGENCY.format('first_by')}) "
        f"AND (NEW.second_by IS NULL OR {_OF_AGENCY.format('second_by')}) AND (NEW.refused_by IS NULL OR {_OF_AGENCY.format('refused_by')})",
        "the bank asks and the agency approves"),
    ("device_renewals", "whose_word"): (
        "EXISTS (SELECT 1 FROM devices WHERE devices.kid = NEW.old_kid AND devices.staff_id = NEW.staff_id) "
        "AND (NEW.new_kid IS NULL OR EXISTS (SELECT 1 FROM devices WHERE devices.kid = NEW.new_kid AND devices.staff_id = NEW.staff_id)) "
        f"AND (NEW.approved_by IS NULL OR {_OF_AGENCY.format('approved_by')}) "
        "AND (NEW.challenge IS NULL) = (NEW.challenge_expires_at IS NULL) AND (NEW.challenge IS NULL OR NEW.approved_at IS NOT NULL) "
        "AND (NEW.approved_at IS NULL OR NEW.approved_at < NEW.expires_at) AND (NEW.used_at IS NULL OR NEW.used_at < NEW.expires_at)",
        "both keys are of one person, and the grant comes first and in time"),
}
_INSERTS: dict[tuple[str, str], tuple[str, str]] = {
    **{(table, "of_case"): (_OF_CASE, "it is of the bank and branch of its case")
       for table in ("suspicions", "disputes", "promises", "proposals")},
    ("declarations", "of_case"): (
        f"{_OF_CASE} AND NEW.record_deletion = 'not_due' AND EXISTS (SELECT 1 FROM disputes "
        "WHERE disputes.id = NEW.dispute_id AND disputes.case_id = NEW.case_id AND disputes.status = 'declared')",
        "it puts an open dispute of its own case into writing"),
    ("legal_holds", "begins_open"): ("NEW.lifted_at IS NULL", "a hold begins in force"),
    ("destructions", "begins_open"): ("NEW.decided_at IS NULL AND NEW.done_at IS NULL", "a destruction begins as a proposal"),
    ("productions", "begins_open"): (
        "NEW.first_by IS NULL AND NEW.second_by IS NULL AND NEW.refused_by IS NULL AND NEW.pack_id IS NULL "
        "AND EXISTS (SELECT 1 FROM cases WHERE cases.id = NEW.case_id AND cases.bank_id = NEW.bank_id)",
        "a production begins as a request of the bank of its case"),
    ("device_renewals", "begins_open"): ("NEW.approved_at IS NULL AND NEW.used_at IS NULL", "a renewal begins as a question"),
}
_OVER = "EXISTS (SELECT 1 FROM cases WHERE cases.id = OLD.case_id AND cases.status IN ('closed', 'archived', 'recalled'))"


def upgrade() -> None:
    for table, (begins, follows) in _STATES.items():
        ddl.transitions(table, begins=begins, follows=follows)
    for table, condition in _ENDED.items():
        ddl.refuse_update_when(table, "ended", condition, "it has come to its end")
    for (table, name), columns in _ONCE.items():
        ddl.set_once(table, name, columns)
    for (table, name), (condition, reason) in _REFUSED_UPDATES.items():
        ddl.refuse_update_when(table, name, condition, reason)
    for (table, name), (condition, reason) in _DEMANDS.items():
        ddl.demand(table, name, condition, reason)
    for (table, name), (condition, reason) in _INSERTS.items():
        ddl.demand(table, name, condition, reason, verbs=("INSERT",))
    _let_answers_be_trimmed()


def downgrade() -> None:
    _keep_answers()
    for table, name in _INSERTS:
        ddl.drop_demand(table, name, verbs=("INSERT",))
    for table, name in _DEMANDS:
        ddl.drop_demand(table, name)
    for table, name in (*_REFUSED_UPDATES, *_ONCE, *((table, "ended") for table in _ENDED)):
        ddl.drop_trigger(table, name)
    for table in _STATES:
        ddl.drop_trigger(table, "begins")
        ddl.drop_trigger(table, "follows")


def _let_answers_be_trimmed() -> None:
    ddl.drop_trigger("submissions", "no_update")
    with ddl.rebuild_table("submissions") as batch:
        batch.add_column(sa.Column("case_id", ddl.uuid()))
        batch.add_column(sa.Column("trimmed_at", ddl.instant()))
        batch.alter_column("answer", existing_type=ddl.canonical_json(), nullable=True)
        batch.create_check_constraint("answered_or_trimmed", "(answer IS NULL) = (trimmed_at IS NOT NULL)")
        batch.create_check_constraint("trimmed_of_a_case", "trimmed_at IS NULL OR case_id IS NOT NULL")
    op.create_index("ix_submissions_case_id", "submissions", ["case_id"])
    ddl.immutable_columns("submissions", ("id", "kind", "digest", "actor_id", "device", "received_at", "case_id"))
    ddl.demand("submissions", "begins_whole", "NEW.trimmed_at IS NULL", "an answer is stored whole", verbs=("INSERT",))
    ddl.demand(
        "submissions", "trimmed_once", f"OLD.trimmed_at IS NULL AND NEW.trimmed_at IS NOT NULL AND {_OVER}",
        "an answer is only ever trimmed, once, after its case", verbs=("UPDATE",))
    ddl.execute(postgresql=f"""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{ddl.APP_ROLE}') THEN
                GRANT UPDATE (answer, trimmed_at) ON submissions TO {ddl.APP_ROLE};
            END IF;
        END $$
    """)


def _keep_answers() -> None:
    ddl.execute(postgresql=f"""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{ddl.APP_ROLE}') THEN
                REVOKE UPDATE (answer, trimmed_at) ON submissions FROM {ddl.APP_ROLE};
            END IF;
        END $$
    """)
    ddl.drop_demand("submissions", "trimmed_once", verbs=("UPDATE",))
    ddl.drop_demand("submissions", "begins_whole", verbs=("INSERT",))
    ddl.drop_trigger("submissions", "immutable")
    op.drop_index("ix_submissions_case_id", "submissions")
    with ddl.rebuild_table("submissions", drops=("ck_submissions_answered_or_trimmed", "ck_submissions_trimmed_of_a_case")) as batch:
        batch.drop_constraint("answered_or_trimmed", type_="check")
        batch.drop_constraint("trimmed_of_a_case", type_="check")
    op.execute("UPDATE submissions SET answer = '{}' WHERE answer IS NULL")
    with ddl.rebuild_table("submissions") as batch:
        batch.alter_column("answer", existing_type=ddl.canonical_json(), nullable=False)
        batch.drop_column("case_id")
        batch.drop_column("trimmed_at")
    ddl.drop_trigger("submissions", "no_delete")
    ddl.execute(postgresql="DROP TRIGGER tr_submissions_no_truncate ON submissions")
    ddl.append_only("submissions")
