"""Every text that a person reads exists in both languages, and what is compiled is what is written."""

import io
import re
import string

from babel.messages.mofile import write_mo

from backend.core.i18n import translate
from tests.support import messages


def test_every_message_is_in_the_catalogue_and_none_is_left_over() -> None:
    written = {str(message.id) for message in messages.catalogue() if message.id}
    said = set(messages.said())
    assert (sorted(said - written), sorted(written - said)) == ([], []), "run `make messages`"


def test_every_message_is_translated() -> None:
    assert [message.id for message in messages.catalogue() if message.id and not message.string] == []


def test_every_translation_is_chinese_and_keeps_what_must_not_change() -> None:
    kept = re.compile(r"[A-Z]+-\d+|\{[a-z_]+\}|https?://\S+|\b(?:ES256|P-256|RFC \d+|JSON|HEAD|tus|Tus-Resumable|Retry-After|Allow)\b")
    strange = [
        message.id for message in messages.catalogue() if message.id and message.string
        and not (re.search(r"[\u4e00-\u9fff]", str(message.string)) and set(kept.findall(str(message.id))) <= set(kept.findall(str(message.string))))
    ]
    assert strange == []


def test_no_translation_ends_as_its_message_does_not() -> None:
    # A full sentence stays one, and a label does not become one.
    other = [
        message.id for message in messages.catalogue() if message.id and message.string
        and str(message.id).endswith(".") != str(message.string).endswith("。")
    ]
    assert other == []


def test_no_translation_mixes_half_width_marks_into_chinese() -> None:
    marks = re.escape("".join(set(string.punctuation) & set(",;:!?")))
    mixed = re.compile(rf"[\u4e00-\u9fff][{marks}]|[{marks}][\u4e00-\u9fff]")
    assert [message.id for message in messages.catalogue() if mixed.search(str(message.string))] == []


def test_the_compiled_catalogue_is_the_written_one() -> None:
    compiled = io.BytesIO()
    write_mo(compiled, messages.catalogue())
    assert compiled.getvalue() == messages.COMPILED.read_bytes(), "run `make messages`"
    assert translate("Sign in first.", "zh-Hans") == "请先登录。"
    assert translate("Sign in first.", "en") == "Sign in first."
