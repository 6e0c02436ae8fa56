"""Runs commands, for a controller or with the address of none."""

import os
import subprocess
import sys

from typer.testing import CliRunner, Result

from model_deployment.cli import connection
from model_deployment.cli.main import app
from tests.support import one_command_line  # noqa: F401
from tests.support.harness import HOST, Controller
from tests.support.ports import free_port

Done = subprocess.CompletedProcess[str]


def run(controller: Controller | None, *arguments: str, stdin: str = "") -> Done:
    """Run a command as a program. No command ends with the trace of an exception of ours."""
    environment = controller.environment() if controller else dict(os.environ)
    if controller is None:
        environment["MODEL_DEPLOYMENT_URL"] = f"http://{HOST}:{free_port()}"
    done = subprocess.run(
        [sys.executable, "-m", "model_deployment", *arguments],
        env=environment | {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "\nTraceback" not in f"\n{done.stderr}"  # but those of models, which are marked
    return done


def run_here(controller: Controller | None, *arguments: str, stdin: str = "") -> Result:
    """Run a command in this process: a program of its own takes most of a second to start."""
    url = controller.url if controller else f"http://{HOST}:{free_port()}"
    given = () if "--url" in arguments else ("--url", url)
    try:
        return CliRunner().invoke(app, [*arguments, *given], input=stdin)
    finally:
        connection.clients.close()
