"""The commands that call a running controller: deploy, undeploy, list, logs, predict."""

import inspect
import json
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from model_deployment.cli.client import Client, client_from
from model_deployment.cli.output import answer_of, err, fail, out
from model_deployment.core.options import Declaration, Options
from model_deployment.settings import load, misspelt

Url = Annotated[
    str, typer.Option("--url", help="Address of the controller (default: from the settings).")
]
Name = Annotated[str, typer.Argument(metavar="MODEL-VERSION", help="For example diabetes-1.")]

_CONTENT_TYPES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}


def with_option_flags(options: type[Options]) -> Callable[[Callable[..., None]], Any]:
    """Give a command ``(…, url, **flags)`` one flag for each deploy option; a flag not given is None."""

    def decorate(command: Callable[..., None]) -> Any:
        signature = inspect.signature(command)
        *arguments, url, _ = signature.parameters.values()
        flags = [
            url.replace(name=name, default=None, annotation=_flag(one))
            for name, one in options.declarations().items()
        ]
        made = signature.replace(parameters=[*arguments, *flags, url])
        command.__signature__ = made  # type: ignore[attr-defined]
        return command

    return decorate


def _flag(one: Declaration) -> Any:
    """The annotation of a flag: enumerations and durations stay text, which the controller reads."""
    if one.is_list:
        return Annotated[
            list[str] | None, typer.Option(help=f"{one.description} One column; may be repeated.")
        ]
    if one.is_duration:
        return Annotated[str | None, typer.Option(help=f"{one.description} Or text like `12h`.")]
    if one.words:
        read = _number_or_word(one.words)
        return Annotated[Any, typer.Option(help=one.description, parser=read, metavar="VALUE")]
    return Annotated[(str if one.choices else one.kind) | None, typer.Option(help=one.description)]


def _number_or_word(words: tuple[str, ...]) -> Callable[[str], int | str]:
    def read(text: str) -> int | str:
        if text in words:
            return text
        try:
            return int(text)
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is neither a whole number nor {' or '.join(words)}"
            ) from None

    return read


@with_option_flags(Options)
def deploy(
    model: Annotated[str, typer.Argument(help="Name of a registered model.")],
    version: Annotated[str, typer.Argument(help="Version, a whole number.")],
    url: Url = "",
    **flags: Any,
) -> None:
    """Serve a model version, and wait until it is ready."""
    client = controller_at(url)
    options = {name: value for name, value in flags.items() if value not in (None, [])}

    def step() -> dict[str, Any]:
        return client.deploy(model, version, options, wait=1.0)

    row = _follow(f"deploying {model}-{version}", step, "ready")
    out.print(f"{row['name']} is ready after {_seconds(row)}: {row['url']}")
    shown = client.model(row["name"])
    if merging := shown["serving"]["merging"]:
        how = f"up to {merging['max_rows']} rows" if merging["max_rows"] else "no"
        out.print(f"Requests merged: {how}; {merging['reason']}")
    out.print(shown["curl"])


def undeploy(name: Name, url: Url = "") -> None:
    """Stop serving a model version; requests in flight may finish."""
    client = controller_at(url)
    row = _follow(f"undeploying {name}", lambda: client.undeploy(name, wait=1.0), "stopped")
    out.print(f"{row['name']} is {row['state']}")


def list_(
    stopped: Annotated[
        bool, typer.Option("--all", help="Include undeployed model versions.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    url: Url = "",
) -> None:
    """Show the deployments."""
    rows = answer_of(lambda: controller_at(url).deployed(stopped=stopped))
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    if not rows:
        out.print("Nothing is deployed. Try: model-deployment deploy MODEL VERSION")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("NAME", "STATE", "PORT", "PID", "RESTARTS", "REASON"):
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = (row["name"], row["state"], row["port"], row["pid"], row["restarts"], row["reason"])
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    out.print(table)


def logs(
    name: Name,
    lines: Annotated[int, typer.Option(help="Number of last lines.", min=1, max=10_000)] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines too.")] = False,
    url: Url = "",
) -> None:
    """Show the end of a model's log."""
    client = controller_at(url)
    launch, text = answer_of(lambda: client.logs(name, lines))
    sys.stdout.write(text)
    while follow:
        sys.stdout.flush()
        time.sleep(1)
        next_launch, next_text = answer_of(lambda: client.logs(name, 2000))
        sys.stdout.write(next_text if next_launch != launch else _appended(text, next_text))
        launch, text = next_launch, next_text


def predict(
    name: Name,
    file: Annotated[str, typer.Argument(help="JSON, .csv or .parquet file; - for standard input.")],
    url: Url = "",
) -> None:
    """Send a file to a model and print the answer."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")
    content_type = _CONTENT_TYPES.get(Path(file).suffix.lower(), "application/json")
    answer = answer_of(lambda: controller_at(url).predict(name, content, content_type))
    sys.stdout.write(answer.decode(errors="replace").rstrip("\n") + "\n")


def controller_at(url: str) -> Client:
    """A client of the controller at an address, or of the one in the settings."""
    settings = load()
    for slip in misspelt(settings.model_env):
        err.print(f"warning: {slip}")
    return answer_of(lambda: client_from(settings, url))


def _follow(what: str, step: Callable[[], dict[str, Any]], state: str) -> dict[str, Any]:
    """Call the controller until the deployment has reached a state, and show the progress."""
    began = time.monotonic()
    shown = ""
    with err.status(escape(what)) as status:
        while True:
            row = answer_of(step)
            if row["state"] == state:
                return row
            progress = f"{row['state']}: {row['reason']}"
            if not err.is_terminal and progress != shown:
                err.print(f"{what}: {progress}")
            shown = progress
            status.update(escape(f"{what}: {progress} ({time.monotonic() - began:.0f} s)"))


def _seconds(row: dict[str, Any]) -> str:
    began, ready = (datetime.fromisoformat(row[name]) for name in ("created_at", "ready_at"))
    return f"{(ready - began).total_seconds():.1f} s"


def _appended(before: str, after: str) -> str:
    """What a log has gained between two reads of its end."""
    last = before.splitlines(keepends=True)[-50:]
    position = after.rfind("".join(last)) if last else 0
    return after if position < 0 else after[position + len("".join(last)) :]
