"""The commands apply, diff and export against a simulated controller."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from model_deployment.cli.declared import apply as applying
from model_deployment.cli.declared import commands
from model_deployment.cli.main import app
from model_deployment.client import ApiError, Unreachable
from model_deployment.core.options import Options
from model_deployment.core.rollout_policy import RolloutPolicy

DEFAULTS: dict[str, Any] = json.loads(json.dumps(Options(retention_days=30.0).as_dict()))


def refused(status: int, detail: str) -> ApiError:
    return ApiError(status, {"status": status, "detail": detail})


class Simulated:
    """Answers as a controller does, as far as the commands ask. May be shared by threads."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.held: dict[str, list[int]] = {}
        self.calls: list[tuple[str, str]] = []
        #: Deployments and endpoints that never become ready.
        self.broken: set[str] = set()
        #: Done, once, before the call that it is named for.
        self.before: dict[tuple[str, str], Callable[[], None]] = {}
        #: Looks at all deployments that are not answered.
        self.away = 0
        self._lock = threading.Lock()

    def models(self) -> list[Any]:
        return [{"name": "wine", "aliases": {"champion": 2}}]

    def deployments(self) -> list[Any]:
        if self.away:
            self.away -= 1
            raise Unreachable("gone away")
        return list(self.rows.values())

    def deployment(self, name: str) -> Any:
        return self.rows[name]

    def endpoints(self) -> list[Any]:
        return [self._endpoint(name) for name in self.policies]

    def _endpoint(self, name: str) -> dict[str, Any]:
        held = self.held.get(name, ())
        broken = name in self.broken
        return {
            "name": name, "model": name.partition("@")[0], "policy": self.policies[name],
            "champion": next(iter(held), None), "versions": [{"version": one} for one in held],
            "status": "version 2 was rolled back: it broke" if broken else "no version serves yet",
            "rollout": {"state": "rolled_back", "active": False} if broken else None,
            "previous": None, "previous_until": None, "deleting": False,
        }  # fmt: skip

    def endpoint(self, name: str) -> dict[str, Any]:
        """The registry is slow: the alias is known at the second look."""
        before = self._endpoint(name)
        self._call("endpoint", name)
        if name not in self.broken:
            self.held.setdefault(name, [2])
        return before

    def deploy_needs(self, model: str, version: int) -> Any:
        return {"options": {**DEFAULTS, "workers": 9}, "defaults": DEFAULTS}

    def _call(self, call: str, name: str) -> None:
        with self._lock:
            self.calls.append((call, name))
            meanwhile = self.before.pop((call, name), None)
        if meanwhile:
            meanwhile()

    def deploy(self, model: str, version: str, *, wait: float, **options: Any) -> Any:
        name = f"{model}-{version}"
        self._call("deploy", name)
        wanted = DEFAULTS | options
        if name in self.rows and self.rows[name]["options"] != wanted:
            raise refused(409, f"cannot deploy {name} with other options")
        if name in self.broken:
            raise refused(502, f"cannot deploy {name}: it broke")
        self.put(name, wanted)
        return self.rows[name]

    def put(self, name: str, options: dict[str, Any]) -> None:
        model, _, version = name.rpartition("-")
        self.rows[name] = {
            "name": name, "model": model, "version": int(version), "options": options,
            "state": "ready", "desired": "running", "reason": "healthy", "replacement": None,
        }  # fmt: skip

    def change(self, name: str, *, wait: float, **options: Any) -> Any:
        self._call("change", name)
        named = {key: DEFAULTS[key] if value is None else value for key, value in options.items()}
        self.put(name, self.rows[name]["options"] | named)
        return self.rows[name]

    def undeploy(self, name: str, *, wait: float) -> Any:
        self._call("undeploy", name)
        if name not in self.rows:
            raise refused(404, f"cannot find {name}")
        return self.rows.pop(name) | {"state": "stopped"}

    def set_endpoint(self, name: str, policy: dict[str, Any]) -> Any:
        self._call("set_endpoint", name)
        self.policies[name] = policy
        return self._endpoint(name)

    def delete_endpoint(self, name: str, *, wait: float) -> None:
        self._call("delete_endpoint", name)
        del self.policies[name]


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> Simulated:
    found = Simulated()
    monkeypatch.setattr(commands, "controller_at", lambda url: found)
    monkeypatch.setattr(applying, "_EVERY", 0)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "deployments.yaml"
    found.write_text(
        "deployments:\n"
        "- {model: wine, version: 1, options: {workers: 2}}\n"
        "- {model: wine, alias: champion}\n"
        "endpoints:\n"
        "- name: wine@champion\n"
        "  policy: {canary: {steps: []}}\n"
    )
    return found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def test_apply_does_what_diff_shows_and_then_nothing(controller: Simulated, file: Path) -> None:
    controller.put("wine-1", DEFAULTS)
    shown = run("diff", "-f", str(file))
    assert (shown.exit_code, shown.stdout.splitlines()) == (
        1,
        [
            "+ deploy wine-2: the alias champion names it",
            "~ change wine-1: workers 1 -> 2",
            "+ make endpoint wine@champion: it is new",
        ],
    )
    assert not controller.calls
    done = run("apply", "-f", str(file))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == shown.stdout + "3 done\n"
    assert controller.rows["wine-1"]["options"]["workers"] == 2
    controller.calls.clear()
    for command, said in (("diff", "No differences"), ("apply", "Nothing to do")):
        again = run(command, "-f", str(file))
        assert again.exit_code == 0
        assert again.stdout == f"{said}: 2 deployments and 1 endpoint are as declared\n"
        assert json.loads(run(command, "-f", str(file), "--json").stdout) == []
    assert not controller.calls


def test_apply_waits_for_what_another_one_has_started(controller: Simulated, file: Path) -> None:
    assert run("apply", "-f", str(file)).exit_code == 0
    controller.rows["wine-1"]["state"] = "starting"
    assert run("diff", "-f", str(file)).exit_code == 0
    looks = 0

    def fails(name: str) -> Any:
        nonlocal looks
        looks += 1
        row = controller.rows[name]
        return row if looks < 3 else row | {"state": "failed", "reason": "KeyError: 'age'"}

    controller.deployment = fails  # type: ignore[method-assign]
    done = run("apply", "-f", str(file))
    assert done.exit_code == 1
    assert "wait for wine-1" in done.output
    assert "KeyError: 'age'" in done.output


def test_export_is_a_file_that_changes_nothing(controller: Simulated, tmp_path: Path) -> None:
    controller.put("wine-1", DEFAULTS | {"workers": 2})
    controller.put("wine-2", DEFAULTS)
    controller.policies["wine@champion"] = RolloutPolicy().as_dict()
    controller.held["wine@champion"] = [2]
    target = tmp_path / "exported.yaml"
    assert run("export", "-o", str(target)).exit_code == 0
    assert target.read_text() == run("export").stdout
    assert run("diff", "-f", str(target), "--prune").exit_code == 0
    assert "wine-2" not in target.read_text()


def test_prune_asks_and_leaves_what_endpoints_use(controller: Simulated, file: Path) -> None:
    for name in ("wine-1", "wine-2", "wine-3", "wine-9"):
        controller.put(name, DEFAULTS)
    controller.policies |= {"wine@champion": {}, "wine@old": {}}
    controller.held["wine@champion"] = [3]
    asked = run("apply", "-f", str(file), "--prune")
    assert asked.exit_code == 1
    assert "cannot ask: Remove wine@old, wine-9?" in asked.stderr
    assert not controller.calls
    done = run("apply", "-f", str(file), "--prune", "--yes")
    assert done.exit_code == 0, done.output
    assert controller.calls[-2:] == [("delete_endpoint", "wine@old"), ("undeploy", "wine-9")]
    assert {*controller.rows} == {"wine-1", "wine-2", "wine-3"}


def test_a_step_that_fails_stops_only_what_removes(controller: Simulated, file: Path) -> None:
    controller.broken = {"wine-2"}
    controller.put("wine-9", DEFAULTS)
    done = run("apply", "-f", str(file), "--prune", "--yes")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "2 done, 2 failed"
    assert (
        "error: + deploy wine-2: the alias champion names it: cannot deploy wine-2: it broke"
        in (done.stderr)
    )
    assert "wine-9: it is not in the file: left alone, since wine-2 failed" in done.stderr
    assert {*controller.rows} == {"wine-1", "wine-9"}
    assert "wine@champion" in controller.policies


def test_two_at_once_do_not_fail(controller: Simulated, file: Path) -> None:
    """What somebody else does between the look and the call is planned again, or done already."""
    controller.put("wine-9", DEFAULTS)
    controller.before = {
        ("deploy", "wine-1"): lambda: controller.put("wine-1", DEFAULTS | {"workers": 7}),
        ("deploy", "wine-2"): lambda: controller.put("wine-2", DEFAULTS),
        ("undeploy", "wine-9"): controller.rows.clear,
    }
    done = run("apply", "-f", str(file), "--prune", "--yes")
    assert done.exit_code == 0, done.output
    assert ("change", "wine-1") in controller.calls
    assert "- undeploy wine-9: it is not in the file (it is so already)" in done.stdout


def test_a_version_goes_only_once_its_endpoint_serves_another(
    controller: Simulated, tmp_path: Path
) -> None:
    """The endpoint takes the version over that the file no longer lists."""
    file = tmp_path / "deployments.yaml"
    file.write_text("deployments: []\nendpoints:\n- name: wine@champion\n")
    for name in ("wine-1", "wine-2"):
        controller.put(name, DEFAULTS)
    done = run("apply", "-f", str(file), "--prune", "--yes")
    assert done.exit_code == 0, done.output
    assert controller.calls == [
        ("set_endpoint", "wine@champion"),
        *[("endpoint", "wine@champion")] * 2,
        ("undeploy", "wine-1"),
    ]
    assert "- undeploy wine-2: it is not in the file (it stays: an endpoint" in done.stdout
    controller.broken, controller.held = {"wine@champion"}, {}
    file.write_text(
        "deployments: []\nendpoints:\n- {name: wine@champion, policy: {recreate: true}}\n"
    )
    failed = run("apply", "-f", str(file), "--prune", "--yes")
    assert failed.exit_code == 1
    assert "its policy is set, but version 2 was rolled back: it broke" in failed.stderr
    assert "- undeploy wine-2: it is not in the file: left alone" in failed.stderr
    assert {*controller.rows} == {"wine-2"}


def test_a_controller_that_goes_away_in_a_conflict_is_told_of(
    controller: Simulated, file: Path
) -> None:
    """The other steps are made; what removes waits for the next time."""

    def leave() -> None:
        controller.put("wine-1", DEFAULTS)
        controller.away = 1

    controller.before = {("deploy", "wine-1"): leave}
    done = run("apply", "-f", str(file))
    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "error: + deploy wine-1" in done.stderr
    assert "gone away" in done.stderr
    assert {("deploy", "wine-2"), ("set_endpoint", "wine@champion")} <= {*controller.calls}


def test_a_controller_that_goes_away_before_removals_removes_nothing(
    controller: Simulated, file: Path
) -> None:
    controller.put("wine-9", DEFAULTS)
    controller.held["wine@champion"] = [2]

    def leave() -> None:
        controller.away = 1

    controller.before = {("set_endpoint", "wine@champion"): leave}
    done = run("apply", "-f", str(file), "--prune", "--yes")
    assert done.exit_code == 1
    assert "- undeploy wine-9: it is not in the file: gone away" in done.stderr
    assert "wine-9" in controller.rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read "),
        ("deployments: {", "deployments.yaml:1: cannot read the YAML"),
        (
            "deployments:\n- {model: wine, alias: new}",
            "wine has no alias new; its aliases: champion",
        ),
    ],
)
def test_diff_tells_trouble_from_differences(
    controller: Simulated, tmp_path: Path, text: str | None, said: str
) -> None:
    file = tmp_path / "deployments.yaml"
    if text is not None:
        file.write_text(text)
    for command, status in (("diff", 2), ("apply", 1)):
        done = run(command, "-f", str(file))
        assert (done.exit_code, said in done.stderr) == (status, True)
