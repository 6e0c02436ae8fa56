"""Passwords, roles, names and pages of other sites, on a real controller."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import BaseRoute, WebSocketRoute
from typer.testing import CliRunner, Result

from model_deployment.api.guard import Guard
from model_deployment.api.policies import POLICIES, SOCKET
from model_deployment.app import build as composition
from model_deployment.cli.main import app
from model_deployment.core.users import Role
from model_deployment.credentials import htpasswd
from model_deployment.settings import Settings
from tests.support.command_line import run_here
from tests.support.controller_forks import ControllerForks
from tests.support.harness import CALLER, OPERATOR, Controller, Controllers
from tests.support.shared_controller import Shared, use
from tests.support.tools import check_problem
from tests.support.waiting import until_sync


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, registry_uri: str, controller_forks: ControllerForks
) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("access")
    it = Shared(folder, registry_uri, controller_forks, users=True, PROXIES=2)
    yield it
    problems = it.end()
    assert not problems, "\n".join(problems)


@pytest.fixture
def guarded(home: Shared) -> Iterator[Controller]:
    """A controller with users, behind proxies: callers never reach the controller itself."""
    with use(home) as it:
        yield it


WRONG = ("olga", "x" * 16)
UNSAFE = [route for route in POLICIES if route[0] not in ("GET", SOCKET)]


def concrete(template: str) -> str:
    """A path of a route."""
    named = {
        "{model}": "stub",
        "{version}": "1",
        "{name}": "stub-1",
        "{path:path}": "x.js",
        "{file}": "live.js",
        "{project}": "halls",
        "{device}": "camera-7",
        "{client_id}": "camera-7",
        "{sha256}": "0" * 64,
        "{number}": "1",
        "{file:path}": "model/MLmodel",
    }
    for parameter, value in named.items():
        template = template.replace(parameter, value)
    return template


async def test_every_route_has_a_policy_and_every_policy_a_route(tmp_path: Path) -> None:
    async with composition.running(Settings(data_dir=tmp_path, port=0, proxies=0)) as it:
        guard: Any = it.app
        while type(guard) is not Guard:
            guard = guard.app
        api: Any = guard._app
        routes = set(walk(api.router.routes))
    assert routes == set(POLICIES)
    assert len(routes) == len(POLICIES)


def walk(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Methods and paths of all routes."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from walk(inner.routes)
            continue
        if isinstance(route, WebSocketRoute):
            yield SOCKET, route.path
            continue
        path, methods = getattr(route, "path", None), getattr(route, "methods", None)
        if path is None:
            raise AssertionError(f"a route of an unknown kind: {route!r}")
        if methods is None:  # a folder of files
            yield "GET", f"{path}/{{path:path}}"
        else:
            yield from ((method, path) for method in methods - {"HEAD"})


def refusal(answer: httpx.Response, template: str) -> int:
    """The status of a refusal, which is a problem, or an error of OpenAI's."""
    if not template.startswith("/v1/"):
        return int(check_problem(answer)["status"])
    assert answer.json()["error"]["message"].startswith("cannot ")
    return answer.status_code


def test_who_may_do_what(guarded: Controller) -> None:
    """Every route, asked by everybody; what is refused has not been done."""
    before = guarded.get("/get_deployed_models", stopped=True)
    for (method, template), policy in POLICIES.items():
        path, role = concrete(template), policy.role
        # As who has not heard of WebSockets opens one.
        sent = "GET" if method == SOCKET else method
        for who in (None, WRONG):
            answer = guarded.call(sent, path, auth=who)
            if role is None:
                # The webhook is not set up, and there is no such code.
                expected = {"/health": 200, "/mlflow/webhook": 404}.get(path, 422)
                assert answer.status_code == expected, path
                continue
            assert refusal(answer, template) == 401
            assert answer.headers["www-authenticate"].startswith("Basic ")
            assert answer.headers["x-request-id"]
        if template == "/dashboard/events":
            continue  # it has no end; test_dashboard_pages.py listens to it as a caller
        answer = guarded.call(sent, path, auth=CALLER)
        refused = role in (Role.OPERATOR, Role.DEVICE)
        assert (answer.status_code == 403) == refused, (method, path)
    assert guarded.get("/get_deployed_models", stopped=True) == before


def test_callers_predict_and_operators_deploy(guarded: Controller) -> None:
    guarded.deploy("stub-1")
    answer = guarded.call("POST", "/stub-1", json={"instances": [1]}, auth=CALLER)
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert check_problem(guarded.call("POST", "/stub-1", json={}, auth=None))["status"] == 401
    assert check_problem(guarded.call("POST", "/undeploy/stub-1", auth=CALLER))["status"] == 403
    shown = guarded.call("GET", "/model/stub-1", auth=CALLER).json()
    assert f"curl -u {CALLER[0]} -X POST" in shown["curl"]
    assert CALLER[1] not in shown["curl"]
    guarded.undeploy("stub-1")


def test_users_that_come_and_go_while_it_runs(guarded: Controller) -> None:
    folder = guarded.data / "credentials"

    def status() -> int:
        return guarded.call("GET", "/ready", auth=CALLER).status_code

    assert status() == 200
    htpasswd.remove_user(folder, CALLER[0])
    until_sync(lambda: status() == 401, what="the user to be gone")
    htpasswd.set_user(folder, *CALLER, Role.CALLER)
    until_sync(lambda: status() == 200, what="the user to be back")


def test_other_machines_are_not_let_in_without_passwords(controllers: Controllers) -> None:
    controller = controllers(HOST="0.0.0.0")
    assert controller.start().wait() == 1
    said = controller.log.read_text()
    assert "without passwords" in said
    assert "model-deployment users init" in said
    done = run(controller, "users", "init")
    assert done.returncode == 0
    passwords = dict(line.split()[::2] for line in done.stdout.splitlines()[-3:])
    assert set(passwords) == {"admin", "caller", "prometheus"}
    assert all(len(password) == 32 for password in passwords.values())
    controller.settings["HOST"] = "127.0.0.1"
    controller.user = ("admin", passwords["admin"])
    controller.up()
    again = run(controller, "users", "init")
    assert (again.returncode, again.stdout) == (1, "")
    assert "already has users" in again.stderr


def run(controller: Controller, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    # Not the program of the tests' controllers, which imports all of a controller for any command.
    command = [sys.executable, "-m", "model_deployment", *arguments]
    return subprocess.run(
        command, env=controller.environment(),
        capture_output=True, text=True, timeout=60, check=False, **more,
    )  # fmt: skip


def test_the_command_line_sends_a_password(
    guarded: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in guarded.environment().items():
        monkeypatch.setenv(variable, value)
    refused = run_here(guarded, "list")
    assert refused.exit_code == 1
    assert "without a user name and a password" in refused.stderr
    name, password = OPERATOR
    monkeypatch.setenv("MODEL_DEPLOYMENT_USER", name)
    monkeypatch.setenv("MODEL_DEPLOYMENT_PASSWORD", password)
    assert run_here(guarded, "deploy", "stub", "1").exit_code == 0
    guarded.variables = {
        "MODEL_DEPLOYMENT_URL": guarded.url,
        "MODEL_DEPLOYMENT_USER": name,
        "MODEL_DEPLOYMENT_PASSWORD": password,
    }
    assert "stub-1" in run(guarded, "list").stdout


def test_the_command_line_keeps_users(
    controllers: Controllers, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = controllers().with_users()
    for variable, value in controller.environment().items():
        monkeypatch.setenv(variable, value)

    def users(*arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(app, ["users", *arguments], input=stdin)

    added = users("add", "nina", "--password-stdin", stdin="n" * 20 + "\n")
    assert added.stdout == "nina is a caller\n"
    assert "nina" in users("list").stdout
    assert users("remove", "nina").exit_code == 0
    bad = run(controller, "users", "add", "b:d")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "Traceback" not in bad.stderr


# On loopback, without passwords: what keeps other sites' pages out.


@pytest.mark.parametrize(("method", "template"), UNSAFE)
def test_pages_of_other_sites_change_nothing(
    controller: Controller, method: str, template: str
) -> None:
    path = concrete(template).replace("stub-1", "nothing-7")
    own = f"http://127.0.0.1:{controller.port}"
    refused = [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "null"},
        {"Origin": "http://evil.example"}, {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Origin": own},
        {"Origin": "http://evil.example", "Content-Type": "text/plain"},
    ]  # fmt: skip
    for headers in refused:
        answer = controller.call(method, path, headers=headers, content=b"{}")
        assert refusal(answer, template) == 403, headers
    for headers in ({}, {"Origin": own}, {"Sec-Fetch-Site": "same-origin"}):
        assert controller.call(method, path, headers=headers).status_code != 403


def test_names_of_other_sites_are_not_ours(controller: Controller) -> None:
    """DNS rebinding: a page's own name that leads to this address."""
    for host in ("evil.example", f"evil.example:{controller.port}", "127.0.0.1.nip.io"):
        for method, path in (("GET", "/health"), ("POST", "/deploy/stub/1"), ("POST", "/stub-1")):
            answer = controller.call(method, path, headers={"Host": host})
            assert check_problem(answer)["status"] == 421
    for host in ("localhost", f"LOCALHOST:{controller.port}", "127.0.0.1", "[::1]:8000"):
        assert controller.call("GET", "/ready", headers={"Host": host}).status_code == 200


def test_a_get_makes_no_report_for_another_site(controller: Controller) -> None:
    path = "/model/nothing-7/degradation_report"
    answer = controller.call("GET", path, headers={"Sec-Fetch-Site": "cross-site"})
    assert check_problem(answer)["status"] == 403
    assert controller.call("GET", path).status_code == 404


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/ready", "/nothing/at/all", "/%2e%2e/x"])
def test_browsers_are_told_not_to_guess(controller: Controller, path: str) -> None:
    answer: httpx.Response = controller.call("GET", path)
    headers = answer.headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert ("script-src" in policy) == (path in ("/docs", "/redoc"))
