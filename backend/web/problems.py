"""Refusals as RFC 9457 problem documents, in the reader's language; the only place where a `Problem` meets HTTP."""

from typing import Any
from urllib.parse import quote
from uuid import uuid4

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, SerializationException, ValidationException
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from backend.core.i18n import Language, negotiate, translate
from backend.core.problems import (
    PROBLEM_TYPES,
    Conflict,
    InProgress,
    InternalError,
    InvalidInput,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    Problem,
    StorageUnavailable,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    UnsupportedMediaType,
)
from backend.core.rulebook import RulesBreached
from evidence.errors import EvidenceError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
# Unique and foreign keys, as SQLite and as PostgreSQL name their violation.
_CONFLICTS = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_FOREIGNKEY", "23505", "23503"})
LOGGER = structlog.get_logger("fieldvisit")


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457: `type` is a stable path documented at that address; `details` and `breaches` are ours."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    details: dict[str, Any] = {}
    breaches: list[dict[str, str]] = []


def render(problem: Problem, language: Language, request_id: str) -> ProblemDocument:
    """Write `problem` for a reader of `language`."""
    special = PROBLEM_TYPES.get(problem.answered_code, type(problem))
    breaches = [
        {"rule": breach.rule.value, "code": breach.code, "expected": breach.expected, "got": breach.got} for breach in problem.breaches
    ] if isinstance(problem, RulesBreached) else []
    return ProblemDocument(
        type=f"/problems/{problem.answered_code}", title=translate(special.title, language), status=problem.answered_status,
        detail=translate(special.explanation, language), instance=f"urn:request:{request_id}",
        details={} if breaches else msgspec.to_builtins(problem.details), breaches=breaches,
    )


def respond(problem: Problem, request: Request[Any, Any, Any]) -> Response[bytes]:
    """Answer a request with a problem document."""
    language = negotiate(request.headers.get("accept-language", ""))
    document = render(problem, language, request_id(request))
    headers = {"Content-Language": language, "Cache-Control": "no-store"}
    if isinstance(problem, StorageUnavailable | TooManyRequests | InProgress):
        headers["Retry-After"] = str(problem.details.get("retry_after_s", RETRY_AFTER_S))
    if isinstance(problem, Unauthenticated):
        headers["WWW-Authenticate"] = 'DPoP algs="ES256"' if request.url.path.startswith("/mobile/") else 'Bearer realm="fieldvisit"'
    headers.update(problem.details.get("headers", {}))
    return Response(content=msgspec.json.encode(document), media_type=MEDIA_TYPE, status_code=document.status, headers=headers)


def request_id(request: Request[Any, Any, Any]) -> str:
    """Return this request's id, made at its first use."""
    state = request.scope.setdefault("state", {})
    if "request_id" not in state:
        state["request_id"] = uuid4().hex
    return str(state["request_id"])


def on_problem(request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    """Answer a `Problem`; a person who opens a page or sends a form of ours without a session is led to the login page."""
    is_page = request.url.path == "/console" or request.url.path.startswith("/console/")
    if isinstance(problem, Unauthenticated) and is_page:
        location = "/console/login" + (f"?next={quote(request.url.path, safe='/')}" if request.method == "GET" else "")
        return Response(content=b"", status_code=303, headers={"Location": location, "Cache-Control": "no-store"})
    return respond(problem, request)


def on_evidence_error(request: Request[Any, Any, Any], error: EvidenceError) -> Response[bytes]:
    """Answer a refusal of the evidence library under its own problem name."""
    return respond(from_evidence(error), request)


def from_evidence(error: EvidenceError) -> Problem:
    """Turn a refusal of the evidence library into the problem of the same name."""
    known = PROBLEM_TYPES.get(error.problem)
    assert known is not None, f"undocumented problem {error.problem}"
    return known(reason=error.reason, pointer=error.pointer)


def on_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what the framework refused before a handler ran."""
    return respond(_translated(error), request)


def on_storage_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a database that is away, locked too long or out of connections: nothing was acknowledged."""
    LOGGER.warning("storage unavailable", request_id=request_id(request), path=request.scope["path"], error=type(error).__name__)
    return respond(StorageUnavailable(), request)


def on_integrity_error(request: Request[Any, Any, Any], error: IntegrityError) -> Response[bytes]:
    """Answer what only the database could see: two at once made the same thing, or one named a thing that is not there. All else is a bug."""
    fault = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None)
    if fault not in _CONFLICTS:
        return on_bug(request, error)
    LOGGER.warning("refused by the database", request_id=request_id(request), path=request.scope["path"], fault=fault)
    return respond(Conflict(reason="it exists already, or names something that does not"), request)


def on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a fault of ours: its kind and place are logged under the request id, nothing is shown."""
    LOGGER.error("internal error", request_id=request_id(request), path=request.scope["path"], exc_info=error)
    return respond(InternalError(), request)


def _translated(error: HTTPException) -> Problem:
    match error:
        case MethodNotAllowedException():
            return MethodNotAllowed(headers=error.headers or {})
        case NotFoundException():
            return NotFound()
        case ValidationException():
            return InvalidInput(faults=[_fault(one) for one in (error.extra or [])][:20] or [{"message": "unreadable"}])
        case SerializationException():
            return MalformedRequest(reason="the body does not fit")
    match error.status_code:
        case 400:
            return MalformedRequest(reason=_bounded(error.detail))
        case 401:
            return Unauthenticated()
        case 413:
            return TooLarge(reason="the request body")
        case 415:
            return UnsupportedMediaType()
        case 429:
            return TooManyRequests()
        case status if status >= 500:
            return InternalError()
    return MalformedRequest(reason=_bounded(error.detail))


def _fault(extra: Any) -> dict[str, str]:
    if not isinstance(extra, dict):
        return {"message": _bounded(str(extra))}
    return {name: _bounded(str(extra[name])) for name in ("key", "source", "message") if name in extra}


def _bounded(text: str) -> str:
    return text[:300]


EXCEPTION_HANDLERS: dict[Any, Any] = {
    Problem: on_problem,
    EvidenceError: on_evidence_error,
    HTTPException: on_http_exception,
    IntegrityError: on_integrity_error,
    OperationalError: on_storage_error,
    PoolTimeoutError: on_storage_error,
    Exception: on_bug,
}
