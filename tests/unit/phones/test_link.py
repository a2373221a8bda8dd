"""Which refusals a phone believes for good: what it gives up is lost, so only what can never succeed by itself."""

import pytest

from mobile_api.phone_link import Refused


@pytest.mark.parametrize(("status", "name", "is_final"), [
    (409, "in-progress", False), (429, "too-many-requests", False), (423, "upload-locked", False), (503, "storage-unavailable", False),
    (409, "rules-breached", True), (409, "idempotency-conflict", True), (404, "not-found", True),
])
def test_only_a_refusal_that_stays_one_ends_a_phones_tries(status: int, name: str, is_final: bool) -> None:
    refused = Refused(status, {"type": f"/problems/{name}", "title": "t"})
    assert (refused.name, refused.is_final) == (name, is_final)
