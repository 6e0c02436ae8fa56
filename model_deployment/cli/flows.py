"""The commands for flows: from new data to a new version."""

import typer

from model_deployment.cli import flow_project, flow_runs

app = typer.Typer(
    no_args_is_help=True, help="Retrain models: a project, its settings and its runs."
)

app.command("init")(flow_project.init)
app.add_typer(flow_project.settings, name="settings")
app.command("run")(flow_runs.run)
app.command("list")(flow_runs.list_)
app.command("show")(flow_runs.show)
app.command("logs")(flow_runs.logs)
app.command("cancel")(flow_runs.cancel)
app.command("retry")(flow_runs.retry)
app.command("serve")(flow_runs.serve)
