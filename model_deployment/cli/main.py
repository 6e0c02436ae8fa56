"""All commands of ``model-deployment``."""

import typer

from model_deployment.cli import backup, deployments, endpoints, serve, users

app = typer.Typer(
    name="model-deployment",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Serve the models of an MLflow registry, one process for each deployed version.\n\n"
    "**First steps**\n\n"
    "1. `model-deployment demo` trains a small model, starts the controller and deploys the model.\n\n"
    "2. `model-deployment serve` starts the controller for your own registry (`MLFLOW_TRACKING_URI`).\n\n"
    "3. `model-deployment deploy MODEL VERSION`, then `predict`, `list`, `logs`, `undeploy`.\n\n"
    "4. `model-deployment endpoint set MODEL@ALIAS` serves what an alias of the registry names.\n\n"
    "Settings come from the environment (`MODEL_DEPLOYMENT_...`); docs/reference/settings.md lists them.",
)
for command in (
    serve.serve,
    serve.demo,
    deployments.deploy,
    deployments.undeploy,
    deployments.list_,
    deployments.logs,
    deployments.predict,
    backup.backup,
    backup.restore,
):
    app.command(command.__name__.strip("_"))(command)
app.add_typer(endpoints.app, name="endpoint")
app.add_typer(users.app, name="users")
