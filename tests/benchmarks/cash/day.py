"""One working day of money over many branches: receipts, slips, the bank's statement, every branch's close, the books proven.

What is timed goes through the same functions as at the desk. Receipts are laid down in bulk, through the ledger and its triggers, because
signing ten thousand of them is not what is measured here.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.audit import log
from backend.auth.actors import Role
from backend.cases.tables import CaseRow
from backend.cash import closing, custody, reconciliation, transfers
from backend.cash.bank_files import BankFile
from backend.cash.model import Instrument, NumberStatus, PayerRelation, RequestStatus, TransferKind
from backend.cash.movements import Deposit, Transfer
from backend.cash.tables import AuthorisationRequestRow, AuthorisationRow, CollectionRow, ReceiptNumberRow, ReceiptRow
from backend.core.fen import Fen
from backend.core.geo import LonLat
from backend.core.ids import BankId, BranchId, CaseId, CollectionId, TransferId, new_id
from backend.exhibits.model import Standing
from backend.exhibits.tables import ManifestRow
from backend.staff.tables import BranchRow
from evidence.capitals import to_capitals
from tests.support.cash import Door, door
from tests.support.exhibits import Handset
from tests.support.world import ACCOUNT_NUMBER, Person, add_person, shared_keyring, world

RECEIPTS_PER_SLIP = 10
AMOUNT_FEN = 12_300
_CAP_FEN, _COUNT_MAX = 10**11, 10**6


@dataclass
class Branch:
    """One branch with its pair, its cashier, a case and an authorisation that is never used up."""

    id: BranchId
    pair: tuple[Person, Person]
    cashier: Person
    case_id: UUID
    jti: str


@dataclass
class Day:
    """A day under way; `seconds` tells what each part took."""

    sessions: sessionmaker[Session]
    receipt_count: int
    branch_count: int
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a part."""
        started = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 2)

    def run(self) -> dict[str, Any]:
        """Live the day; returns what it took and what the books say."""
        keyring = shared_keyring()
        with self.sessions.begin() as session:
            at = door(session, keyring, world(session, keyring))
            receipt = at.statement(at.lease(1)[0], AMOUNT_FEN, at.authorise(cap_fen=10**6))
            branches = [_branch(session, at, serial) for serial in range(self.branch_count)]
        share = self.receipt_count // self.branch_count
        slips = []
        for branch in branches:
            with self.timed("receipts_s"), self.sessions.begin() as session:
                numbers = _receipts(session, at, branch, receipt.manifest_id, share)
            with self.timed("deposits_s"):
                slips += self._deposits(at, branch, numbers)
        rows = [f"{ACCOUNT_NUMBER},2026-11-27,{slip.slip_reference},{slip.amount_fen // 100}.{slip.amount_fen % 100:02d}" for slip in slips]
        file = BankFile(
            bank_id=at.bank.id, content="\n".join(["account,booked_on,reference,amount", *rows]).encode(), row_count=len(rows),
            amount_total_fen=Fen(sum(slip.amount_fen for slip in slips)))
        with self.timed("statement_s"), self.sessions.begin() as session:
            imported = reconciliation.import_statement(session, at.made.kai.actor, file, at.policy, at.now)
        with self.timed("closes_s"):
            for branch in branches:
                with self.sessions.begin() as session:
                    closing.close_day(session, branch.cashier.actor, branch.id, at.made.today, at.now)
        with self.timed("books_s"), self.sessions.begin() as session:
            books = reconciliation.close_books(session, at.made.kai.actor, at.bank.id, at.now)
        with self.timed("log_s"):
            log.sequence(self.sessions, keyring, "bench", at.now)
        assert imported.matched_count == len(slips)
        assert (books.receipt_count, books.differences) == (share * self.branch_count, ())
        assert books.designated_fen == books.receipted_fen == share * self.branch_count * AMOUNT_FEN
        reconciled = sum(self.seconds[name] for name in ("statement_s", "closes_s", "books_s"))
        return {
            "receipts": books.receipt_count, "branches": self.branch_count, "slips": len(slips), "reconciled_s": round(reconciled, 2),
            **self.seconds, "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }

    def _deposits(self, at: Door, branch: Branch, numbers: list[str]) -> list[Deposit]:
        made = []
        for start in range(0, len(numbers), RECEIPTS_PER_SLIP):
            paid = numbers[start : start + RECEIPTS_PER_SLIP]
            command = at.deposit(AMOUNT_FEN * len(paid), *paid)
            with self.sessions.begin() as session:
                custody.deposit(session, branch.pair[0].actor, command, at.policy, at.now)
            made.append(command)
        return made


def _copied(row: Any, **changes: Any) -> Any:
    return type(row)(**({column.key: getattr(row, column.key) for column in type(row).__table__.columns} | changes))


def _branch(session: Session, at: Door, serial: int) -> Branch:
    branch_id = BranchId(new_id())
    session.add(BranchRow(
        id=branch_id, code=f"b{serial}", name_zh=f"分部{serial}", name_en=f"Branch {serial}", timezone="Asia/Shanghai",
        office=LonLat(121.0, 31.0), territory=None))
    session.flush()
    keyring = shared_keyring()
    first, second = (add_person(session, keyring, f"pair-{serial}-{one}", Role.FIELD_COLLECTOR, branch_id=branch_id) for one in "ab")
    cashier = add_person(session, keyring, f"cashier-{serial}", Role.CASHIER, branch_id=branch_id)
    case_id, request_id, jti = new_id(), new_id(), f"BENCH-{serial}"
    session.add(_copied(session.get_one(CaseRow, at.case_id), id=case_id, branch_id=branch_id, bank_reference=f"BENCH-{serial}"))
    session.flush()
    request = session.scalars(select(AuthorisationRequestRow).limit(1)).one()
    asked = _copied(
        request, id=request_id, case_id=case_id, branch_id=branch_id, visit_id=None, cap_requested_fen=_CAP_FEN, status=RequestStatus.REQUESTED,
        decided_by=None, decided_at=None)
    session.add(asked)
    session.flush()
    asked.status, asked.decided_by, asked.decided_at = request.status, request.decided_by, request.decided_at
    session.flush()
    granted = session.scalars(select(AuthorisationRow).where(AuthorisationRow.request_id == request.id)).one()
    session.add(_copied(
        granted, jti=jti, request_id=request_id, case_id=case_id, branch_id=branch_id, cap_fen=_CAP_FEN, max_collections=_COUNT_MAX,
        collected_fen=0, collected_count=0))
    session.flush()
    return Branch(branch_id, (first, second), cashier, case_id, jti)


def _receipts(session: Session, at: Door, branch: Branch, manifest_id: UUID, count: int) -> list[str]:
    """Lay down so many receipts of a pair: number, collection, receipt and transfer of each, in one transaction."""
    first, second = branch.pair
    assert first.phone is not None and second.phone is not None  # noqa: PT018
    at.session = session
    numbers: list[str] = []
    while len(numbers) < count:
        lent = Door(
            session=session, keyring=at.keyring, made=at.made, case_id=at.case_id, visit_id=at.visit_id, bank=at.bank, first=Handset(at.made.bilal),
            second=Handset(at.made.dong))
        numbers += lent.lease(min(500, count - len(numbers)))
    leased = {row.number: row for row in session.scalars(select(ReceiptNumberRow).where(ReceiptNumberRow.number.in_(numbers)))}
    manifest = session.get_one(ManifestRow, manifest_id)
    holder, debtor = transfers.custody_of(first.id, at.bank.id), transfers.debtor_of(branch.case_id, at.bank.id)
    accounts = transfers.open_accounts(session, (holder, debtor))
    moves = [Transfer(
        id=TransferId(new_id()), debit_id=accounts[holder], credit_id=accounts[debtor], amount_fen=Fen(AMOUNT_FEN), kind=TransferKind.COLLECTION,
        bank_id=BankId(at.bank.id), case_id=CaseId(branch.case_id), collection_id=CollectionId(new_id()),
    ) for _ in numbers]
    manifests = [_copied(manifest, id=new_id(), digest=f"{new_id().hex}{new_id().hex}") for _ in numbers]
    session.add_all(manifests)
    for number in numbers:
        leased[number].status, leased[number].settled_at = NumberStatus.ISSUED, at.now
    session.flush()
    transfers.transfer_all(session, first.actor, moves, at.now)
    entries = log.append_all(session, "cash-receipt", [number.encode() for number in numbers], at.now)
    session.add_all(CollectionRow(
        id=move.collection_id, case_id=branch.case_id, visit_id=None, bank_id=at.bank.id, branch_id=branch.id, authorisation_jti=branch.jti,
        exception_number=None, receipt_number=number, transfer_id=move.id, amount_fen=AMOUNT_FEN, instrument=Instrument.CASH,
        payer=PayerRelation.DEBTOR, manifest_id=stated.id, device=stated.device, previous_digest="0" * 64, collector_id=first.id,
        cosigner_id=second.id, collected_at=at.taken_at, recorded_at=at.now, deposit_due_at=at.now, standing=Standing.ACCEPTED,
        policy_version=at.policy.version,
    ) for number, move, stated in zip(numbers, moves, manifests, strict=True))
    session.flush()
    session.add_all(ReceiptRow(
        number=number, leased_number=number, stated_number=number, collection_id=move.collection_id, amount_fen=AMOUNT_FEN,
        capitals=to_capitals(AMOUNT_FEN), digest=stated.digest, log_entry_id=entry,
    ) for number, move, stated, entry in zip(numbers, moves, manifests, entries, strict=True))
    session.flush()
    return numbers
