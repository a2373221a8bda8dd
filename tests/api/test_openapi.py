"""Both OpenAPI documents: valid 3.1, whole, truthful about who may come in, with an example for every body."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator

from backend.core.problems import PROBLEM_TYPES
from backend.web.examples import example_of
from tests.support.access import CONSOLE, OPEN, PHONES, UPLOADS
from tests.support.whole import Whole

DOCUMENTS = {"console": "/schema/openapi.json", "phones": "/mobile/schema/openapi.json"}
METHODS = {"get", "put", "post", "delete", "options", "head", "patch"}
UNDOCUMENTED = {"consoleSchema", "phonesSchema"}


def document(whole: Whole, name: str) -> dict[str, Any]:
    """Return one document as it is served."""
    answer = whole.client.get(DOCUMENTS[name])
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json"
    found: dict[str, Any] = answer.json()
    return found


def operations(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the operations of a document by id."""
    listed = [one for path in found["paths"].values() for method, one in path.items() if method in METHODS]
    assert len({one["operationId"] for one in listed}) == len(listed), "an operation id twice"
    return {one["operationId"]: one for one in listed}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_valid_openapi_3_1(whole: Whole, name: str) -> None:
    found = document(whole, name)
    assert found["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(found).iter_errors()] == []


def test_every_route_is_in_exactly_one_document(whole: Whole) -> None:
    console, phones = (set(operations(document(whole, name))) for name in DOCUMENTS)
    assert console & phones == set()
    assert console | phones == {route.operation_id for route in whole.routes} - UNDOCUMENTED


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_problem_type_is_listed_and_every_operation_names_it(whole: Whole, name: str) -> None:
    found = document(whole, name)
    assert set(found["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]) == {f"/problems/{code}" for code in PROBLEM_TYPES}
    for operation_id, operation in operations(found).items():
        refused = operation["responses"]["4XX"]["content"]["application/problem+json"]["schema"]
        assert refused == {"$ref": "#/components/schemas/Problem"}, operation_id


def test_open_routes_ask_for_nothing_and_all_others_for_the_right_token(whole: Whole) -> None:
    asked = {**operations(document(whole, "console")), **operations(document(whole, "phones"))}
    said = {name: "".join(scheme for one in operation.get("security", []) for scheme in one) for name, operation in asked.items()}
    expected = {
        **dict.fromkeys(OPEN - UNDOCUMENTED, ""), **dict.fromkeys(CONSOLE, "session"), **dict.fromkeys(PHONES, "dpop"),
        **dict.fromkeys(UPLOADS, "upload"),
    }
    assert said == expected
    for name in DOCUMENTS:
        assert {"session", "dpop", "upload"} <= set(document(whole, name)["components"]["securitySchemes"])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_body_has_an_example_that_follows_its_schema(whole: Whole, name: str) -> None:
    found = document(whole, name)
    for operation_id, operation in operations(found).items():
        for content_type, body in operation.get("requestBody", {}).get("content", {}).items():
            assert "example" in body, (operation_id, content_type)
            schema = {**body["schema"], "components": found["components"]}
            assert [error.message for error in Draft202012Validator(schema).iter_errors(body["example"])] == [], (operation_id, body["example"])


def test_whatever_reads_a_body_documents_one(whole: Whole) -> None:
    asked = {**operations(document(whole, "console")), **operations(document(whole, "phones"))}
    silent = {
        route.operation_id for route in whole.routes
        if route.handler.opt.get("content_types") and "requestBody" not in asked[route.operation_id]
    }
    assert silent == {"createUpload", "terminateUpload"}, "these two read headers alone"


def test_an_example_that_fits_nowhere_is_noticed() -> None:
    odd = {"type": "string", "pattern": "^[!]{3}$"}
    assert [error.message for error in Draft202012Validator(odd).iter_errors(example_of(odd, {}))] != []
    bounded = {"type": "object", "required": ["a"], "properties": {"a": {"type": ["integer", "null"], "minimum": 7}}}
    assert example_of(bounded, {}) == {"a": 7}
