"""A command's refusals: one clear line on standard error and exit 1, never a traceback for what an operator can mend."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError

from backend.audit.stamps import AuthorityUnavailable, StampRefused
from backend.core.i18n import negotiate, translate
from backend.core.problems import PROBLEM_TYPES, Problem
from backend.core.rulebook import RulesBreached
from backend.core.settings import SettingsError
from backend.keys.model import KeyFolderError, KeyUnknown


@contextmanager
def told() -> Iterator[None]:
    """Run a command and tell its refusal."""
    from backend.cli.revision import WrongRevision
    from backend.cli.serve import AlreadyServed

    try:
        yield
    except Problem as problem:
        _say(_text(problem))
    except (AuthorityUnavailable, StampRefused) as error:
        _say(f"not time-stamped: {error}")
    except (SettingsError, KeyFolderError, KeyUnknown, WrongRevision, AlreadyServed, FileNotFoundError, PermissionError) as error:
        _say(str(error))
    except OperationalError as error:
        _say(f"the database does not answer ({type(error.orig).__name__}); see `fieldvisit doctor`")


def _say(text: str) -> None:
    print(text, file=sys.stderr)
    raise SystemExit(1)


def _text(problem: Problem) -> str:
    kind = PROBLEM_TYPES.get(problem.answered_code, type(problem))
    language = negotiate("en")
    if isinstance(problem, RulesBreached):
        broken = "; ".join(f"{one.rule.value} {one.code} (expected {one.expected or '-'}, got {one.got or '-'})" for one in problem.breaches)
        return f"{translate(kind.title, language)} {broken}"
    details = ", ".join(f"{name}={value}" for name, value in problem.details.items())
    return f"{translate(kind.title, language)} [{problem.answered_code}{': ' + details if details else ''}]"
