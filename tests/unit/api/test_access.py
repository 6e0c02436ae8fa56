"""Who gets in: by which name of ours, from which page, with which rights."""

from typing import Any

import pytest

from model_deployment.api.access import OPEN_CALLS, POLICIES, authorise, policies
from model_deployment.core.errors import (
    CrossSite,
    Forbidden,
    MethodNotAllowed,
    Misdirected,
    ModelDeploymentError,
    NotFound,
    Unauthenticated,
)
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER, Access, is_ours, refuse_cross_site

OPERATOR, CALLER = User("olga", Role.OPERATOR), User("carl", Role.CALLER)
SECRETS = {b"olga": OPERATOR, b"carl": CALLER}


class FakeCredentials:
    async def user(self, authorization: bytes | None) -> User | None:
        return SECRETS.get(authorization or b"")


def scope(method: str, path: str, query: str = "", **headers: str) -> dict[str, Any]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"method": method, "path": path, "query_string": query.encode(), "headers": raw}


async def ask(method: str, path: str, user: str = "", query: str = "", **headers: str) -> None:
    """Admit and authorise one request; raises as they do."""
    named = {"host": "127.0.0.1:8000", **headers} | ({"authorization": user} if user else {})
    one = scope(method, path, query, **named)
    await Access(FakeCredentials(), ["models.example"], OPEN_CALLS).admit(one, dict(one["headers"]))
    authorise(one)


def concrete(template: str) -> str:
    """A path of a route."""
    named = {
        "{path:path}": "x.js",
        "{file}": "x.js",
        "{model}": "iris",
        "{version}": "1",
        "{name}": "iris-1",
    }
    for parameter, value in named.items():
        template = template.replace(parameter, value)
    return template


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:80", "10.1.2.3:8080", "[::1]", "[::1]:8000",
     "models.example", "models.example:443", "models.example.:443"],
)  # fmt: skip
def test_host_accepts_names_of_the_controller(host: str) -> None:
    assert is_ours(host, {"models.example"})


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1.nip.io:8000",
     "models.example.evil.example", "x.models.example", "models.example:", "models.example:80:80", "1",
     "0x7f000001", "models.example/", "user@models.example", "[::1", "[evil.example]", " localhost"],
)  # fmt: skip
async def test_host_refuses_other_names(host: str) -> None:
    assert not is_ours(host, {"models.example"})
    with pytest.raises(Misdirected):
        await ask("GET", "/health", host=host)


async def test_host_ignores_case() -> None:
    await ask("GET", "/health", host="Models.EXAMPLE:8000")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "BREW"])
@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({}, True),  # no browser
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "none"}, True),  # typed in
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": ""}, False),
        ({"sec_fetch_site": "cross-site", "origin": "http://127.0.0.1:8000"}, False),
        ({"origin": "http://127.0.0.1:8000"}, True),
        ({"origin": "https://127.0.0.1:8000"}, True),  # the gateway has TLS
        ({"origin": "http://127.0.0.1:9000"}, False),
        ({"origin": "http://127.0.0.1"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://127.0.0.1:8000.evil.example"}, False),
        ({"origin": "http://127.0.0.1:8000@evil.example"}, False),
        ({"origin": "file://127.0.0.1:8000"}, False),
        ({"origin": "http://127.0.0.1:8000/"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "http://[::1"}, False),
        ({"host": "models.example", "origin": "https://models.example"}, True),
        ({"host": "models.example", "origin": "https://models.example:443"}, True),
        ({"host": "models.example:443", "origin": "https://models.example"}, True),
        ({"host": "models.example", "origin": "https://models.example:8443"}, False),
    ],
)
async def test_cross_site_post_is_refused(method: str, headers: dict[str, str], good: bool) -> None:
    try:
        await ask(method, "/deploy/iris/1", "olga", **headers)
    except CrossSite:
        assert not good
    except MethodNotAllowed:
        assert good
        assert method != "POST"
    else:
        assert good
        assert method == "POST"


async def test_cross_site_link_to_a_reading_call_is_allowed() -> None:
    await ask("GET", "/model/iris-1/reports", "carl", sec_fetch_site="cross-site")
    await ask(
        "GET", "/model/iris-1/degradation_report", "carl", "id=x", sec_fetch_site="cross-site"
    )


@pytest.mark.parametrize("query", ["", "format=json", "id=", "xid=1"])
async def test_cross_site_get_that_starts_work_is_refused(query: str) -> None:
    await ask("GET", "/model/iris-1/degradation_report", "carl", query)
    with pytest.raises(CrossSite):
        await ask("GET", "/model/iris-1/degradation_report", "carl", query, origin="http://evil")


@pytest.mark.parametrize("path", ["/dashboard/events", "/dashboard/deployments/iris-1/columns"])
async def test_cross_site_get_of_scarce_resources_is_refused(path: str) -> None:
    """A live connection is one of few, and columns are read from the document store."""
    await ask("GET", path, "olga", "since=1", sec_fetch_site="same-origin")
    for headers in ({"sec_fetch_site": "cross-site"}, {"origin": "http://evil"}):
        with pytest.raises(CrossSite):
            await ask("GET", path, "olga", **headers)
    await ask("GET", "/dashboard", "carl", sec_fetch_site="cross-site")  # a link to it is followed


@pytest.mark.parametrize(("method", "template"), POLICIES)
async def test_route_needs_the_role_of_its_policy(method: str, template: str) -> None:
    role = POLICIES[method, template].role
    for user, rank in (("", 0), ("wrong", 0), ("carl", 1), ("olga", 2)):
        needed = {None: 0, Role.CALLER: 1, Role.OPERATOR: 2}[role]
        if rank >= needed:
            await ask(method, concrete(template), user)
            continue
        error: type[ModelDeploymentError] = Forbidden if rank else Unauthenticated
        with pytest.raises(error):
            await ask(method, concrete(template), user)


async def test_path_of_a_call_is_not_a_prediction() -> None:
    assert [method for method, _ in policies("/ready")] == ["GET"]
    assert len(policies("/undeploy/invocations")) == 1
    with pytest.raises(Forbidden):
        await ask("POST", "/undeploy/invocations", "carl")


@pytest.mark.parametrize(
    "path", ["/nothing/at/all", "/model", "/dashboard/x", "/model/iris-1/secrets"]
)
async def test_path_without_policy_is_404(path: str) -> None:
    with pytest.raises((NotFound, MethodNotAllowed)):
        await ask("GET", path, "olga")
    with pytest.raises(Unauthenticated):
        await ask("GET", path)


async def test_method_without_policy_is_405_for_every_user() -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        await ask("PATCH", "/model/iris-1/captures", "olga")
    assert caught.value.headers["Allow"] == "DELETE"


async def test_health_alone_needs_no_password_and_the_webhook_a_signature_instead() -> None:
    assert {("GET", "/health"), ("POST", "/mlflow/webhook")} == OPEN_CALLS
    await ask("HEAD", "/health")
    await ask("POST", "/mlflow/webhook")
    for method, path in (
        ("GET", "/health/"), ("POST", "/health"), ("GET", "/mlflow/webhook"), ("POST", "/mlflow/webhook/"),
    ):  # fmt: skip
        with pytest.raises(Unauthenticated):
            await ask(method, path)
    with pytest.raises(CrossSite):
        await ask("POST", "/mlflow/webhook", sec_fetch_site="cross-site")


def test_only_what_is_signed_has_a_smaller_body() -> None:
    assert authorise({**scope("POST", "/mlflow/webhook"), USER: None}) == 65536
    assert authorise({**scope("POST", "/deploy/iris/1"), USER: OPERATOR}) is None


async def test_challenge_names_the_basic_scheme() -> None:
    with pytest.raises(Unauthenticated) as caught:
        await ask("GET", "/ready")
    assert caught.value.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_same_origin_with_any_spelling_of_the_port_is_allowed() -> None:
    refuse_cross_site({b"origin": b"http://Models.Example", b"host": b"models.example:80"})


async def test_admitted_user_is_in_the_scope() -> None:
    one = scope("GET", "/ready", authorization="carl", host="localhost")
    await Access(FakeCredentials()).admit(one, dict(one["headers"]))
    assert one[USER] == CALLER
