"""Checks and analyses new data against the original."""

from __future__ import annotations

from typing import Any

from prefect import flow


@flow(name="data_flow", flow_run_name="data of {experiment}")
def data_flow(experiment: str, data: str | None = None, force: bool = False) -> dict[str, Any]:
    """Analyse a version of the data beside the original data.

    Args:
        experiment: of the project.
        data: SHA-256 of the version; without it the newest one, else the original data.
        force: go on with data that have findings of severity *error*.
    """
    from model_deployment_flows.run_context import RunContext
    from model_deployment_flows.steps.examine import examine
    from model_deployment_flows.tasks import leave_result

    context = RunContext.open(experiment)
    return examine(context, context.data(data), force=force, leave=leave_result)
