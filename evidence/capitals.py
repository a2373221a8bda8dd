"""Amounts in Chinese financial capitals, as a receipt must show them beside the digits (CASH-05).

One spelling per amount: 整 after yuan and after jiao, none after fen; 零 wherever digits are skipped.
"""

import re
from typing import Final

_DIGITS: Final = "零壹贰叁肆伍陆柒捌玖"
_UNITS: Final = ("", "拾", "佰", "仟")
_GROUPS: Final = ("", "万", "亿")
FEN_MAX: Final = 10**14 - 1                  # Below one 万亿 yuan.
_SPELLING: Final = re.compile(r"(?:(?P<yuan>[^元角分整]+)元)?零?(?:(?P<jiao>[壹贰叁肆伍陆柒捌玖])角)?(?:(?P<fen>[壹贰叁肆伍陆柒捌玖])分)?整?")


def to_capitals(amount_fen: int) -> str:
    """Spell a positive amount.

    Raises:
        ValueError: not in 1 … 10^14 - 1 fen.
    """
    if not 1 <= amount_fen <= FEN_MAX:
        raise ValueError(f"{amount_fen} fen cannot be spelled")
    yuan, jiao, fen = amount_fen // 100, amount_fen // 10 % 10, amount_fen % 10
    spelled = f"{_whole(yuan)}元" if yuan else ""
    if jiao:
        spelled += f"{_DIGITS[jiao]}角"
    elif fen and yuan:
        spelled += _DIGITS[0]
    return spelled + (f"{_DIGITS[fen]}分" if fen else "整")


def from_capitals(text: str) -> int:
    """Read an amount in its one spelling.

    Raises:
        ValueError: it is not the spelling of any amount.
    """
    match = _SPELLING.fullmatch(text)
    if match is None:
        raise ValueError(f"not an amount in capitals: {text!r}")
    amount_fen = _number(match["yuan"] or "") * 100
    amount_fen += 10 * max(0, _DIGITS.find(match["jiao"] or "?")) + max(0, _DIGITS.find(match["fen"] or "?"))
    if amount_fen == 0 or to_capitals(amount_fen) != text:
        raise ValueError(f"not the spelling of an amount: {text!r}")
    return amount_fen


def _whole(yuan: int) -> str:
    """Spell whole yuan by groups of four digits, one 零 for each run of skipped digits."""
    spelled, is_gap = "", False
    for place in range(11, -1, -1):
        digit = yuan // 10**place % 10
        if digit:
            spelled += (_DIGITS[0] if is_gap and spelled else "") + _DIGITS[digit] + _UNITS[place % 4]
            is_gap = False
        else:
            is_gap = True
        if place % 4 == 0 and place and yuan // 10**place % 10_000:
            spelled += _GROUPS[place // 4]
    return spelled


def _number(text: str) -> int:
    total = group = digit = 0
    for character in text:
        if character in _DIGITS:
            digit = _DIGITS.index(character)
        elif character in _UNITS[1:]:
            group, digit = group + digit * 10 ** _UNITS.index(character), 0
        elif character in _GROUPS[1:]:
            total, group, digit = total + (group + digit) * 10_000 ** _GROUPS.index(character), 0, 0
        else:
            raise ValueError(f"no numeral: {character!r}")
    return total + group + digit
