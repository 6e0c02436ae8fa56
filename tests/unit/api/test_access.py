"""Who gets in: by which name of ours, from which page, with which rights."""

from typing import Any

import pytest
from starlette.routing import compile_path

from model_deployment.api.access import OPEN_CALLS, authorise, policies
from model_deployment.api.policies import POLICIES, SOCKET
from model_deployment.core.errors import (
    CrossSite,
    Forbidden,
    MethodNotAllowed,
    Misdirected,
    NotFound,
    Unauthenticated,
    UpgradeRequired,
)
from model_deployment.core.names import RESERVED_NAMES
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER, Access, is_ours, refuse_cross_site
from model_deployment.credentials.device_tokens import UNVERIFIED
from model_deployment.credentials.verify import NOBODY

OPERATOR, CALLER = User("olga", Role.OPERATOR), User("carl", Role.CALLER)
DEVICE = User("camera-7", Role.DEVICE, "Halls", 7)
SECRETS = {b"olga": OPERATOR, b"carl": CALLER, b"device": DEVICE}


class FakeCredentials:
    async def user(self, authorization: bytes | None) -> User | None:
        return SECRETS.get(authorization or b"")


def scope(method: str, path: str, query: str = "", **headers: str) -> dict[str, Any]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    kind = {"type": "websocket"} if method == SOCKET else {"type": "http", "method": method}
    return {**kind, "path": path, "query_string": query.encode(), "headers": raw}


async def ask(method: str, path: str, user: str = "", query: str = "", **headers: str) -> None:
    """Admit and authorise one request; raises as they do."""
    named = {"host": "127.0.0.1:8000", **headers} | ({"authorization": user} if user else {})
    one = scope(method, path, query, **named)
    await Access(FakeCredentials(), ["models.example"], OPEN_CALLS).admit(one, dict(one["headers"]))
    authorise(one)


def concrete(template: str, project: str = "halls", device: str = "Camera-7") -> str:
    """A path of a route; names of projects and devices are the same in any case."""
    named = {
        "{project}": project,
        "{client_id}": device,
        "{device}": device,
        "{sha256}": "0" * 64,
        "{number}": "3",
        "{file:path}": "model/MLmodel",
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
    path = concrete(template)
    may = {
        None: {"", "wrong", "carl", "device", "olga"},
        Role.CALLER: {"carl", "olga"},
        Role.OPERATOR: {"olga"},
        # A socket is for the device itself.
        Role.DEVICE: {"device"} if method == SOCKET else {"device", "olga"},
    }[role]
    for user in ("", "wrong", "carl", "device", "olga"):
        if user in may:
            await ask(method, path, user)
            continue
        refusal = Unauthenticated if user in ("", "wrong") else Forbidden
        with pytest.raises(refusal):
            await ask(method, path, user)


FOR_DEVICES = [one for one, policy in POLICIES.items() if policy.role is Role.DEVICE]


@pytest.mark.parametrize(("method", "template"), FOR_DEVICES)
async def test_device_is_let_in_to_its_own_project_and_socket_only(
    method: str, template: str
) -> None:
    other = concrete(template, "hall", "camera-70")
    with pytest.raises(Forbidden, match=r"own project|another device"):
        await ask(method, other, "device")
    if method != SOCKET:
        # The number of its project could be the name of another one.
        with pytest.raises(Forbidden):
            await ask(method, concrete(template, "7"), "device")
        # Where it stands in the path does not matter.
        await ask(method, concrete(template, "halls", "camera-70"), "device")


@pytest.mark.parametrize(("method", "template"), FOR_DEVICES)
async def test_device_that_nobody_has_looked_up_is_let_in_nowhere(
    method: str, template: str
) -> None:
    one = scope(method, concrete(template)) | {USER: UNVERIFIED}
    with pytest.raises(Forbidden):
        authorise(one)


def test_every_policy_of_devices_names_their_project_or_the_device() -> None:
    for _, template in FOR_DEVICES:
        assert ("{project}" in template) != ("{client_id}" in template)


async def test_socket_without_a_token_is_told_what_it_needs() -> None:
    # Nobody needs a password, yet a socket needs a device.
    one = scope(SOCKET, "/ws/camera-7") | {USER: NOBODY}
    with pytest.raises(Unauthenticated, match="token of a device"):
        authorise(one)


@pytest.mark.parametrize("user", ["device", "olga"])
async def test_get_of_a_socket_is_told_to_upgrade(user: str) -> None:
    if user == "olga":
        with pytest.raises(Forbidden):
            await ask("GET", "/ws/camera-7", user)
        return
    with pytest.raises(UpgradeRequired) as caught:
        await ask("GET", "/ws/camera-7", user)
    assert caught.value.headers == {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    with pytest.raises(MethodNotAllowed) as refused:
        await ask("POST", "/ws/camera-7", user)
    assert refused.value.headers["Allow"] == "GET"


@pytest.mark.parametrize("path", ["/ws", "/ws/", "/ws/a/b", "/WS/camera-7", "/halls/ws", "/ready"])
async def test_socket_elsewhere_is_not_found(path: str) -> None:
    with pytest.raises((NotFound, MethodNotAllowed)):
        await ask(SOCKET, path, "device")


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}]
)
async def test_socket_is_refused_to_pages_of_other_sites(headers: dict[str, str]) -> None:
    await ask(SOCKET, "/ws/camera-7", "device", origin="http://127.0.0.1:8000")
    with pytest.raises(CrossSite):
        await ask(SOCKET, "/ws/camera-7", "device", **headers)


SHORT = [(method, path) for method, path in POLICIES if path.startswith("/{project}/")]


@pytest.mark.parametrize("name", [*sorted(RESERVED_NAMES), "V1", "Model", "WS"])
def test_reserved_name_is_not_taken_for_a_project(name: str) -> None:
    for _, template in SHORT:
        path = concrete(template, name)
        own = [
            (method, policy)
            for (method, known), policy in POLICIES.items()
            if not known.startswith("/{") and compile_path(known)[0].fullmatch(path)
        ]
        assert policies(path) == own


@pytest.mark.parametrize(("method", "template"), SHORT)
def test_both_paths_of_a_project_have_the_same_policy(method: str, template: str) -> None:
    assert POLICIES[method, template] == POLICIES[method, "/projects" + template]
    for name in ("iris-1", "a", "Halls.2", "modelx", "v1-3", "x" * 64):
        [found] = {one for one in policies(concrete(template, name)) if one[0] == method}
        assert found == (method, POLICIES[method, template])


def test_predictions_are_not_taken_for_calls_of_projects() -> None:
    for path in ("/iris-1/invocations", "/endpoints-1/invocations", "/halls", "/models-1"):
        assert [method for method, _ in policies(path)] == ["POST"]


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


async def test_no_password_is_needed_for_health_and_with_a_signature_or_a_code() -> None:
    opened = {one for one, policy in POLICIES.items() if policy.role is None}
    assert opened == {
        ("GET", "/health"), ("POST", "/mlflow/webhook"),
        ("POST", "/{project}/registerDevice"), ("POST", "/projects/{project}/registerDevice"),
    }  # fmt: skip
    assert len(OPEN_CALLS) == len(opened)
    await ask("HEAD", "/health")
    await ask("POST", "/mlflow/webhook")
    for method, path in (
        ("GET", "/health/"), ("POST", "/health"), ("GET", "/mlflow/webhook"), ("POST", "/mlflow/webhook/"),
        ("GET", "/a/registerDevice"), ("POST", "/a/registerDevice/"), ("POST", "/registerDevice"),
        ("POST", "/v1/registerDevice"), ("POST", "/a/b/registerDevice"), (SOCKET, "/health"),
        ("POST", "/projects/registerDevice"),
    ):  # fmt: skip
        with pytest.raises(Unauthenticated):
            await ask(method, path)
    with pytest.raises(CrossSite):
        await ask("POST", "/mlflow/webhook", sec_fetch_site="cross-site")


def test_bodies_that_nobody_has_a_password_for_are_small() -> None:
    assert authorise({**scope("POST", "/mlflow/webhook"), USER: None}) == 65536
    assert authorise({**scope("POST", "/halls/registerDevice"), USER: None}) == 65536
    assert authorise({**scope("POST", "/halls/messages"), USER: DEVICE}) == 1024 * 1024
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
