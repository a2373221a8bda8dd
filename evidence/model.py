"""Nouns shared by the judgements: findings and their grades."""

from enum import StrEnum

import msgspec


class Grade(StrEnum):
    """How much a finding weighs; nothing authentic is ever dropped because of one."""

    INFO = "info"                    # Shown to reviewers, nothing else.
    DOUBT = "doubt"                  # Blocks the visit's close until a supervisor decides.
    FRAUD_SIGN = "fraud_sign"        # Quarantine; leaves only by two-person review.


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One graded observation about authentic evidence. An empty tuple of findings means clean."""

    name: str                        # Stable kebab-case name, also the problem name where protocol.md gives one.
    grade: Grade
    rules: tuple[str, ...] = ()      # Rule ids it touches, such as `VIS-01`.
    pointer: str = ""                # RFC 6901 pointer into the manifest, or an item id.
    expected: str = ""
    got: str = ""


def worst(findings: tuple[Finding, ...]) -> Grade | None:
    """Return the heaviest grade among the findings, None when there are none."""
    order = list(Grade)
    return max((finding.grade for finding in findings), key=order.index, default=None)
