"""The two OpenAPI 3.1 documents: one for the console and banks, one for phones, made from the routes themselves."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from litestar import Litestar, Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Server
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from backend.core.problems import PROBLEM_TYPES
from backend.web.app import Resources, dependencies
from backend.web.body import CONTENT_TYPES
from backend.web.examples import example_of
from backend.web.problems import MEDIA_TYPE

RouterMaker = Callable[[], Sequence[ControllerRouterHandler]]
_REFUSALS = "4XX"
_FAULTS = "5XX"
PIECE_TYPE = "application/offset+octet-stream"


def package_version() -> str:
    """Return the installed version, `0` when the package runs from bare files."""
    try:
        return version("fieldvisit")
    except PackageNotFoundError:
        return "0"


def document(title: str, make_routers: RouterMaker, resources: Resources) -> dict[str, Any]:
    """Make the OpenAPI 3.1 document of some routers, with every problem type on every operation."""
    config = OpenAPIConfig(
        title=title, version=package_version(), use_handler_docstrings=True, servers=[Server(url=resources.settings.public_url)],
    )
    app = Litestar(route_handlers=list(make_routers()), dependencies=dependencies(resources), openapi_config=config, logging_config=None)
    schema = app.openapi_schema.to_schema()
    schema.setdefault("components", {}).setdefault("schemas", {})["Problem"] = _problem_schema()
    schema["components"]["securitySchemes"] = _SECURITY
    handlers = {handler.operation_id: handler for one in app.routes if isinstance(one, HTTPRoute) for handler in one.route_handlers}
    for path, operations in schema.get("paths", {}).items():
        for operation in operations.values():
            if isinstance(operation, dict) and operation.get("operationId") in handlers:
                _finish(path, operation, handlers[operation["operationId"]], schema["components"]["schemas"])
    # The framework's own documents serve themselves at these paths in its own application only.
    schema["paths"] = {path: operations for path, operations in schema["paths"].items() if not path.startswith("/schema")}
    return schema


def route(path: str, operation_id: str, title: str, make_routers: RouterMaker) -> HTTPRouteHandler:
    """Make the handler that serves a document; it is made once, at the first request."""

    @cache
    def made(resources: Resources) -> bytes:
        import msgspec

        return msgspec.json.encode(document(title, make_routers, resources))

    @get(path, operation_id=operation_id, sync_to_thread=True, include_in_schema=False)
    def serve(resources: NamedDependency[Resources]) -> Response[bytes]:
        return Response(made(resources), media_type="application/vnd.oai.openapi+json")

    return serve


_SECURITY = {
    "dpop": {"type": "http", "scheme": "DPoP", "description": "A 15-minute token bound to the device key (RFC 9449), with a fresh proof each time."},
    "session": {"type": "http", "scheme": "bearer", "description": "A console session."},
    "upload": {"type": "http", "scheme": "bearer", "description": "An upload token for one evidence item."},
}


def _finish(path: str, operation: dict[str, Any], handler: HTTPRouteHandler, components: dict[str, Any]) -> None:
    problem = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    operation["responses"] = {status: answer for status, answer in operation["responses"].items() if not str(status).startswith(("4", "5"))}
    operation["responses"][_REFUSALS] = {"description": "Refused: a problem document (RFC 9457).", **problem}
    operation["responses"][_FAULTS] = {"description": "Not acknowledged: keep the content and try again.", **problem}
    if "actor" in handler.resolve_dependencies():
        operation["security"] = [{"dpop": []}] if path.startswith("/mobile/") else [{"session": []}]
    elif path.startswith("/mobile/v1/uploads") and "OPTIONS" not in handler.http_methods:
        operation["security"] = [{"upload": []}]
    if "requestBody" not in operation and CONTENT_TYPES in handler.opt:
        _add_raw_body(operation, handler)
    for body in operation.get("requestBody", {}).get("content", {}).values():
        body.setdefault("example", example_of(body["schema"], components))


def _add_raw_body(operation: dict[str, Any], handler: HTTPRouteHandler) -> None:
    """Document a body that the handler reads as it is: a file, an envelope, a piece."""
    named = sorted(handler.opt[CONTENT_TYPES] - {"*"}) or ([PIECE_TYPE] if "PATCH" in handler.http_methods else [])
    schemas = {one: {"type": "object"} if one.endswith("json") else {"type": "string", "format": "binary"} for one in named}
    if schemas:
        operation["requestBody"] = {"required": True, "content": {one: {"schema": schema} for one, schema in schemas.items()}}


def _problem_schema() -> dict[str, Any]:
    types = sorted(f"/problems/{code}" for code in PROBLEM_TYPES)
    texts = {name: {"type": "string"} for name in ("rule", "code", "expected", "got")}
    breach = {"type": "object", "required": ["rule", "code"], "properties": texts}
    return {
        "type": "object", "required": ["type", "title", "status", "detail", "instance"],
        "properties": {
            "type": {"type": "string", "enum": types}, "title": {"type": "string"}, "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": {"type": "string"}, "instance": {"type": "string"}, "details": {"type": "object"},
            "breaches": {"type": "array", "items": breach},
        },
        "examples": [{
            "type": "/problems/rules-breached", "title": "This would break the rules.", "status": 409,
            "detail": "Each breach names its rule, what was expected and what was got.", "instance": "urn:request:0f0e0d0c0b0a09080706050403020100",
            "breaches": [{"rule": "VIS-01", "code": "one-visitor", "expected": "2 employees", "got": "1"}],
        }],
    }
