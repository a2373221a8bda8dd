"""Custody in words: why evidence is held or destroyed, and what a production of originals asks for. Pure."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from backend.core.ids import CaseId
from evidence.manifest import Role

Reason = Annotated[str, Meta(min_length=1, max_length=2000)]
ORIGINALS_MAX = 200


class HoldGround(StrEnum):
    """Why nothing of a case may be destroyed."""

    LITIGATION = "litigation"
    COMPLAINT = "complaint"
    POLICE = "police"
    REGULATOR = "regulator"
    DISPUTE = "dispute"
    OTHER = "other"


class DestructionGround(StrEnum):
    """Why a case's evidence is destroyed."""

    TERM_OVER = "term_over"
    BANK_INSTRUCTION = "bank_instruction"
    CONTRACT_END = "contract_end"


class AskProduction(msgspec.Struct, frozen=True, kw_only=True):
    """Originals of one case, for one recipient who holds the private key to `recipient_jwk`."""

    case_id: CaseId
    items: Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=ORIGINALS_MAX)]
    recipient: Annotated[str, Meta(min_length=1, max_length=120)]
    recipient_jwk: Any
    purpose: str
    reason: Reason


class SetHold(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of this case may be destroyed from now on."""

    case_id: CaseId
    ground: HoldGround
    reason: Reason


class KeptItem(msgspec.Struct, frozen=True, kw_only=True):
    """One stored file as its destruction is judged: `until_at` as stored, `floor_days` what its bank's policy demands today."""

    sha256: str
    role: Role
    ended_at: datetime
    until_at: datetime | None
    floor_days: int
