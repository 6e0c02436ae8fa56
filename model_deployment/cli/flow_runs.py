"""The commands for runs of flows: run, look, follow, cancel, and the service that carries them out."""

import os
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_deployment.cli import figures
from model_deployment.cli.connection import AsJson, Url, controller_at
from model_deployment.cli.flow_result_view import result_lines
from model_deployment.cli.output import (
    INTERRUPTED,
    answer_of,
    err,
    fail,
    out,
    print_json,
    print_table,
    print_text,
)

if TYPE_CHECKING:
    from model_deployment.client import Client
    from model_deployment.client.answers import FlowLogLine, FlowRun, FlowRunSummary

#: Seconds between two looks at a run; lines of a log that one call answers.
_EVERY, _LINES = 1.0, 200
_ENDED = ("completed", "failed", "crashed", "cancelled")

Id = Annotated[str, typer.Argument(metavar="RUN", help="As `flows list` shows it.")]
Follow = Annotated[
    bool,
    typer.Option(
        "--follow",
        "-f",
        metavar="",
        help="Print the log until the run ends; status 1 if it failed.",
    ),
]


def run(
    flow: Annotated[
        str,
        typer.Argument(
            metavar="FLOW", help="data_flow, train_flow, eval_flow, deploy_flow or full_flow."
        ),
    ],
    experiment: Annotated[
        str, typer.Option("--experiment", "-e", metavar="NAME", help="Of settings.yaml.")
    ],
    data: Annotated[
        str | None,
        typer.Option(metavar="SHA256", help="A version of the training data, or original."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", metavar="", help="Findings about the data do not stop it.")
    ] = False,
    model_type: Annotated[str | None, typer.Option(help="A model type, or auto.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of the study.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds of the study.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs; time series only.")] = None,
    version: Annotated[int | None, typer.Option(help="To evaluate, or to hand over.")] = None,
    wait: Annotated[float | None, typer.Option(help="Seconds to wait for the rollout.")] = None,
    follow: Follow = False,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Run a flow of an experiment."""
    client = controller_at(url)
    given: dict[str, Any] = {
        "data": data,
        "force": force or None,
        "model_type": model_type,
        "trials": trials,
        "timeout": timeout,
        "epochs": epochs,
        "version": version,
        "wait": wait,
    }
    _begun(client, answer_of(lambda: client.run_flow(flow, experiment, **given)), follow, as_json)


def retry(run: Id, follow: Follow = False, as_json: AsJson = False, url: Url = "") -> None:
    """Run again, with the same parameters."""
    client = controller_at(url)
    _begun(client, answer_of(lambda: client.retry_flow_run(run)), follow, as_json)


def list_(
    experiment: Annotated[str | None, typer.Option(help="Only of this experiment.")] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Number of newest ones.")] = 20,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show runs, newest first."""
    chosen: Any = {"experiment": experiment, "state": state, "limit": limit}
    found = answer_of(lambda: controller_at(url).flow_runs(**chosen))
    if as_json:
        print_json(found)
        return
    if not found:
        out.print("There are no runs. Try: model-deployment flows run full_flow -e EXPERIMENT")
        return
    columns = ("RUN", "FLOW", "EXPERIMENT", "STATE", "ASKED", "BY", "TOOK", "MESSAGE")
    print_table(columns, (_row(one) for one in found))


def show(run: Id, as_json: AsJson = False, url: Url = "") -> None:
    """Show a run: its state, its tasks, its result."""
    found = answer_of(lambda: controller_at(url).flow_run(run))
    if as_json:
        print_json(found)
        return
    _print_run(found)


def logs(
    run: Id,
    follow: Follow = False,
    prefect: Annotated[
        bool,
        typer.Option("--prefect", metavar="", help="With what Prefect writes of itself."),
    ] = False,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show the log of a run."""
    client = controller_at(url)
    if follow:
        _follow(client, run, prefect)
        return
    lines = _log_from(client, run, 0, prefect)
    if as_json:
        print_json(lines)
        return
    for line in lines:
        print_text(_spelled(line))


def cancel(run: Id, as_json: AsJson = False, url: Url = "") -> None:
    """Cancel a run."""
    found = answer_of(lambda: controller_at(url).cancel_flow_run(run))
    if as_json:
        print_json(found)
        return
    out.print(f"{found['id']} is {found['state']}")


def serve() -> None:
    """Run the service of flows in the foreground, in the flows' environment.

    The controller starts it itself where something has to run; this is for a machine or a container of its
    own, and to see what it says.
    """
    from model_deployment.credentials import service_user
    from model_deployment.runtime.flow_service import PROGRAM
    from model_deployment.settings import load
    from model_deployment.settings.flows_environment import flows_environment

    settings = load()
    if settings.flows_project is None:
        fail(
            "cannot serve flows: no project is set. `model-deployment flows init FOLDER` writes one; set "
            "MODEL_DEPLOYMENT_FLOWS_PROJECT=FOLDER then",
            2,
        )
    python = settings.python_of_flows
    if not os.access(python, os.X_OK):
        fail(
            f"cannot serve flows: there is no Python of the flows' environment at {python}; `make flows` "
            "makes the environment, MODEL_DEPLOYMENT_FLOWS_PYTHON names another one",
            2,
        )
    password = service_user.ensure(settings.credentials, settings.flows_dir)
    os.execve(python, [str(python), *PROGRAM], flows_environment(settings, password))  # noqa: S606


def _begun(client: "Client", made: "FlowRun", follow: bool, as_json: bool) -> None:
    if as_json and not follow:
        print_json(made)
        return
    err.print(f"{made['flow']} of {made['experiment']} is requested: run {made['id']}")
    if follow:
        _follow(client, made["id"])
    else:
        out.print(f"Look: model-deployment flows logs {made['id']} --follow")


def _follow(client: "Client", run: str, prefect: bool = False) -> None:
    """Print the log of a run until it ends, and then what became of it."""
    seen, before = 0, ""
    try:
        while True:
            found = answer_of(lambda: client.flow_run(run))
            said = f"{found['state']}: {found['message']}" if found["message"] else found["state"]
            if said != before and found["state"] not in _ENDED:
                err.print(said)
            before = said
            lines = _log_from(client, run, seen, prefect) if found["run_id"] else []
            for line in lines:
                print_text(_spelled(line))
            seen += len(lines)
            if found["state"] in _ENDED:
                break
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        err.print(f"\nthe run goes on; model-deployment flows cancel {run} ends it")
        raise typer.Exit(INTERRUPTED) from None
    _print_run(found)
    if found["state"] != "completed":
        raise typer.Exit(1)


def _log_from(client: "Client", run: str, offset: int, prefect: bool) -> "list[FlowLogLine]":
    """All lines from an offset on; none while the service of flows does not answer."""
    from model_deployment.client.errors import ApiError

    lines: list[FlowLogLine] = []
    while True:
        try:
            page = client.flow_log(run, offset=offset + len(lines), limit=_LINES, prefect=prefect)
        except ApiError as error:
            if error.status == 503 and offset:
                return lines
            fail(str(error))
        lines += page
        if len(page) < _LINES:
            return lines


def _spelled(line: "FlowLogLine") -> str:
    return f"{figures.at(line['at'])} {line['level']:<7} {line['message']}"


def _row(one: "FlowRunSummary") -> tuple[Any, ...]:
    return (
        one["id"],
        one["flow"],
        one["experiment"],
        one["state"],
        figures.at(one["requested_at"]),
        one["requested_by"],
        _seconds(one["started_at"], one["ended_at"]),
        one["message"][:80],
    )


def _print_run(found: "FlowRun") -> None:
    out.print(f"{found['flow']} of {found['experiment']}: {found['state']} (run {found['id']})")
    if found["message"]:
        out.print(found["message"])
    parameters = {
        name: value for name, value in found["parameters"].items() if name != "experiment"
    }
    if parameters:
        out.print("given: " + ", ".join(f"{name}={value}" for name, value in parameters.items()))
    print_table(
        ("TASK", "STATE", "STARTED", "TOOK", "TRIES"),
        (
            (
                one["name"],
                one["state"],
                figures.at(one["started_at"]),
                _seconds(one["started_at"], one["ended_at"]),
                one["attempts"],
            )
            for one in found["tasks"]
        ),
    )
    for line in result_lines(found["flow"], found["result"]):
        print_text(line)


def _seconds(start: str | None, end: str | None) -> str:
    """How long something took, or has taken so far."""
    if start is None:
        return ""
    if end is None:
        return figures.since(start)
    took = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return f"{took.total_seconds():.1f}s"
