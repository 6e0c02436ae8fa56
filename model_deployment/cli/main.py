"""The command line: serve, demo, deploy, undeploy, list, logs, predict; users and backup are beside."""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
import uvloop
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_deployment.cli import backup
from model_deployment.cli.client import CallFailed, Client
from model_deployment.cli.users import app as users
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.settings import Settings, load, misspelt

app = typer.Typer(
    name="model-deployment",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Serve the models of an MLflow registry, one process for each deployed version.\n\n"
    "**First steps**\n\n"
    "1. `model-deployment demo` trains a small model, starts the controller and deploys it.\n\n"
    "2. `model-deployment serve` starts the controller for your own registry (`MLFLOW_TRACKING_URI`).\n\n"
    "3. `model-deployment deploy MODEL VERSION`, then `predict`, `list`, `logs`, `undeploy`.\n\n"
    "Settings come from the environment (`MODEL_DEPLOYMENT_...`); docs/reference/settings.md lists them.",
)
app.add_typer(users, name="users")
app.command()(backup.backup)
app.command()(backup.restore)

_log = logging.getLogger(__name__)
_out = Console(soft_wrap=True)
_err = Console(stderr=True, soft_wrap=True)

Url = Annotated[
    str, typer.Option("--url", help="Address of the controller (default: from the settings).")
]
Name = Annotated[str, typer.Argument(metavar="MODEL-VERSION", help="For example diabetes-1.")]

_CONTENT_TYPES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="State, logs, caches.")] = None,
    deploy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL-VERSION", help="Deploy this as well; may be given more than once."
        ),
    ] = None,
    new_state: Annotated[
        bool, typer.Option("--new-state", help="Begin anew where the state is lost or damaged.")
    ] = False,
    new_documents: Annotated[
        bool, typer.Option("--new-documents", help="The same for captures, metrics and reports.")
    ] = False,
) -> None:
    """Start the controller, and stay in the foreground until it is told to stop.

    Models that an earlier controller left running are adopted, not restarted.
    """
    settings = load(host=host, port=port, data_dir=data_dir)
    if new_state or new_documents:
        backup.begin_anew(settings.data_dir, state=new_state, documents=new_documents)
    _serve(settings, deploy or [])


@app.command()
def demo(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="State, logs, caches.")] = None,
) -> None:
    """Train and register a demo model if the registry is empty, then serve it.

    It ends with a curl line that works, and goes on serving.
    """
    settings = load(host=host, port=port, data_dir=data_dir)
    _err.print("Looking into the registry; an empty one gets a demo model (some seconds) ...")
    # Imported here: training needs scikit-learn and MLflow, which a controller does not load.
    from model_deployment.cli.demo import ensure_demo_model, why_not

    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    artifacts = None
    if settings.owns_registry:
        (settings.data_dir / "mlflow").mkdir(mode=0o700, exist_ok=True)
        artifacts = settings.data_dir / "mlflow" / "artifacts"
    try:
        ensure_demo_model(settings.tracking_uri, settings.registry_uri, artifacts)
    except Exception as error:
        _fail(f"cannot set up the demo model: {why_not(error, settings.registry_uri)}")
    # A fresh process: the controller does not carry what training has loaded.
    command = [sys.executable, "-m", "model_deployment", "serve", "--deploy", "diabetes-1"]
    for option, value in (("--host", host), ("--port", port), ("--data-dir", data_dir)):
        command += [option, str(value)] if value is not None else []
    if settings.log_format == "auto":
        # A demo is for people: its curl line must not become a string of JSON in a pipe.
        os.putenv("MODEL_DEPLOYMENT_LOG_FORMAT", "text")
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - becomes the controller itself


@app.command()
def deploy(
    model: Annotated[str, typer.Argument(help="Name of a registered model.")],
    version: Annotated[str, typer.Argument(help="Version, a whole number.")],
    env_manager: Annotated[
        str | None, typer.Option(help="local, uv, virtualenv or conda (as mlflow models serve).")
    ] = None,
    start_method: Annotated[
        str | None, typer.Option(help="auto, forkserver or serve: how its processes are started.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes.")] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="How hard requests are checked: strict, coerce or observe."),
    ] = None,
    batch_max_rows: Annotated[
        int | None,
        typer.Option(help="Send waiting requests as one call of up to so many rows; 0 is off."),
    ] = None,
    capture_rate: Annotated[
        float | None, typer.Option(help="Share of answered requests that are captured, 0 to 1.")
    ] = None,
    capture_exclude: Annotated[
        list[str] | None, typer.Option(help="Do not capture this column; may be repeated.")
    ] = None,
    capture_hash: Annotated[
        list[str] | None, typer.Option(help="Keep digests of this column only; may be repeated.")
    ] = None,
    retention_days: Annotated[
        str | None, typer.Option(help="Days that captures are kept, or a duration like 12h.")
    ] = None,
    idle_timeout: Annotated[
        str | None,
        typer.Option(help="Park it after so many seconds (or 30m) without a request; 0 is off."),
    ] = None,
    url: Url = "",
) -> None:
    """Serve a model version, and wait until it is ready."""
    client = _client(url)
    given = {
        "env_manager": env_manager,
        "start_method": start_method,
        "workers": workers,
        "validation": validation,
        "batch_max_rows": batch_max_rows,
        "capture_rate": capture_rate,
        "capture_exclude": capture_exclude or None,
        "capture_hash": capture_hash or None,
        "retention_days": retention_days,
        "idle_timeout": idle_timeout,
    }
    options = {name: value for name, value in given.items() if value is not None}

    def step() -> dict[str, Any]:
        return client.deploy(model, version, options, wait=1.0)

    row = _follow(f"deploying {model}-{version}", step, "ready")
    _out.print(
        f"{row['name']} is ready after {_seconds(row)}: {row['url']}", highlight=False, markup=False
    )
    _out.print(client.model(row["name"])["curl"], highlight=False, markup=False)


@app.command()
def undeploy(name: Name, url: Url = "") -> None:
    """Stop serving a model version; requests in flight may finish."""
    client = _client(url)
    row = _follow(f"undeploying {name}", lambda: client.undeploy(name, wait=1.0), "stopped")
    _out.print(f"{row['name']} is {row['state']}", highlight=False, markup=False)


@app.command("list")
def list_(
    stopped: Annotated[
        bool, typer.Option("--all", help="Also those that were undeployed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    url: Url = "",
) -> None:
    """Show the deployments."""
    rows = _asked(lambda: _client(url).deployed(stopped=stopped))
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    if not rows:
        _out.print("Nothing is deployed. Try: model-deployment deploy MODEL VERSION")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("NAME", "STATE", "PORT", "PID", "RESTARTS", "REASON"):
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = (row["name"], row["state"], row["port"], row["pid"], row["restarts"], row["reason"])
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in cells))
    _out.print(table, markup=False)


@app.command()
def logs(
    name: Name,
    lines: Annotated[int, typer.Option(help="Lines from the end.", min=1, max=10_000)] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    url: Url = "",
) -> None:
    """Show the end of a model's log."""
    client = _client(url)
    launch, text = _asked(lambda: client.logs(name, lines))
    sys.stdout.write(text)
    while follow:
        sys.stdout.flush()
        time.sleep(1)
        next_launch, next_text = _asked(lambda: client.logs(name, 2000))
        new = next_text if next_launch != launch else _appended(text, next_text)
        sys.stdout.write(new)
        launch, text = next_launch, next_text


@app.command()
def predict(
    name: Name,
    file: Annotated[str, typer.Argument(help="JSON, .csv or .parquet file; - for standard input.")],
    url: Url = "",
) -> None:
    """Send a file to a model and print its answer."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        _fail(f"cannot read {file}: {error.strerror}")
    content_type = _CONTENT_TYPES.get(Path(file).suffix.lower(), "application/json")
    answer = _asked(lambda: _client(url).predict(name, content, content_type))
    sys.stdout.write(answer.decode(errors="replace").rstrip("\n") + "\n")


def _serve(settings: Settings, keys: list[str]) -> None:
    # Imported here, so that the other commands do not wait for the web framework.
    from model_deployment.app.server import serve
    from model_deployment.control.controller import Choice, Controller
    from model_deployment.core.domain import State
    from model_deployment.core.hints import with_advice
    from model_deployment.core.names import ModelKey
    from model_deployment.log import lines

    as_json = lines.configure(settings.log_level, settings.log_format)
    for slip in misspelt(settings.model_env):
        _log.warning("%s", slip)

    def say(text: str) -> None:
        # Where both streams end in one place for programs to read, all of it is JSON.
        if as_json and not _out.is_terminal:
            _log.info("%s", text)
        else:
            _out.print(text, highlight=False, markup=False)

    address = settings.own_url

    async def start(controller: Controller) -> None:
        say(f"model_deployment on {address} (open it in a browser; the API: {address}/docs)")
        for text in keys:
            try:
                row = await controller.deploy(ModelKey.parse(text), Choice(), wait=3600)
                ready = row.state is State.READY
                said = f"{text} is {row.state}"
                say(said if ready else with_advice(f"{said}: {row.reason}", row.reason))
                if ready:
                    say(await asyncio.to_thread(_how_to_try, address, text))
            except (ModelDeploymentError, CallFailed) as error:
                if as_json:
                    _log.error("%s", error)
                else:
                    _err.print(str(error), markup=False)
            except Exception:  # the others are asked for all the same
                _log.exception("cannot deploy %s", text)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, started=[start]))
    except ModelDeploymentError as error:
        if not as_json:
            raise
        _log.critical("%s", error.detail)
        raise typer.Exit(1) from None


def _how_to_try(address: str, name: str) -> str:
    try:
        return f"\nTry it:\n\n{_client(address).model(name)['curl']}\n"
    except CallFailed as error:
        if error.problem.get("status") != 401:
            raise
        # There are passwords, and none was given to us.
        return f"\nTo see a line to try: curl -u NAME {address}/model/{quote(name)}\n"


def _client(url: str) -> Client:
    settings = load()
    for slip in misspelt(settings.model_env):
        _err.print(f"warning: {slip}", markup=False, highlight=False)
    given = (url or settings.client_url, settings.user, settings.password.get_secret_value())
    client: Client = _asked(lambda: Client(*given))
    return client


def _asked(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except CallFailed as error:
        for line in error.problem.get("log", []):
            _err.print(f"  | {line}", markup=False, highlight=False)
        _fail(str(error))


def _fail(message: str) -> Any:
    _err.print(f"error: {message}", markup=False, highlight=False)
    raise typer.Exit(1)


def _follow(what: str, step: Callable[[], dict[str, Any]], state: str) -> dict[str, Any]:
    """Ask again and again, showing how far it is, until it has reached a state."""
    began = time.monotonic()
    shown = ""
    with _err.status(escape(what)) as status:
        while True:
            row: dict[str, Any] = _asked(step)
            if row["state"] == state:
                return row
            progress = f"{row['state']}: {row['reason']}"
            if not _err.is_terminal and progress != shown:
                _err.print(f"{what}: {progress}", markup=False, highlight=False)
            shown = progress
            status.update(escape(f"{what}: {progress} ({time.monotonic() - began:.0f} s)"))


def _seconds(row: dict[str, Any]) -> str:
    from datetime import datetime

    began, ready = (datetime.fromisoformat(row[name]) for name in ("created_at", "ready_at"))
    return f"{(ready - began).total_seconds():.1f} s"


def _appended(before: str, after: str) -> str:
    """What a log has gained, told from two looks at its end."""
    last = before.splitlines(keepends=True)[-50:]
    position = after.rfind("".join(last)) if last else 0
    return after if position < 0 else after[position + len("".join(last)) :]
