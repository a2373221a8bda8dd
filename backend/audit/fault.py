"""What a check found wrong."""

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One fault found: where, and what is wrong with it."""

    subject: str
    code: str
