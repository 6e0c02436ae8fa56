"""The commands that start a controller: serve, demo."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from model_deployment.cli import backup
from model_deployment.cli.output import err, fail, out
from model_deployment.core.errors import ModelDeploymentError

if TYPE_CHECKING:
    from model_deployment.control.controller import Controller
    from model_deployment.settings import Settings

_log = logging.getLogger(__name__)

Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on.")]
DataDir = Annotated[Path | None, typer.Option(help="Directory of state, logs and caches.")]


def serve(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    deploy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL-VERSION", help="Deploy this version after the start; may be repeated."
        ),
    ] = None,
    new_state: Annotated[
        bool,
        typer.Option(
            "--new-state", metavar="", help="Start with an empty state if it is lost or damaged."
        ),
    ] = False,
    new_documents: Annotated[
        bool,
        typer.Option(
            "--new-documents",
            metavar="",
            help="Start without captures, metrics and reports if these are lost.",
        ),
    ] = False,
) -> None:
    """Start the controller, and stay in the foreground until a signal stops it.

    Models that an earlier controller left running are adopted, not restarted.
    """
    from model_deployment.settings import load

    settings = load(host=host, port=port, data_dir=data_dir)
    if new_state or new_documents:
        backup.start_empty(settings.data_dir, state=new_state, documents=new_documents)
    run_controller(settings, deploy or [])


def demo(host: Host = None, port: Port = None, data_dir: DataDir = None) -> None:
    """Train and register a demo model if the registry is empty, then serve the model.

    Prints a curl line that asks the model for a prediction, and goes on serving.
    """
    from model_deployment.settings import load

    settings = load(host=host, port=port, data_dir=data_dir)
    err.print("Reading the registry; an empty one gets a demo model (some seconds) ...")
    # Imported here: training needs scikit-learn and MLflow, which a controller does not load.
    from model_deployment.cli.demo import ensure_demo_model, explain_failure

    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    artifacts = None
    if settings.owns_registry:
        (settings.data_dir / "mlflow").mkdir(mode=0o700, exist_ok=True)
        artifacts = settings.data_dir / "mlflow" / "artifacts"
    try:
        ensure_demo_model(settings.tracking_uri, settings.registry_uri, artifacts)
    except Exception as error:
        fail(f"cannot set up the demo model: {explain_failure(error, settings.registry_uri)}")
    # A fresh process: the controller does not carry what training has loaded.
    command = [sys.executable, "-m", "model_deployment", "serve", "--deploy", "diabetes-1"]
    for option, value in (("--host", host), ("--port", port), ("--data-dir", data_dir)):
        command += [option, str(value)] if value is not None else []
    if settings.log_format == "auto":
        # A demo is for people: in a pipe, its curl line must not become a string of JSON.
        os.putenv("MODEL_DEPLOYMENT_LOG_FORMAT", "text")
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - becomes the controller itself


def run_controller(settings: "Settings", names: list[str]) -> None:
    """Run a controller until a signal stops it.

    Args:
        names: ``<model>-<version>``, deployed one after the other once the controller listens.
    """
    # Imported here, so that the other commands do not wait for the web framework.
    import uvloop

    from model_deployment.app.server import serve
    from model_deployment.log import lines
    from model_deployment.settings import misspelt

    as_json = lines.configure(settings.log_level, settings.log_format)
    for slip in misspelt(settings.model_env):
        _log.warning("%s", slip)

    def say(text: str) -> None:
        # Where both streams end in one place for programs to read, all of it is JSON.
        if as_json and not out.is_terminal:
            _log.info("%s", text)
        else:
            out.print(text)

    def complain(text: str) -> None:
        if as_json:
            _log.error("%s", text)
        else:
            err.print(text)

    async def start(controller: "Controller") -> None:
        address = settings.own_url
        say(f"model_deployment on {address} (open it in a browser; the API: {address}/docs)")
        for name in names:
            await _deploy(controller, name, settings, say, complain)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, started=[start]))
    except ModelDeploymentError as error:
        if not as_json:
            raise
        _log.critical("%s", error.detail)
        raise typer.Exit(1) from None


async def _deploy(
    controller: "Controller",
    name: str,
    settings: "Settings",
    say: Callable[[str], None],
    complain: Callable[[str], None],
) -> None:
    from model_deployment.client import ClientError
    from model_deployment.core.domain import State
    from model_deployment.core.hints import with_advice
    from model_deployment.core.names import ModelKey
    from model_deployment.core.options import OptionOverrides

    try:
        row = await controller.deploy(ModelKey.parse(name), OptionOverrides(), wait=3600)
        if row.state is State.READY:
            say(f"{name} is ready")
            say(await asyncio.to_thread(_how_to_try, settings, name))
        else:
            say(with_advice(f"{name} is {row.state}: {row.reason}", row.reason))
    except (ModelDeploymentError, ClientError) as error:
        complain(str(error))
    except Exception:  # the other deployments start all the same
        _log.exception("cannot deploy %s", name)


def _how_to_try(settings: "Settings", name: str) -> str:
    from model_deployment.client import ApiError, Client

    address = settings.own_url
    password = settings.password.get_secret_value()
    try:
        with Client(address, settings.user, password) as client:
            return f"\nTry it:\n\n{client.deployment(name)['curl']}\n"
    except ApiError as error:
        if error.status != 401:
            raise
        # Calls need a password, and this process has none.
        return f"\nTo get a command to try: curl -u NAME {address}/model/{quote(name)}\n"
