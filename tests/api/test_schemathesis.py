"""Both documents against the running application: whatever schemathesis makes up, no answer is a fault of ours.

Everybody who speaks is signed in; what a request writes is taken back after it.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.openapi import from_dict

from tests.api.test_bad_input import ROWS, check, somebody, things_of
from tests.support.access import CONSOLE, PHONES
from tests.support.phones import phone_headers
from tests.support.whole import Route, Whole
from tests.support.world import Person

EXAMPLES = 20
DOCUMENTS = {**dict.fromkeys(CONSOLE, "/schema/openapi.json"), **dict.fromkeys(PHONES, "/mobile/schema/openapi.json")}
_HOP_BY_HOP = {"host", "content-length", "transfer-encoding", "connection"}
pytestmark = pytest.mark.slow


def speakers(whole: Whole, route: Route) -> list[Person]:
    """Return who asks: for a phone's route bilal, else whoever may, and a supervisor, an operator and a bank's liaison besides."""
    if route.is_phone:
        return [whole.made.bilal]
    chosen = somebody(whole, route, ROWS[route.operation_id])
    return list(dict.fromkeys([*([chosen] if chosen else []), whole.made.amina, whole.made.oscar, whole.made.lin]))


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation_id", sorted(DOCUMENTS))
def test_nothing_made_up_from_the_documents_is_a_fault(whole: Whole, operation_id: str, mode: GenerationMode) -> None:
    document = whole.client.get(DOCUMENTS[operation_id]).json()
    route = next(one for one in whole.routes if one.operation_id == operation_id)
    found = from_dict(document).find_operation_by_id(operation_id)
    people, things = speakers(whole, route), things_of(whole, ROWS[operation_id])

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=found.as_strategy(generation_mode=mode), person=st.sampled_from(people), data=st.data())
    def ask(case: Any, person: Person, data: st.DataObject) -> None:
        for name, value in (case.path_parameters or {}).items():
            # A made-up id finds nothing: half of the time it is the id of something that exists.
            case.path_parameters[name] = data.draw(st.sampled_from([value, things.get(name, value)]))
        request = case.as_transport_kwargs(base_url="http://127.0.0.1:8000")
        headers = {name: value for name, value in request["headers"].items() if name.lower() not in _HOP_BY_HOP}
        path = "/" + request["url"].split("/", 3)[3]
        if route.is_phone:
            headers |= phone_headers(whole.keyring, person, route.method, path.partition("?")[0], whole.clock.now)
        else:
            headers |= whole.headers(person, route)
        sent = {name: request[name] for name in ("params", "json", "data", "cookies") if request.get(name)}
        if isinstance(sent.get("data"), bytes):
            sent["content"] = sent.pop("data")
        check(whole.send(route.method, path, headers=headers, **sent), (person.name, path, sent))

    ask()
