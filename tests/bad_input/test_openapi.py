"""All services answer whatever comes as their OpenAPI documents say: no 5xx, codes of the catalogue only."""

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
from fedanomaly.coordinator import openapi as of_coordinator
from fedanomaly.scoring import openapi as of_scoring
from fedanomaly.transport import RequestSigner
from tests.signing import sign
from tests.unit.coordinator.conftest import standing as coordinator
from tests.unit.scoring.conftest import FEDERATION, MODEL
from tests.unit.scoring.conftest import standing as scoring

__all__ = ["coordinator", "scoring"]

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
SCORING = read("openapi-scoring.json")


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
        sign(self._signer, whole)
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


@pytest.mark.parametrize("module", [of_coordinator, of_scoring], ids=lambda module: module.__name__)
def test_the_committed_document_is_that_of_the_code(module):
    name = f"openapi-{module.__name__.split('.')[1]}.json"
    assert (REFERENCE / name).read_text("utf-8") == module.document(), f"python -m {module.__name__} > {name}"


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


def described():
    """Return method and path of every route in the scoring service's document."""
    paths = json.loads((REFERENCE / "openapi-scoring.json").read_text("utf-8"))["paths"]
    return {(method.upper(), path) for path, operations in paths.items() for method in operations}


def test_every_route_of_the_scoring_service_is_described(scoring):
    paths = scoring.app.openapi()["paths"]
    assert {(method.upper(), path) for path, operations in paths.items() for method in operations} <= described()


@pytest.mark.parametrize(("method", "path"), sorted(described()))
def test_every_described_route_is_one_of_the_scoring_service(scoring, method, path):
    request = scoring.signed(method, path.replace("{digest}", MODEL.digest.hex()))

    answer = scoring.ask(request)

    assert answer.status_code != 405
    assert "no such route" not in answer.text


@pytest.mark.parametrize("known", [True, False])
@SCORING.parametrize()
@BOUNDED
def test_the_scoring_service_answers_a_tenant(case, scoring, known):
    if known and case.path_parameters:
        case.path_parameters = {"digest": MODEL.digest.hex()}
    assert_answers(case, scoring.url, auth=Signed(scoring.north, FEDERATION))


@SCORING.parametrize()
@BOUNDED
def test_the_scoring_service_answers_strangers(case, scoring):
    answer = assert_answers(case, scoring.url)

    if answer is not None and "security" in case.operation.definition.raw:
        assert answer.status_code in {401, 404, 405, 422}
    assert scoring.held.uploads.count == 0
