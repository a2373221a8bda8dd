"""What every request must be before a handler sees it: a bounded address, the declared kind of content, strict JSON."""

import json
from typing import Any, NoReturn

import msgspec
from litestar import Request

from backend.core.problems import InvalidInput, MalformedRequest, NotFound, UnsupportedMediaType

JSON_DEPTH_MAX = 64
INTEGER_DIGITS_MAX = 16
ADDRESS_TEXT_MAX = 400                 # Characters of one path or query value: no id, name or cursor of ours is longer.
CONTENT_TYPES = "content_types"        # Key of a route's `opt`: the content types it reads instead of JSON.


class Body(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Base of every wire body: camelCase names, unknown fields refused."""


class View(msgspec.Struct, rename="camel", frozen=True):
    """Base of every answer: camelCase names."""


async def check_request(request: Request[Any, Any, Any]) -> None:
    """Refuse unsound texts in the address, a body of the wrong content type, or JSON that is not strict. Runs before every handler.

    Raises:
        NotFound: a text in the path can name nothing of ours.
        InvalidInput: a query value is too long or holds control characters.
        UnsupportedMediaType: the content type is not one that the route reads.
        MalformedRequest: not UTF-8, not JSON, duplicate keys, NUL characters, numbers beyond 53 bits, too deep.
    """
    check_address(request)
    if request.method not in ("POST", "PUT", "PATCH", "DELETE"):
        return
    accepted = request.route_handler.opt.get(CONTENT_TYPES)
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if accepted is not None:
        if "*" not in accepted and sent not in accepted:
            raise UnsupportedMediaType(expected=sorted(accepted), got=sent[:100])
        return
    raw = await request.body()
    if not raw:
        return
    if sent != "application/json":
        raise UnsupportedMediaType(expected=["application/json"], got=sent[:100])
    strict_json(raw)


def check_address(request: Request[Any, Any, Any]) -> None:
    """Check the texts of path and query: the framework reads no bounds there, and a database may refuse what they hold.

    Raises:
        NotFound: for the path.
        InvalidInput: for the query.
    """
    if not all(_is_sound(str(value)) for value in request.path_params.values()):
        raise NotFound
    for name, values in request.query_params.dict().items():
        if not _is_sound(name) or not all(_is_sound(str(value)) for value in values):
            raise InvalidInput(pointer="/query", expected=f"at most {ADDRESS_TEXT_MAX} characters without controls", got="other values")


def strict_json(raw: bytes) -> Any:
    """Parse JSON as every sound reader would, or refuse.

    Raises:
        MalformedRequest: with the reason.
    """
    try:
        text = raw.decode("utf-8")
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_int=_integer, parse_float=_number)
    except MalformedRequest:
        raise
    except UnicodeDecodeError:
        raise MalformedRequest(reason="the body is not UTF-8") from None
    except RecursionError:
        raise MalformedRequest(reason="nested too deeply") from None
    except ValueError as error:
        raise MalformedRequest(reason=f"not JSON: {str(error)[:120]}") from None
    _check_texts(document, JSON_DEPTH_MAX)
    return document


def _is_sound(text: str) -> bool:
    return len(text) <= ADDRESS_TEXT_MAX and not any(c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c <= "\udfff" for c in text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedRequest(reason="an object names a member twice")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedRequest(reason=f"{name} is not a JSON number")


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > INTEGER_DIGITS_MAX or abs(int(text)) > 2**53 - 1:
        raise MalformedRequest(reason="a number lies beyond 53 bits")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise MalformedRequest(reason="a number is not finite")
    return number


def _check_texts(value: Any, depth: int) -> None:
    if depth < 0:
        raise MalformedRequest(reason="nested too deeply")
    if isinstance(value, str):
        if "\0" in value:
            raise MalformedRequest(reason="a text holds a NUL character")
        if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
            raise MalformedRequest(reason="a text holds half of a surrogate pair")
    elif isinstance(value, list):
        for one in value:
            _check_texts(one, depth - 1)
    elif isinstance(value, dict):
        for name, one in value.items():
            _check_texts(name, depth - 1)
            _check_texts(one, depth - 1)
