"""Documents: the same bytes for the same input, whole names, and never a box in place of a character."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from backend.documents import typeset as module
from backend.documents.fonts import missing_characters
from backend.documents.typeset import GlyphMissing, TemplateFaulty, qr_svg, typeset

AT = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)
RARE = "㐂𠮷䶮𫖮𬱖𠅤"
VALUES = {
    "number": "B7-00001", "code": "ABCDEFGH", "bank": f"{RARE}银行", "amount": "3,000.00", "amount_fen": "300000", "capitals": "叁仟元整",
    "instrument": "现金 Cash", "payer": "持卡人本人 The debtor", "taken_at": "2026-11-27 14:00", "collectors": ["E-1", "E-2"],
    "authority": "A-1", "address": "https://example.test/verify/receipt", "qr": qr_svg("https://example.test/verify/receipt"), "is_void": False,
}
PICTURES = frozenset({"qr"})


def test_the_same_input_gives_the_same_bytes_in_another_process() -> None:
    here = typeset("receipt.typ", VALUES, AT, is_picture=PICTURES)
    there = subprocess.run(
        [sys.executable, "-c", "import sys; from tests.unit.documents.test_typeset import *; "
         "sys.stdout.buffer.write(typeset('receipt.typ', VALUES, AT, is_picture=PICTURES))"], capture_output=True, check=True).stdout
    assert here.startswith(b"%PDF-")
    assert there == here
    assert typeset("receipt.typ", VALUES | {"is_void": True}, AT, is_picture=PICTURES) != here
    assert typeset("receipt.typ", VALUES | {"number": "B7-00002"}, AT, is_picture=PICTURES) != here


def test_the_font_has_the_characters_of_real_names_and_says_which_it_lacks() -> None:
    assert missing_characters(RARE + "王小明 ABC 壹佰元整·-,。\n") == ()
    assert missing_characters("a\u0378b\U0001f600a\u0378") == ("\u0378", "\U0001f600")


@pytest.mark.parametrize("place", ["bank", "collectors"])
def test_a_missing_glyph_is_an_error_wherever_it_stands(place: str) -> None:
    with pytest.raises(GlyphMissing) as raised:
        typeset("receipt.typ", VALUES | {place: ["王\u0378"] if place == "collectors" else "王\u0378"}, AT, is_picture=PICTURES)
    assert raised.value.characters == ("\u0378",)


def test_values_are_never_markup() -> None:
    quiet = typeset("receipt.typ", VALUES | {"bank": "#panic() *a* $x$ @b <c> [d] \\e"}, AT, is_picture=PICTURES)
    assert quiet.startswith(b"%PDF-")


def test_a_template_that_asks_for_what_is_not_there_is_an_error() -> None:
    with pytest.raises(TemplateFaulty):
        typeset("receipt.typ", {name: value for name, value in VALUES.items() if name != "capitals"}, AT, is_picture=PICTURES)


def test_the_document_embeds_our_font_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._fonts().families() == ["Noto Sans CJK SC"]
