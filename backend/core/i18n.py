"""Texts that people read, in English and zh-Hans.

The English text is the msgid; `N_` marks it for the catalogue and returns it unchanged, `translate` looks it up at the
edge where the reader's language is known. Kept answers never hold translated text.
"""

import gettext
from functools import cache
from importlib import resources
from typing import Literal, get_args

from babel import Locale

Language = Literal["zh-Hans", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
DEFAULT_LANGUAGE: Language = "zh-Hans"


def N_(message: str) -> str:  # noqa: N802 - the customary gettext marker
    """Mark `message` for the catalogues."""
    return message


@cache
def _catalogue(language: Language) -> gettext.NullTranslations:
    if language == "en":
        return gettext.NullTranslations()
    compiled = resources.files("backend.core").joinpath("locale", "zh_Hans", "LC_MESSAGES", "fieldvisit.mo")
    with compiled.open("rb") as stream:
        return gettext.GNUTranslations(stream)


def translate(message: str, language: Language) -> str:
    """Return `message` in `language`; English where the catalogue has none."""
    return _catalogue(language).gettext(message) if message else ""


def language_name(code: str, language: Language) -> str:
    """Return what a spoken language (ISO 639) is called in `language` (CLDR); an unknown code stays as it is."""
    locale = Locale("en") if language == "en" else Locale("zh", script="Hans")
    name: str = locale.languages.get(code, code)
    return name


def negotiate(accept_language: str) -> Language:
    """Choose the best language of an `Accept-Language` header (RFC 9110 §12.5.4); zh-Hans when nothing fits.

    A malformed part counts as absent. `zh` in any form is answered in zh-Hans.
    """
    best: tuple[float, Language] | None = None
    for part in accept_language.split(",")[:20]:
        tag, _, parameters = part.strip().partition(";")
        language: Language | None = "zh-Hans" if tag.lower().startswith("zh") else "en" if tag.lower().startswith("en") else None
        quality_text = parameters.strip().removeprefix("q=") or "1"
        try:
            quality = float(quality_text)
        except ValueError:
            continue
        if language and 0 < quality <= 1 and (best is None or quality > best[0]):
            best = (quality, language)
    return best[1] if best else DEFAULT_LANGUAGE
