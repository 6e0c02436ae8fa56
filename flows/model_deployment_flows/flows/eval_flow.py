"""Compares a version with the champion on data that the training never saw."""

from __future__ import annotations

from typing import Any

from prefect import flow


@flow(name="eval_flow", flow_run_name="evaluate {experiment}")
def eval_flow(
    experiment: str, data: str | None = None, version: int | None = None
) -> dict[str, Any]:
    """Judge a version beside the champion; if it passes, it gets the alias ``challenger``.

    Args:
        experiment: of the project.
        data: SHA-256 of the version of the data; without it the one that the model was trained on.
        version: of the model; without it the one that the alias ``newest`` names.
    """
    from model_deployment_flows.run_context import RunContext
    from model_deployment_flows.steps.judge import judge
    from model_deployment_flows.tasks import leave_result

    return judge(RunContext.open(experiment), data, version, leave=leave_result)
