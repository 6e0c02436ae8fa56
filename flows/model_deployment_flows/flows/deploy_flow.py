"""Hands a version to the endpoint of the experiment."""

from __future__ import annotations

from typing import Any

from prefect import flow


@flow(name="deploy_flow", flow_run_name="deploy {experiment}")
def deploy_flow(
    experiment: str, data: str | None = None, version: int | None = None, wait: float = 600
) -> dict[str, Any]:
    """Have the endpoint's alias name a version, whose rollout decides whether it serves.

    Args:
        experiment: of the project.
        data: not used here; every flow takes it.
        version: of the model; without it the one that the alias ``challenger`` names.
        wait: seconds to wait for the rollout's verdict; it goes on without this run.
    """
    from model_deployment_flows.run_context import RunContext
    from model_deployment_flows.steps.hand_over import hand_over
    from model_deployment_flows.tasks import leave_result

    result = hand_over(RunContext.open(experiment), version, wait)
    leave_result(result)
    return result
