"""All commands of ``model-deployment``."""

from typing import Annotated

import typer

from model_deployment import __version__
from model_deployment.cli import (
    backup,
    changes,
    controller,
    deployments,
    devices,
    endpoints,
    flows,
    logs,
    monitoring,
    predictions,
    projects,
    registry,
    registry_move,
    releases,
    serve,
    timeseries,
    top,
    training_data,
    users,
)
from model_deployment.cli.declared import commands as declared

app = typer.Typer(
    name="model-deployment",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Serve the models of an MLflow registry, one process for each deployed version.\n\n"
    "**First steps**\n\n"
    "1. `model-deployment demo` trains a small model, starts the controller and deploys the model.\n\n"
    "2. `model-deployment serve` starts the controller for your own registry (`MLFLOW_TRACKING_URI`).\n\n"
    "3. `model-deployment deploy MODEL VERSION`, then `predict`, `list`, `logs`, `undeploy`.\n\n"
    "4. `model-deployment endpoint set MODEL@ALIAS` serves what an alias of the registry names.\n\n"
    "5. `model-deployment apply -f deployments.yaml` serves what a file declares.\n\n"
    "Exit status: 0 done; 1 failed, or `diff` found differences; 2 the command or a setting cannot be "
    "used, or `diff` failed; 130 interrupted.\n\n"
    "Settings come from the environment (`MODEL_DEPLOYMENT_...`); docs/reference/settings.md lists them. "
    "`--install-completion` teaches the shell to complete names.",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"model-deployment {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_print_version,
            is_eager=True,
            help="Print the version.",
        ),
    ] = False,
) -> None: ...


_PANELS = {
    "Start": (serve.serve, serve.demo),
    "Deployments": (
        deployments.list_,
        top.top,
        deployments.describe,
        changes.deploy,
        changes.undeploy,
        changes.restart,
        changes.scale,
        changes.park,
        logs.logs,
        logs.launches,
        logs.errors,
        deployments.events,
    ),
    "Declared in a file": (declared.apply, declared.diff, declared.export),
    "Models": (
        registry.models,
        registry.versions,
        monitoring.compare,
        monitoring.metrics,
        monitoring.report,
        predictions.predict,
        timeseries.predict_timeseries,
        predictions.feedback,
        training_data.upload_data,
    ),
    "Controller": (
        controller.status,
        controller.open_,
        backup.backup,
        backup.restore,
        registry_move.move_registry,
    ),
}
for panel, commands in _PANELS.items():
    for command in commands:
        app.command(command.__name__.strip("_").replace("_", "-"), rich_help_panel=panel)(command)
app.add_typer(endpoints.app, name="endpoint", rich_help_panel="Deployments")
app.add_typer(projects.app, name="project", rich_help_panel="Devices at the edge")
app.add_typer(devices.app, name="device", rich_help_panel="Devices at the edge")
app.add_typer(releases.app, name="release", rich_help_panel="Devices at the edge")
app.add_typer(flows.app, name="flows", rich_help_panel="Models")
app.add_typer(training_data.app, name="datasets", rich_help_panel="Models")
app.add_typer(users.app, name="users", rich_help_panel="Controller")
