"""The OpenAPI document against the application that it describes.

schemathesis draws requests from the document, valid and not, and every answer must be one that the document promises.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from axes.models import AccessFailureLog
from django.core.cache import cache
from django.core.management import call_command
from django.test import RequestFactory
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode

from accounts import tokens
from accounts.models import User
from bambisleep import pages
from bambisleep.tests.client import Answer, AsgiClient
from observability.delivery import deployments, incidents
from observability.delivery import tokens as deploy_tokens

pytestmark = pytest.mark.django_db

CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
OPERATIONS = (
    ("/alerts", "POST"),
    ("/auth/login", "POST"),
    ("/auth/logout", "POST"),
    ("/auth/logout/all", "POST"),
    ("/auth/me", "GET"),
    ("/auth/password", "PUT"),
    ("/auth/refresh", "POST"),
    ("/auth/register", "POST"),
    ("/dora", "GET"),
    ("/dora/deployments", "GET"),
    ("/dora/deployments", "POST"),
    ("/dora/deployments/{id}", "GET"),
    ("/dora/deployments/{id}", "PATCH"),
    ("/dora/incidents", "GET"),
    ("/dora/incidents", "POST"),
    ("/dora/incidents/{id}", "GET"),
    ("/dora/incidents/{id}", "PATCH"),
    ("/watch/beacons/", "POST"),
)
BOUNDED = settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def schema() -> Any:
    """The document, as schemathesis reads it."""
    return schemathesis.openapi.from_dict(SchemaGenerator().get_schema(public=True))


def test_many_may_ask_for_it_at_once_of_a_process_that_has_just_started() -> None:
    pages._description.cache_clear()

    def ask(_: int) -> int:
        return int(pages.ApiSchema.as_view()(RequestFactory().get("/api/schema")).render().status_code)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == [200] * 8


def test_it_is_valid_and_complete() -> None:
    warnings = StringIO()

    call_command("spectacular", validate=True, fail_on_warn=True, stdout=StringIO(), stderr=warnings)

    assert warnings.getvalue() == ""


def test_it_names_every_operation(asgi: AsgiClient) -> None:
    answer = asgi.get("/api/schema", headers={"Accept": "application/vnd.oai.openapi+json"})

    assert answer.status == 200
    named = {(path, method.upper()) for path, methods in answer.json["paths"].items() for method in methods}
    assert named == set(OPERATIONS)


def test_every_operation_names_its_problems(schema: Any) -> None:
    for path, methods in schema.raw_schema["paths"].items():
        for method, operation in methods.items():
            problems = {status for status in operation["responses"] if status >= "400"}
            assert problems >= {"400", "401", "403", "405", "406", "413", "415", "503"}, (method, path)
            for status in problems:
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"]


def test_who_says_of_an_incident_that_it_ended_at_another_time_is_answered_as_promised(
    asgi: AsgiClient, schema: Any
) -> None:
    began = datetime(2026, 3, 2, 12, tzinfo=UTC)
    incident = incidents.open_incident(service="web", environment="production", title="Slow pages", started_at=began)
    headers = {"Authorization": f"Bearer {deploy_tokens.issue(name='ci', scopes=['incidents:write'])[1]}"}
    path = f"/dora/incidents/{incident.pk}"
    ends = [{"resolved_at": (began + timedelta(hours=hours)).isoformat()} for hours in (1, 2)]

    told = [asgi.request("PATCH", path, json=end, headers=headers) for end in ends]

    assert [answer.status for answer in told] == [200, 409]
    promised = schema.raw_schema["paths"]["/dora/incidents/{id}"]["patch"]["responses"]["409"]
    assert list(promised["content"]) == [told[1].headers["content-type"]]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_one_that_it_promises(
    asgi: AsgiClient, schema: Any, member: User, path: str, method: str, mode: GenerationMode
) -> None:
    load_all_checks()
    checks = CHECKS.get_by_names(CHECKED)
    operation = schema[path][method]
    deploy_token = deploy_tokens.issue(
        name="ci", scopes=["deployments:write", "incidents:write", "alerts:write", "read"]
    )[1]
    answered = []

    @BOUNDED
    @given(case=operation.as_strategy(generation_mode=mode))
    def hold(case: Any) -> None:
        sent = requests.Request(**_arguments(case)).prepare()
        secured = {name for way in operation.definition.raw.get("security", []) for name in way}
        # A pair of its own for each: some operations end it.
        access = tokens.issue(member).access if "bearer" in secured and path.startswith("/auth/") else None
        answer = _send(asgi, sent, access or (deploy_token if secured else None))
        answered.append(answer.status)
        case.validate_response(_response(answer, sent), checks=checks)

    hold()

    assert answered


def test_what_its_links_lead_to_answers_as_promised(asgi: AsgiClient, schema: Any, member: User) -> None:
    """Accounts and records made by one operation are what the next one is asked about."""
    load_all_checks()
    checks = CHECKS.get_by_names(CHECKED)
    deploy_token = deploy_tokens.issue(name="ci", scopes=["deployments:write", "incidents:write", "read"])[1]
    deployment = deployments.record(service="web", environment="production", version="1").deployment
    incidents.open_incident(service="web", environment="production", title="Slow pages", deployment=deployment)
    numbers = count()
    followed: set[str] = set()
    succeeded: set[str] = set()

    class Workflow(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            cache.clear()  # the limits on signing up and in are not what this is about
            AccessFailureLog.objects.all().delete()

        def step(self, input: Any) -> Any:
            output = super().step(input)
            if input.transition is not None and input.is_applied:
                followed.add(input.transition.id)
                if output.response.status_code < 300:
                    succeeded.add(input.transition.id.partition("] ")[2])
            return output

        def before_call(self, case: Any) -> None:
            if case.operation.label == "POST /auth/register":  # in words that are taken, so that there are accounts
                name = f"visitor-{next(numbers)}"
                case.body = {"username": name, "email": f"{name}@example.org", "password": "a long enough phrase"}

        def call(self, case: Any, **kwargs: Any) -> Response:
            sent = requests.Request(**_arguments(case)).prepare()
            secured = {name for way in case.operation.definition.raw.get("security", []) for name in way}
            access = tokens.issue(member).access if "bearer" in secured and "/auth/" in case.path else None
            answer = _send(asgi, sent, access or (deploy_token if secured else None))
            return _response(answer, sent)

        def validate_response(self, response: Response, case: Any, **kwargs: Any) -> None:
            case.validate_response(response, checks=checks)

    wanted = {  # the document's own; schemathesis finds a few more
        "GET /dora/deployments -> [200] change -> PATCH /dora/deployments/{id}",
        "GET /dora/deployments -> [200] read -> GET /dora/deployments/{id}",
        "GET /dora/incidents -> [200] change -> PATCH /dora/incidents/{id}",
        "GET /dora/incidents -> [200] read -> GET /dora/incidents/{id}",
        "POST /auth/login -> [200] refresh -> POST /auth/refresh",
        "POST /auth/login -> [200] sign_out -> POST /auth/logout",
        "POST /auth/refresh -> [200] refresh -> POST /auth/refresh",
        "POST /auth/refresh -> [200] sign_out -> POST /auth/logout",
        "POST /auth/register -> [201] sign_in -> POST /auth/login",
    }
    # Which links a run follows hangs on the answers, and so on tokens that are random: another run may find the last.
    for derandomize in (True, False, False, False):
        Workflow.run(settings=settings(BOUNDED, derandomize=derandomize, max_examples=40, stateful_step_count=15))
        if followed >= wanted:
            break

    assert followed >= wanted
    assert succeeded >= {
        "read -> GET /dora/deployments/{id}",
        "read -> GET /dora/incidents/{id}",
        "refresh -> POST /auth/refresh",
        "sign_in -> POST /auth/login",
        "sign_out -> POST /auth/logout",
    }


@pytest.mark.parametrize(("path", "method"), [each for each in OPERATIONS if each[0].startswith("/auth/")])
@pytest.mark.parametrize("other", ["TRACE", "CONNECT", "DELETE", "PATCH", "FOO"])
def test_a_method_that_it_does_not_name_is_refused(
    asgi: AsgiClient, member: User, path: str, method: str, other: str
) -> None:
    answer = asgi.request(other, path, headers={"Authorization": f"Bearer {tokens.issue(member).access}"})

    assert answer.status == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert method in answer.headers["allow"]


def test_a_problem_of_its_own_is_json(asgi: AsgiClient) -> None:
    """The document is served as YAML too; what goes wrong with it is not."""
    answer = asgi.post("/api/schema")

    assert answer.status == 405
    assert answer.json["status"] == 405


def _arguments(case: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = case.as_transport_kwargs(base_url="http://testserver")
    names = {"method", "url", "headers", "params", "data", "json", "cookies", "files"}
    return {name: value for name, value in arguments.items() if name in names}


def _send(asgi: AsgiClient, sent: requests.PreparedRequest, access: str | None) -> Answer:
    headers = {name: v if isinstance(v, str) else v.decode("latin-1") for name, v in sent.headers.items()}
    if access:
        headers["Authorization"] = f"Bearer {access}"
    target = urlsplit(sent.url or "")
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body or b""
    return asgi.request(sent.method or "", target.path, query=target.query, headers=headers, body=body)


def _response(answer: Answer, sent: requests.PreparedRequest) -> Response:
    return Response(
        status_code=answer.status,
        headers={name: [value] for name, value in answer.headers.items()},
        content=answer.body,
        request=sent,
        elapsed=0.0,
        verify=False,
    )
