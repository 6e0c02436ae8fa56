"""Who gets through to the controller: every route, with every method, by everybody."""

import json

import pytest

from tests.support.echo_server import Echo
from tests.support.nginx_gateway import AS, Gateway, basic
from tests.support.stubs import Answer
from tests.support.tools import PROBLEM

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WHO: dict[str, dict[str, str]] = {
    "nobody": {},
    "wrong": basic("admin", "wrong"),
    "unknown": basic("mallory", "x"),
    "no basic": {"Authorization": "Bearer abc"},
    **AS,
}

READ = (
    "/", "/get_model_list", "/get_deployed_models", "/get_deployed_models?stopped=true",
    "/get_model_version_list/m", "/get_model_version_list/my%20model",
    "/model/m-1/metrics", "/model/m-1/metrics?since=24h", "/model/m-1/reports",
    "/model/m-1/degradation_report", "/model/m-1/degradation_report?format=json", "/model/m-1/events",
    "/compare/m", "/compare/m?versions=1,2",
    "/endpoints", "/endpoints/m@a/events", "/endpoints/m@a/rollouts", "/model_info?alias=a",
    "/endpoints/m@a/comparison?format=json",
    "/ready", "/version", "/metrics", "/docs",
    "/docs/oauth2-redirect", "/redoc", "/openapi.json", "/static-offline-docs/swagger-ui.css",
    "/dashboard", "/dashboard/events", "/dashboard/static/style.css", "/dashboard/registry",
    "/dashboard/registry/my%20model", "/dashboard/deployments/m-1",
    "/dashboard/deployments/m-1/charts?window=1h",
    "/dashboard/deployments/m-1/reports", "/dashboard/compare/m?versions=1,2",
)  # fmt: skip
PREDICT = (
    "/m-1", "/m-1/invocations", "/m-999999999",
    "/dashboard/deployments/m-1/rows", "/my%20model-1", "/a.b_c-d-12/invocations",
    "/health-1", "/deploy-1", "/v1-3", "/endpoints-1/invocations", f"/{'m' * 128}-1", "/model/m-1/feedback",
    "/m", "/m/invocations", "/m@champion", "/m@champion/invocations", "/m%40champion",
    "/my%20model@a-b_c", "/m@%C3%BC",
    "/m-0", "/m-01", "/m-1000000000", "/healthz",
)  # fmt: skip
CHANGE = (
    "/model/m-1/restart",
    "/model/m-1/park?wait=0",
    "/undeploy/m-1",
    "/undeploy/endpoints-1",
    "/model/m-1/set_new_metrics",
    "/endpoints/m@a/promote",
    "/endpoints/m@a/rollback",
    "/set_model?wait=0",
)
SECRET = (
    "/dashboard/deployments/m-1/columns",
    "/model/m-1/dataset",
    "/model/m-1/dataset?format=csv",
    "/model/m-1/logs?lines=5",
)
CLOSED = (
    "/-1", "/m@", "/m@a@b", "/m@a%20b", "/m@a/x", "/@operator", "/deploy@champion", "/Health@a",
    "/_m-1", f"/{'m' * 129}-1", "/m-1/", "/m-1/ping", "/m-1/invocations/", "/m-1/x", "/M%C3%BC-1",
    "/m%3B-1", "/deploy", "/deploy/", "/deploy/m", "/deploy/m/1/", "/deploy/m/1/x", "/deploy//1",
    "/Deploy/m/1", "/undeploy", "/undeploy/", "/undeploy/m-1/x", "/HEALTH", "/Health", "/health/",
    "/metrics/", "/model", "/model/", "/model/m-1/", "/model/m-1/unknown", "/model/m-1/logs/",
    "/model/m-1/logs/x", "/.git/config", "/.env", "/static-offline-docs/", "/static-offline-docs",
    "/favicon.ico", "/dashboard/", "/dashboard/registry/", "/dashboard/deployments", "/dashboard/x",
    "/api", "/400/x", "/%40operator", "/nothing/x", "/credentials/callers.htpasswd",
    "/model/m-1/dataset%20", "/model/m-1/logs%3Fx",
)  # fmt: skip


def ask(gateway: Gateway, who: str, method: str, path: str) -> Answer:
    return gateway.ask(method, path, WHO[who])


def expected(who: str, method: str, path: str, *, methods: tuple[str, ...], role: str) -> int:
    if role != "anyone" and who not in AS:
        return 401
    if method not in methods:
        return 405 if who in AS else 401
    return 200 if role in ("anyone", who) or who == "operator" else 403


def check(gateway: Gateway, echo: Echo, path: str, methods: tuple[str, ...], role: str) -> None:
    check_roles(gateway, echo, path, dict.fromkeys(methods, role))


def check_roles(gateway: Gateway, echo: Echo, path: str, roles: dict[str, str]) -> None:
    """``roles``: who may call the path, by method."""
    methods = tuple(roles)
    for method in METHODS:
        for who in WHO:
            echo.fresh()
            answer = ask(gateway, who, method, path)
            case = f"{who} {method} {path}"
            status = expected(who, method, path, methods=methods, role=roles.get(method, ""))
            assert answer.status == status, case
            assert [(seen.method, seen.path) for seen in echo.seen] == (
                [(method, path.partition("?")[0])] if status == 200 else []
            ), case
            check_refusal(answer, method, methods)


def check_refusal(answer: Answer, method: str, methods: tuple[str, ...]) -> None:
    headers = {name.lower(): value for name, value in answer.headers}
    if answer.status == 401:
        assert headers["www-authenticate"] == 'Basic realm="model_deployment"'
    if answer.status == 405:
        assert headers["allow"] == ", ".join(methods)
    if answer.status != 200 and method != "HEAD":
        assert headers["content-type"] == PROBLEM
        problem = json.loads(answer.body)
        assert problem["status"] == answer.status
        assert problem["detail"].startswith("cannot ")


@pytest.mark.parametrize("path", READ)
def test_reading_is_for_callers(gateway: Gateway, echo: Echo, path: str) -> None:
    check(gateway, echo, path, ("GET", "HEAD"), "caller")


@pytest.mark.parametrize("path", PREDICT)
def test_predictions_are_for_callers(gateway: Gateway, echo: Echo, path: str) -> None:
    check(gateway, echo, path, ("POST",), "caller")


@pytest.mark.parametrize("path", CHANGE)
def test_changes_are_for_operators(gateway: Gateway, echo: Echo, path: str) -> None:
    check(gateway, echo, path, ("POST",), "operator")


def test_an_endpoint_is_read_by_callers_and_changed_by_operators(
    gateway: Gateway, echo: Echo
) -> None:
    reading, changing = (
        dict.fromkeys(("GET", "HEAD"), "caller"),
        dict.fromkeys(("PUT", "DELETE"), "operator"),
    )
    check_roles(gateway, echo, "/endpoints/my%20model@champion", reading | changing)


@pytest.mark.parametrize(
    ("path", "changing"),
    [("/model/m-1", "PATCH"), ("/model/my%20model-1", "PATCH"), ("/deploy/m/1", "POST"),
     ("/deploy/my%20model/1?wait=0", "POST")],
)  # fmt: skip
def test_a_deployment_is_read_by_callers_and_changed_by_operators(
    gateway: Gateway, echo: Echo, path: str, changing: str
) -> None:
    reading = dict.fromkeys(("GET", "HEAD"), "caller")
    check_roles(gateway, echo, path, reading | {changing: "operator"})


@pytest.mark.parametrize("path", SECRET)
def test_what_others_sent_is_for_operators(gateway: Gateway, echo: Echo, path: str) -> None:
    check(gateway, echo, path, ("GET", "HEAD"), "operator")


def test_forgetting_is_for_operators(gateway: Gateway, echo: Echo) -> None:
    check(gateway, echo, "/model/m-1/captures?request_id=x", ("DELETE",), "operator")


def test_health_is_for_everybody(gateway: Gateway, echo: Echo) -> None:
    for method in ("GET", "HEAD"):
        for who in WHO:
            assert ask(gateway, who, method, "/health").status == 200
    assert ask(gateway, "nobody", "POST", "/health").status == 401
    assert ask(gateway, "caller", "POST", "/health").status == 405


def test_what_mlflow_signs_is_passed_on_for_everybody(gateway: Gateway, echo: Echo) -> None:
    for who in WHO:
        assert ask(gateway, who, "POST", "/mlflow/webhook").status == 200
    assert ask(gateway, "nobody", "GET", "/mlflow/webhook").status == 401
    assert ask(gateway, "caller", "GET", "/mlflow/webhook").status == 405


@pytest.mark.parametrize("path", CLOSED)
def test_all_else_is_closed(gateway: Gateway, echo: Echo, path: str) -> None:
    for method in METHODS:
        for who in WHO:
            status = ask(gateway, who, method, path).status
            assert status in ((400,) if "//" in path else (404,) if who in AS else (401,)), path
    assert echo.seen == []


@pytest.mark.parametrize(
    "value",
    [
        "Basic", "Basic ", "Basic !!!", "Basic YWRtaW4=", "Basic Og==", "basic", "Digest x",
        "Basic " + "A" * 4000, "Basic YWRtaW46b3BlcmF0b3IncyBwdw", "Basic =", "Basic YWRtaW46AA==",
    ],
)  # fmt: skip
def test_odd_credentials(gateway: Gateway, echo: Echo, value: str) -> None:
    status = gateway.ask("GET", "/version", {"Authorization": value}).status
    # Base64 without its padding is still the operator's password.
    assert status == (200 if value.endswith("IncyBwdw") else 401)
