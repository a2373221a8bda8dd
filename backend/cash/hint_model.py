"""Words of a hint that a debtor paid one of ours personally. Pure."""

from enum import StrEnum


class HintSource(StrEnum):
    """Where somebody heard that a debtor paid one of ours personally."""

    CALL = "call"
    COMPLAINT = "complaint"
    RECORDING = "recording"
    CREDIT = "credit"            # A variance, or a credit on the statement, that looks like it.


class HintFinding(StrEnum):
    """What came of looking into it."""

    UNFOUNDED = "unfounded"
    UPHELD = "upheld"
