"""Both services answer whatever comes as their OpenAPI documents say: no 5xx, codes of the catalogue only."""

import json
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from requests.auth import AuthBase
from schemathesis import checks

from fedanomaly.cli.explain import error_classes
from fedanomaly.coordinator.openapi import document
from fedanomaly.transport import RequestSigner
from tests.unit.coordinator.conftest import standing as coordinator

__all__ = ["coordinator"]

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
CODES = {kind.code for kind in error_classes()}
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
BOUNDED = settings(
    max_examples=20, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def read(name):
    """Return a document; nobody waits for news in a test."""
    text = (REFERENCE / name).read_text("utf-8")
    return schemathesis.openapi.from_dict(json.loads(text.replace('"maximum": 30.0', '"maximum": 0.01')))


NODE, COORDINATOR = read("openapi-node.json"), read("openapi-coordinator.json")


@schemathesis.serializer("application/msgpack", "application/vnd.apache.arrow.stream")
def as_bytes(_context, value):
    """Send whatever was made up, as it is."""
    return value if isinstance(value, bytes) else str(value).encode()


class Signed(AuthBase):
    """Signs a request as a member does."""

    def __init__(self, identity, federation):
        self._signer = RequestSigner(identity, federation)

    def __call__(self, request):
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        whole = httpx2.Request(request.method, request.url, content=body)
        self._signer.sign(whole)
        for name in ("content-digest", "signature-input", "signature"):
            request.headers[name] = whole.headers[name]
        return request


def assert_answers(case, url, **options):
    with suppress(UnicodeEncodeError):  # no header at all can be made of it
        answer = case.call(base_url=url, timeout=20, **options)
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code >= 400 and answer.content:
            assert json.loads(answer.content)["code"] in CODES - {"FA000"}
        return answer
    return None


@pytest.mark.parametrize("name", ["openapi-coordinator.json"])
def test_the_committed_document_is_that_of_the_code(name):
    assert (REFERENCE / name).read_text("utf-8") == document(), f"python -m fedanomaly.coordinator.openapi > {name}"


@NODE.parametrize()
@BOUNDED
def test_the_node_answers_its_owner(case, trained):
    assert_answers(case, trained.address, headers={"authorization": f"Bearer {trained.home.token}"})


@COORDINATOR.parametrize()
@BOUNDED
def test_the_coordinator_answers_a_member(case, coordinator):
    identity, _ = coordinator.member
    assert_answers(case, coordinator.url, auth=Signed(identity, coordinator.home.federation))


@COORDINATOR.parametrize()
@BOUNDED
def test_the_coordinator_answers_strangers(case, coordinator):
    head = coordinator.app.state.service.transcript.head

    answer = assert_answers(case, coordinator.url)

    if answer is not None and "security" in case.operation.definition.raw:
        assert answer.status_code in {401, 404, 405, 422}
    assert coordinator.app.state.service.transcript.head == head
