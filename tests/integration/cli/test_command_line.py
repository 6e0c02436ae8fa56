"""The command line against a running controller, and against none."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model_deployment.cli.main import app
from tests.support.command_line import run, run_here
from tests.support.harness import Controller, Controllers
from tests.support.waiting import until_sync


def test_help_tells_what_can_be_done_and_how_to_begin() -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["--help"])
    assert done.exit_code == 0
    for command in (
        "serve",
        "demo",
        "deploy",
        "undeploy",
        "list",
        "logs",
        "predict",
        "endpoint",
        "backup",
        "restore",
    ):
        assert command in done.stdout
        one = runner.invoke(app, [command, "--help"])
        assert one.exit_code == 0
        assert "Usage: " in one.stdout
    assert "model-deployment demo" in done.stdout
    assert "MLFLOW_TRACKING_URI" in done.stdout


def test_a_program_without_a_controller_ends_with_status_1() -> None:
    done = run(None, "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: cannot reach the controller at http://127.0.0.1:")


def test_unknown_command_is_a_usage_error() -> None:
    for arguments in (
        ["destroy"],
        ["deploy", "stub"],
        ["logs", "--lines", "x"],
        ["deploy", "stub", "1", "--env-manager", "docker"],
        ["undeploy"],
    ):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2
        assert "Usage: " in done.stderr


@pytest.mark.parametrize(
    "arguments", [["list"], ["deploy", "stub", "1"], ["undeploy", "stub-1"], ["logs", "stub-1"]]
)
def test_without_a_controller_it_says_how_to_start_one(arguments: list[str]) -> None:
    done = run_here(None, *arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: cannot reach the controller at http://127.0.0.1:")
    assert "model-deployment serve" in done.stderr


def test_commands_deploy_predict_log_and_undeploy(controller: Controller, tmp_path: Path) -> None:
    assert "Nothing is deployed" in run_here(controller, "list").stdout
    deployed = run(controller, "deploy", "slow-start", "3", "--workers", "2")
    assert deployed.returncode == 0
    assert "slow-start-3 is ready after " in deployed.stdout
    assert f"{controller.url}/slow-start-3" in deployed.stdout
    assert "curl -X POST" in deployed.stdout
    assert "deploying slow-start-3: starting" in deployed.stderr  # the progress
    assert controller.row("slow-start-3")["options"]["workers"] == 2

    listed = run_here(controller, "list")
    port = controller.row("slow-start-3")["port"]
    heading, line = (line.split() for line in listed.stdout.splitlines())
    assert heading == ["NAME", "STATE", "UP", "RESTARTS", "PORT", "OPTIONS", "REASON"]
    assert [*line[:2], *line[3:]] == [
        *("slow-start-3", "ready", "0", str(port)),
        *("start_method=serve", "workers=2", "-"),
    ]
    assert json.loads(run_here(controller, "list", "--json").stdout)[0]["name"] == "slow-start-3"

    file = tmp_path / "rows.json"
    file.write_text('{"inputs": [1, 2]}')
    for predicted in (
        run_here(controller, "predict", "slow-start-3", str(file)),
        run_here(controller, "predict", "slow-start-3", "-", stdin=file.read_text()),
    ):
        assert predicted.exit_code == 0
        assert json.loads(predicted.stdout)["predictions"] == [1, 2]

    assert "stub: loading" in run_here(controller, "logs", "slow-start-3").stdout
    assert (
        len(run_here(controller, "logs", "slow-start-3", "--lines", "1").stdout.splitlines()) == 1
    )

    undeployed = run_here(controller, "undeploy", "slow-start-3")
    assert (undeployed.exit_code, undeployed.stdout) == (0, "slow-start-3 is stopped\n")
    assert "Nothing is deployed" in run_here(controller, "list").stdout
    assert "slow-start-3" in run_here(controller, "list", "--all").stdout


def test_refusals_are_told_in_the_controllers_words(controller: Controller) -> None:
    controller.deploy("stub-1")
    for arguments, words in {
        ("deploy", "nothing", "1"): "error: cannot look up nothing-1",
        ("deploy", "$(id)", "1"): "error: cannot use the model name '$(id)'",
        ("deploy", "stub", "01"): "error: cannot use the version '01'",
        (
            "deploy",
            "stub",
            "1",
            "--workers",
            "7",
        ): "error: cannot deploy stub-1 with other options: --workers is 1 there, not 7",
        (
            "deploy",
            "stub",
            "1",
            "--workers",
            "0",
        ): "error: cannot use --workers: it must be greater than or equal to 1",
        ("undeploy", "other-9"): "error: cannot find other-9: it is not deployed; deploy it with: "
        "model-deployment deploy other 9",
        ("undeploy", "other"): "error: cannot find 'other'",
        ("logs", "other-9"): "error: cannot find other-9",
        ("predict", "other-9", "/dev/null"): "error: cannot find other-9",
        ("predict", "stub-1", "/nonexistent/rows"): "error: cannot read /nonexistent/rows: No such",
    }.items():
        done = run_here(controller, *arguments)
        assert (done.exit_code, done.stdout) == (1, ""), arguments
        assert done.stderr.splitlines()[-1].startswith(words), arguments


def test_a_deploy_can_be_left_alone(controller: Controller) -> None:
    begun = run_here(controller, "deploy", "slow-start", "3", "--no-wait")
    assert (begun.exit_code, begun.stderr) == (0, "")
    assert begun.stdout.endswith("; look with 'model-deployment logs slow-start-3 --follow'\n")
    late = run_here(controller, "deploy", "slow-start", "4", "--timeout", "0")
    assert late.exit_code == 1
    assert "cannot wait for slow-start-4 longer than 0 s (" in late.stderr
    command = [sys.executable, "-m", "model_deployment", "deploy", "never-ready", "4"]
    environment = controller.environment()
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        lines = [waiting.stderr.readline()]
        waiting.send_signal(signal.SIGINT)
        lines += waiting.stderr.readlines()
    assert lines[0].startswith("deploying never-ready-4: ")
    assert lines[-1].startswith("never-ready-4 goes on without this command; look with 'model-dep")
    assert waiting.returncode == 130
    stopped = run_here(controller, "undeploy", "--all", "--yes", "--json")
    assert stopped.exit_code == 0
    assert sorted(row["name"] for row in json.loads(stopped.stdout)) == [
        *("never-ready-4", "slow-start-3", "slow-start-4"),
    ]


def test_a_deployment_that_fails_ends_with_its_last_log_lines(controllers: Controllers) -> None:
    controller = controllers(TRIES=1).up()
    done = run_here(controller, "deploy", "fails", "1")
    assert done.exit_code == 1
    assert "  | stub: cannot load model" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: cannot deploy fails-1: the process")


def test_a_log_can_be_followed_through_a_restart(controller: Controller) -> None:
    pid = controller.deploy("slow-1")["pid"]
    with (
        subprocess.Popen(
            [sys.executable, "-m", "model_deployment", "logs", "slow-1", "--follow"],
            env=controller.environment(),
            stdout=subprocess.PIPE,
            text=True,
        ) as follow,
        ThreadPoolExecutor() as pool,
    ):
        lines: list[str] = []
        assert follow.stdout is not None
        reading = pool.submit(lines.extend, follow.stdout)
        try:
            until_sync(lambda: sum("stub: listening" in line for line in lines) == 1)
            controller.predict("slow-1")
            until_sync(lambda: any("stub: spam" in line for line in lines))
            os.kill(pid, signal.SIGKILL)
            until_sync(lambda: sum("stub: listening" in line for line in lines) == 2)
        finally:
            follow.terminate()
            reading.result()
    assert sum("stub: loading" in line for line in lines) == 2


def test_settings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "MODEL_DEPLOYMENT_DATA_DIR": str(tmp_path / "data"),
        "MODEL_DEPLOYMENT_PORTS": "8001",
        "MODEL_DEPLOYMENT_TRIES": "none",
    }
    done = subprocess.run(
        [sys.executable, "-m", "model_deployment", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot use MODEL_DEPLOYMENT_PORTS='8001': write a range" in done.stderr
    assert "cannot use MODEL_DEPLOYMENT_TRIES='none': write a whole number" in done.stderr
    assert not (tmp_path / "data").exists()


def test_serve_deploys_what_it_is_told_to(controllers: Controllers) -> None:
    controller = controllers()
    controller.arguments = ["--deploy", "stub-1", "--deploy", "nothing-1"]
    controller.up()
    until_sync(lambda: "Try it:" in controller.logged(), timeout=30)
    assert "stub-1 is ready" in controller.logged()
    assert f"curl -X POST {controller.url}/stub-1" in controller.logged()
    until_sync(lambda: "nothing-1" in controller.logged(), timeout=30)
    assert controller.row("stub-1")["state"] == "ready"


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_an_ipv6_address_is_served_on_and_found(controllers: Controllers) -> None:
    controller = controllers(HOST="::1")
    controller.arguments = ["--deploy", "stub-1"]
    controller.up()
    until_sync(lambda: "Try it:" in controller.logged(), timeout=30)
    address = f"http://[::1]:{controller.port}"
    assert (
        f"model_deployment on {address} (open it in a browser; the API: {address}/docs)"
        in controller.logged()
    )
    assert f"curl -X POST '{address}/stub-1'" in controller.logged()  # quoted for the shell
    listed = run(controller, "list")
    assert listed.returncode == 0
    assert "stub-1" in listed.stdout


@pytest.mark.parametrize("url", ["http://::1:8000", "http://[::1:8000", "http://here:port", "here"])
@pytest.mark.parametrize("arguments", [["list"], ["deploy", "m", "1"], ["undeploy", "m-1"]])
def test_invalid_url_of_the_controller_is_named(url: str, arguments: list[str]) -> None:
    done = run_here(None, *arguments, "--url", url)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: cannot ")
    assert url in done.stderr


#: A controller with something beside it that fails, which then stops the controller.
BESIDE = """
import asyncio, os, signal
from model_deployment.log import lines
from model_deployment.app import server
from model_deployment.settings import Settings

async def fail(controller):
    os.kill(os.getpid(), signal.SIGTERM)
    raise ZeroDivisionError("beside")

lines.configure("INFO")
asyncio.run(server.serve(Settings(), started=[fail]))
"""


def test_failed_background_task_is_logged(controllers: Controllers) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BESIDE],
        env=controllers().environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "a background task of the controller failed" in done.stderr
    assert "ZeroDivisionError: beside" in done.stderr
