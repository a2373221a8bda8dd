"""The ledger: where money is. One positive transfer at a time between two named accounts; nothing is ever changed or removed.

The database moves the balances: a transfer's trigger writes its two postings and these move the accounts, on both engines.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from backend.audit import log
from backend.auth.actors import Actor
from backend.cash.model import TRANSFER_SIDES, AccountKind, TransferKind
from backend.cash.movements import Transfer
from backend.cash.tables import AccountRow, PostingRow, TransferRow
from backend.core.fen import Fen
from backend.core.i18n import N_
from backend.core.ids import AccountId, BankId, TransferId, new_id
from backend.core.problems import Problem
from evidence.canonical import canonicalise

_RIGHT_SIDE = "right_side"


class FundsMissing(Problem):
    """The account does not hold what the transfer takes from it."""

    status, code, title = 409, "funds-missing", N_("This account does not hold that much.")
    explanation = N_("Money that was taken but has not been reported yet is not in the books. Send the receipts first.")


class AccountKey(msgspec.Struct, frozen=True, kw_only=True):
    """What names an account: its kind, whose it is, and the bank whose money it holds."""

    kind: AccountKind
    owner: str
    bank_id: BankId


def custody_of(staff_id: UUID, bank_id: BankId) -> AccountKey:
    """Name the account of what an employee holds for a bank."""
    return AccountKey(kind=AccountKind.CUSTODY, owner=str(staff_id), bank_id=bank_id)


def debtor_of(case_id: UUID, bank_id: BankId) -> AccountKey:
    """Name the account of what the debtor of a case has handed over."""
    return AccountKey(kind=AccountKind.DEBTOR, owner=str(case_id), bank_id=bank_id)


def in_transit_to(account_digest: str, bank_id: BankId) -> AccountKey:
    """Name the account of what is paid in and not confirmed yet."""
    return AccountKey(kind=AccountKind.IN_TRANSIT, owner=account_digest, bank_id=bank_id)


def designated(account_digest: str, bank_id: BankId) -> AccountKey:
    """Name the account of what the bank's statement confirms."""
    return AccountKey(kind=AccountKind.DESIGNATED, owner=account_digest, bank_id=bank_id)


def suspense_of(staff_id: UUID, bank_id: BankId) -> AccountKey:
    """Name the account of what an employee answers for."""
    return AccountKey(kind=AccountKind.SUSPENSE, owner=str(staff_id), bank_id=bank_id)


def open_accounts(session: Session, keys: tuple[AccountKey, ...]) -> Mapping[AccountKey, AccountId]:
    """Return the accounts' ids, making the missing ones, and lock all of them in the order of their ids.

    The one order for everybody is what keeps two transfers between the same accounts from waiting for each other for ever.
    """
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    session.flush()
    for key in sorted(set(keys), key=lambda one: (one.kind, one.owner, str(one.bank_id))):
        if _find(session, key) is None:
            made = insert(AccountRow).values(
                id=new_id(), kind=key.kind, owner=key.owner, bank_id=key.bank_id, currency="CNY", balance_fen=0, posting_count=0
            )
            session.execute(made.on_conflict_do_nothing(index_elements=["kind", "owner", "bank_id"]))
    found: dict[AccountKey, AccountId] = {}
    for key in set(keys):
        account_id = _find(session, key)
        assert account_id is not None, "an account just made is there"
        found[key] = account_id
    lock(session, frozenset(found.values()))
    return found


def lock_custodies(session: Session, staff_ids: tuple[UUID, ...], bank_id: BankId) -> None:
    """Lock people's custodies before any hand-over's row, as whoever books what was held does: the other order can wait in a ring."""
    open_accounts(session, tuple(custody_of(one, bank_id) for one in staff_ids))


def lock(session: Session, account_ids: frozenset[AccountId]) -> Mapping[AccountId, Fen]:
    """Lock accounts in the order of their ids and return what each holds now."""
    rows = session.execute(
        select(AccountRow.id, AccountRow.balance_fen).where(AccountRow.id.in_(account_ids)).order_by(AccountRow.id).with_for_update()
    )
    return {AccountId(row.id): Fen(row.balance_fen) for row in rows}


def transfer(session: Session, actor: Actor, wanted: Transfer, now: datetime) -> TransferId:
    """Move money once, and enter the movement in the transparency log.

    The accounts are locked in id order first. The caller has made sure that the kind may join them; the database makes sure again.

    Raises:
        FundsMissing: the credited account does not hold the amount.
    """
    transfer_all(session, actor, (wanted,), now)
    return wanted.id


def transfer_all(session: Session, actor: Actor, wanted: Sequence[Transfer], now: datetime) -> None:
    """Move money many times in the order given, as `transfer` does: the same rows, entries and triggers in fewer statements.

    Raises:
        FundsMissing: a credited account does not hold the amount. Nothing is moved.
    """
    held = lock(session, frozenset(account for one in wanted for account in (one.debit_id, one.credit_id)))
    assert held.keys() == {account for one in wanted for account in (one.debit_id, one.credit_id)}, "every account exists"
    entries = log.append_all(session, "transfer", [logged(one, actor.id, now) for one in wanted], now)
    session.add_all(
        TransferRow(
            id=one.id, debit_id=one.debit_id, credit_id=one.credit_id, amount_fen=one.amount_fen, kind=one.kind, bank_id=one.bank_id,
            case_id=one.case_id, collection_id=one.collection_id, at=now, made_by=actor.id, approved_by=one.approved_by,
            reverses_id=one.reverses_id, reason=one.reason, log_entry_id=entry_id,
        ) for one, entry_id in zip(wanted, entries, strict=True)
    )
    try:
        session.flush()
    except IntegrityError as error:
        if _RIGHT_SIDE in str(error.orig):
            needed = wanted[0]
            raise FundsMissing(needed_fen=needed.amount_fen, held_fen=held[needed.credit_id]) from error
        raise


def logged(wanted: Transfer, made_by: UUID, at: datetime) -> bytes:
    """Return the words under which a transfer stands in the transparency log."""
    content = msgspec.to_builtins(wanted) | {"at": log.utc_text(at), "made_by": str(made_by)}
    return canonicalise({name: value for name, value in content.items() if value is not None})


def move(session: Session, actor: Actor, kind: TransferKind, debit: AccountKey, credit: AccountKey, amount_fen: Fen, now: datetime) -> TransferId:
    """Open and lock both accounts and transfer between them; for movements of no particular case.

    Raises:
        FundsMissing: `credit` does not hold the amount.
    """
    assert (debit.kind, credit.kind) in TRANSFER_SIDES[kind], (kind, debit.kind, credit.kind)
    accounts = open_accounts(session, (debit, credit))
    wanted = Transfer(
        id=TransferId(new_id()), debit_id=accounts[debit], credit_id=accounts[credit], amount_fen=amount_fen, kind=kind, bank_id=debit.bank_id
    )
    return transfer(session, actor, wanted, now)


def balance(session: Session, key: AccountKey) -> Fen:
    """Return what an account holds; nothing for one that was never used."""
    return Fen(session.scalar(select(AccountRow.balance_fen).where(_is(key))) or 0)


class StatementEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an account's statement: what came or went, and what was there afterwards."""

    ordinal: int
    transfer_id: TransferId
    kind: TransferKind
    amount_fen: Fen
    balance_fen: Fen
    at: datetime


def account_statement(session: Session, key: AccountKey, *, after: int = 0, limit: int = 200) -> tuple[StatementEntry, ...]:
    """Return up to `limit` lines of an account from the one after `after` on, oldest first, without a gap."""
    rows = session.execute(
        select(PostingRow, TransferRow.kind, TransferRow.at)
        .join(AccountRow, AccountRow.id == PostingRow.account_id)
        .join(TransferRow, TransferRow.id == PostingRow.transfer_id)
        .where(_is(key), PostingRow.ordinal > after)
        .order_by(PostingRow.ordinal)
        .limit(limit)
    )
    return tuple(
        StatementEntry(
            ordinal=posting.ordinal, transfer_id=TransferId(posting.transfer_id), kind=kind, amount_fen=Fen(posting.amount_fen),
            balance_fen=Fen(posting.balance_fen), at=at,
        )
        for posting, kind, at in rows
    )


def _find(session: Session, key: AccountKey) -> AccountId | None:
    found = session.scalar(select(AccountRow.id).where(_is(key)))
    return AccountId(found) if found else None


def _is(key: AccountKey) -> ColumnElement[bool]:
    return and_(AccountRow.kind == key.kind, AccountRow.owner == key.owner, AccountRow.bank_id == key.bank_id)
