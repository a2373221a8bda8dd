"""Refusals: requests understood and declined, one class per documented problem type (RFC 9457).

Raised anywhere, rendered only by `backend.web.problems`. Titles and explanations are msgids of the catalogues.
"""

from typing import Any, ClassVar

from backend.core.i18n import N_

PROBLEM_TYPES: dict[str, type["Problem"]] = {}


class Problem(Exception):
    """A refusal. `code` is the stable name in `/problems/<code>`; `explanation` tells its reader what to do.

    A request is refused, a signed statement of what has happened never is (F23): `finding` is the name under which the same condition is told
    beside a kept statement. With `is_refusal` False there is only the finding.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = ""
    title: ClassVar[str] = ""
    explanation: ClassVar[str] = ""
    finding: ClassVar[str] = ""
    is_refusal: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.code:
            known = PROBLEM_TYPES.get(cls.code)
            assert known is None or (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__), f"two problems named {cls.code}"
            assert 400 <= cls.status <= 599, cls
            assert cls.title, cls
            assert cls.is_refusal or cls.finding, cls
            PROBLEM_TYPES[cls.code] = cls

    def __init__(self, **details: Any) -> None:
        assert self.is_refusal, f"{self.code} is a finding, never a refusal"
        super().__init__(self.code)
        self.details = details

    @property
    def answered_status(self) -> int:
        """The HTTP status of this refusal."""
        return self.status

    @property
    def answered_code(self) -> str:
        """The problem type this refusal is answered under."""
        return self.code


class NotFound(Problem):
    """There is no such thing, or it is not yours to see: both look the same."""

    status, code, title = 404, "not-found", N_("There is no such thing here, or it is not yours to see.")
    explanation = N_("Check the address. What belongs to another bank or branch is answered in the same way.")


class Unauthenticated(Problem):
    """The caller has not proven who they are."""

    status, code, title = 401, "unauthenticated", N_("Sign in first.")
    explanation = N_("The session or token is missing, expired, revoked or does not match the key that it was issued to.")


class Forbidden(Problem):
    """A known actor's role never allows this."""

    status, code, title = 403, "forbidden", N_("Your role does not allow this.")
    explanation = N_("The refusal has been recorded. A supervisor or the operator can tell who may do it.")


class MalformedRequest(Problem):
    """The bytes are not what the route reads."""

    status, code, title = 400, "malformed-request", N_("The request cannot be read.")
    explanation = N_("Send well-formed JSON without duplicate keys, NUL characters or numbers outside 53 bits.")


class InvalidInput(Problem):
    """Well-formed, but a value is outside what the route accepts."""

    status, code, title = 422, "invalid-input", N_("A value is missing or outside its bounds.")
    explanation = N_("The details name the place as a JSON pointer, what was expected and what was got.")


class MethodNotAllowed(Problem):
    """The address exists, the method does not."""

    status, code, title = 405, "method-not-allowed", N_("This address does not answer that method.")
    explanation = N_("See the Allow header for the methods it answers.")


class UnsupportedMediaType(Problem):
    """The content type is not one the route reads."""

    status, code, title = 415, "unsupported-media-type", N_("This kind of content is not accepted here.")
    explanation = N_("The details name the kinds that are.")


class TooLarge(Problem):
    """The body is larger than the route's limit."""

    status, code, title = 413, "too-large", N_("The content is larger than the limit.")
    explanation = N_("The details name the limit in bytes. Media are uploaded in pieces instead.")


class TooManyRequests(Problem):
    """Too many attempts in too short a time."""

    status, code, title = 429, "too-many-requests", N_("Too many attempts. Wait and try again.")
    explanation = N_("The Retry-After header tells how many seconds to wait.")


class Conflict(Problem):
    """The state of the thing does not allow it now."""

    status, code, title = 409, "conflict", N_("The present state does not allow this.")
    explanation = N_("Read the thing again and decide anew.")


class IllegalTransition(Problem):
    """No transition leads from the current status by that event."""

    status, code, title = 409, "illegal-transition", N_("This step cannot follow the present status.")
    explanation = N_("The details name the present status and the step that was asked for.")


class IdempotencyConflict(Problem):
    """The same id arrived with another body."""

    status, code, title = 409, "idempotency-conflict", N_("This id was already used for other content.")
    explanation = N_("Re-send the stored content unchanged, or make a new id for new content.")


class InProgress(Problem):
    """The first request with this id has no answer yet."""

    status, code, title = 409, "in-progress", N_("The first request with this id is still being handled.")
    explanation = N_("Keep what you sent, wait for the seconds of the Retry-After header and send the same again: it gets the first one's answer.")


class StorageUnavailable(Problem):
    """Disk full or database away: nothing was acknowledged."""

    status, code, title = 503, "storage-unavailable", N_("The content cannot be stored right now. Nothing was lost; try again.")
    explanation = N_("Keep the content and try again after the time in the Retry-After header.")


class InternalError(Problem):
    """A fault of ours: logged whole, shown bare."""

    status, code, title = 500, "internal-error", N_("The server made a mistake. Nothing was acknowledged.")
    explanation = N_("Keep the content and try again. The operator finds the fault under the request id.")
