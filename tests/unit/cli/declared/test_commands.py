"""The commands apply, diff and export against a simulated controller."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from model_deployment.cli.declared import apply as applying
from model_deployment.cli.declared import commands
from model_deployment.cli.main import app
from model_deployment.core.rollout_policy import RolloutPolicy
from tests.support.simulated_controller import DEFAULTS, SimulatedController


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> SimulatedController:
    found = SimulatedController()
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


def test_apply_does_what_diff_shows_and_then_nothing(
    controller: SimulatedController, file: Path
) -> None:
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


def test_apply_waits_for_what_another_one_has_started(
    controller: SimulatedController, file: Path
) -> None:
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


def test_export_is_a_file_that_changes_nothing(
    controller: SimulatedController, tmp_path: Path
) -> None:
    controller.put("wine-1", DEFAULTS | {"workers": 2})
    controller.put("wine-2", DEFAULTS)
    controller.policies["wine@champion"] = RolloutPolicy().as_dict()
    controller.held["wine@champion"] = [2]
    target = tmp_path / "exported.yaml"
    assert run("export", "-o", str(target)).exit_code == 0
    assert target.read_text() == run("export").stdout
    assert run("diff", "-f", str(target), "--prune").exit_code == 0
    assert "wine-2" not in target.read_text()


def test_prune_asks_and_leaves_what_endpoints_use(
    controller: SimulatedController, file: Path
) -> None:
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


def test_a_step_that_fails_stops_only_what_removes(
    controller: SimulatedController, file: Path
) -> None:
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


def test_two_at_once_do_not_fail(controller: SimulatedController, file: Path) -> None:
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
    controller: SimulatedController, tmp_path: Path
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
    controller: SimulatedController, file: Path
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
    controller: SimulatedController, file: Path
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
    controller: SimulatedController, tmp_path: Path, text: str | None, said: str
) -> None:
    file = tmp_path / "deployments.yaml"
    if text is not None:
        file.write_text(text)
    for command, status in (("diff", 2), ("apply", 1)):
        done = run(command, "-f", str(file))
        assert (done.exit_code, said in done.stderr) == (status, True)
