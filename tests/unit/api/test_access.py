"""Who gets in: each call needs the role of its policy, and none is reachable without one."""

import pytest

from model_deployment.api.access import OPEN_CALLS, authorise, policies
from model_deployment.api.policies import POLICIES, SOCKET
from model_deployment.core.errors import (
    CrossSite,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
)
from model_deployment.core.users import Role
from model_deployment.credentials.access import USER, Access
from tests.support.access_requests import (
    CALLER,
    DEVICE,
    OPERATOR,
    FakeCredentials,
    ask,
    concrete,
    scope,
)
from tests.support.cases import each


@each("method, template", POLICIES)
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


async def test_admitted_user_is_in_the_scope() -> None:
    one = scope("GET", "/ready", authorization="carl", host="localhost")
    await Access(FakeCredentials()).admit(one, dict(one["headers"]))
    assert one[USER] == CALLER
