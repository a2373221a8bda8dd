"""What reviewers say of a file, and what a pack covers. Pure."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from backend.core.ids import BankId, CaseId, VisitId
from evidence.photo_marks import Box

MASKS_MAX = 40


class ItemVerdict(StrEnum):
    """What a reviewer says of one file, with its effect."""

    ACCEPTED = "accepted"            # Also takes back an earlier return or rejection.
    RETURNED = "returned"            # The visit is opened again, so that the pair completes it.
    REJECTED = "rejected"            # The file leaves exports; the pack says so. It is kept all the same (EVD-09).
    COMMENT = "comment"              # Nothing.


class MaskReason(StrEnum):
    """Whom or what a mask covers (F27)."""

    BYSTANDER = "bystander"
    CHILD = "child"
    PLATE = "plate"
    DOCUMENT = "document"
    OTHER = "other"


class ScopeKind(StrEnum):
    """What a pack is of."""

    VISIT = "visit"
    CASE = "case"
    BATCH = "batch"
    PERIOD = "period"
    PRODUCTION = "production"


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Which statements a pack holds: those of one visit, of cases, or captured within a period; of one bank in any case.

    `told` is what the pack's signed index says of it. A batch names its cases; `to_at` is the first instant after the period.
    """

    kind: ScopeKind
    told: dict[str, str]
    visit_ids: tuple[VisitId, ...] | None = None
    case_ids: tuple[CaseId, ...] | None = None
    bank_id: BankId | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None


class SetMask(msgspec.Struct, frozen=True, kw_only=True):
    """Regions that copies of one picture shall not show; an empty list takes earlier masks away."""

    item_key: UUID
    boxes: Annotated[tuple[Box, ...], Meta(max_length=MASKS_MAX)]
    reason: MaskReason


class ExclusionReason(StrEnum):
    """Why a pack names a file and does not hold it; the words stand in the signed index."""

    NEVER_ARRIVED = "never arrived"
    DESTROYED = "destroyed after its term"
    REJECTED = "rejected in review"
    JOINT = "another bank's matter may be in it"
    UNSTAMPABLE = "no stamped form of this kind of file"
    NOT_ASKED = "not part of this production"
