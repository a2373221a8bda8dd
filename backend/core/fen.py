"""Money: whole fen, never a float."""

from typing import NewType

Fen = NewType("Fen", int)
FEN_MAX = 10**13  # A hundred thousand million yuan: far above any case, far below 2^53.


def format_yuan(amount: Fen) -> str:
    """Write `amount` as yuan with two decimals and thousands separators: 123456 → `1,234.56`."""
    sign = "-" if amount < 0 else ""
    yuan, fen = divmod(abs(amount), 100)
    return f"{sign}{yuan:,}.{fen:02d}"
