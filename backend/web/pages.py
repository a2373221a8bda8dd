"""Server-rendered pages in the reader's language: templates, and the page that documents each problem type."""

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Request, Response, get
from litestar.params import FromPath

from backend.core.i18n import LANGUAGES, N_, Language, negotiate, translate
from backend.core.problems import PROBLEM_TYPES, NotFound

LANGUAGE_COOKIE = "language"
_ALSO = N_("A signed statement of what has happened is never refused for this: it is kept, answered 2xx with a receipt, and judged. The finding:")
_ONLY = N_("No request is refused with this. It is found in signed statements, which are kept and answered 2xx with a receipt. The finding:")
ASSETS = Path(__file__).parent / "assets"


@cache
def _environment() -> Environment:
    loader = PackageLoader("backend.web", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def reader_language(request: Request[Any, Any, Any]) -> Language:
    """Return the language of `?lang=`, else of the cookie, else of `Accept-Language`; zh-Hans when nothing fits."""
    for asked in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        for language in LANGUAGES:
            if asked == language:
                return language
    return negotiate(request.headers.get("accept-language", ""))


def render_page(template: str, request: Request[Any, Any, Any], *, status_code: int = 200, **values: Any) -> Response[str]:
    """Render `backend/web/templates/<template>`; `_("…")` translates inside it."""
    language = reader_language(request)
    other: Language = "en" if language == "zh-Hans" else "zh-Hans"
    text = _environment().get_template(template).render(
        _=lambda message: translate(message, language), language=language, other_language=other, path=request.url.path,
        language_link=_in_language(request, other), **values,
    )
    headers = {"Content-Language": language, "Vary": "Accept-Language, Cookie"}
    return Response(text, media_type=MediaType.HTML, status_code=status_code, headers=headers)


def _in_language(request: Request[Any, Any, Any], language: Language) -> str:
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    return f"{request.url.path}?{urlencode([*kept, ('lang', language)])}"


@get("/problems", operation_id="listProblems", sync_to_thread=False, tags=["documents"], media_type=MediaType.HTML)
def list_problems(request: Request[Any, Any, Any]) -> Response[str]:
    """List every problem type."""
    kinds = [PROBLEM_TYPES[code] for code in sorted(PROBLEM_TYPES)]
    return render_page("problems.html", request, kinds=kinds)


@get("/problems/{code:str}", operation_id="showProblem", sync_to_thread=False, tags=["documents"], media_type=MediaType.HTML)
def show_problem(code: FromPath[str], request: Request[Any, Any, Any]) -> Response[str]:
    """Document one problem type in zh-Hans and English."""
    kind = PROBLEM_TYPES.get(code)
    if kind is None:
        raise NotFound
    told = "" if not kind.finding else _ALSO if kind.is_refusal else _ONLY
    both = [(language, *(text and translate(text, language) for text in (kind.title, kind.explanation, told))) for language in LANGUAGES]
    return render_page("problem.html", request, kind=kind, both=both)


ROUTES: list[Any] = [list_problems, show_problem]
