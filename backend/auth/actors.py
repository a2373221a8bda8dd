"""Who acts: one authenticated person, with roles and scope. Pure."""

from enum import StrEnum
from uuid import UUID

import msgspec

from backend.core.ids import BankId, BranchId, StaffId


class Role(StrEnum):
    """Application roles; the catalogue's table of seed roles says which seed role each carries."""

    FIELD_COLLECTOR = "field_collector"
    PHONE_COLLECTOR = "phone_collector"
    DISPATCHER = "dispatcher"
    SUPERVISOR = "supervisor"
    BANK_LIAISON = "bank_liaison"
    BANK_AUTHORISER = "bank_authoriser"
    DATA_CLERK = "data_clerk"
    CASHIER = "cashier"
    LETTER_DUTY = "letter_duty"
    POLICE_DUTY = "police_duty"
    ARCHIVE_ADMIN = "archive_admin"
    MANAGER = "manager"
    GENERAL_MANAGER = "general_manager"
    AUDITOR = "auditor"
    OPERATOR = "operator"


BANK_ROLES = frozenset({Role.BANK_LIAISON, Role.BANK_AUTHORISER})
# Roles that see every branch of the agency; all others see the branches that they are assigned to.
EVERY_BRANCH_ROLES = frozenset({Role.OPERATOR, Role.AUDITOR, Role.MANAGER, Role.GENERAL_MANAGER})


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """One authenticated person and what they may see.

    `bank` is set exactly for a bank's people: they see their own bank's cases and nothing else, whatever the branch.
    `device` is the key thumbprint (RFC 7638) of the phone that speaks, None at the console.
    """

    id: StaffId
    roles: frozenset[Role]
    branches: frozenset[BranchId] = frozenset()
    bank: BankId | None = None
    device: str | None = None
    session: UUID | None = None

    def __post_init__(self) -> None:
        if (self.bank is not None) != bool(self.roles & BANK_ROLES) or (self.bank is not None and self.roles - BANK_ROLES):
            raise ValueError("a bank's person has bank roles only, and nobody else has one")

    @property
    def sees_every_branch(self) -> bool:
        """Whether no branch of the agency is closed to this person."""
        return self.bank is None and bool(self.roles & EVERY_BRANCH_ROLES)
