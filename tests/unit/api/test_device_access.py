"""What devices may: the calls of their own project, by either path, and a socket of their own."""

import pytest
from starlette.routing import compile_path

from model_deployment.api.access import authorise, policies
from model_deployment.api.policies import POLICIES, SOCKET
from model_deployment.core.errors import (
    CrossSite,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
    UpgradeRequired,
)
from model_deployment.core.names import RESERVED_NAMES
from model_deployment.core.users import Role
from model_deployment.credentials.access import USER
from model_deployment.credentials.device_tokens import UNVERIFIED
from model_deployment.credentials.verify import NOBODY
from tests.support.access_requests import ask, concrete, scope
from tests.support.cases import each

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


@each("name", [*sorted(RESERVED_NAMES), "V1", "Model", "WS"])
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
