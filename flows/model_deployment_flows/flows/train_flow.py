"""Finds the best parameters and registers a model with them."""

from __future__ import annotations

from typing import Any

from prefect import flow


@flow(name="train_flow", flow_run_name="train {experiment}")
def train_flow(
    experiment: str,
    data: str | None = None,
    model_type: str = "auto",
    trials: int | None = None,
    timeout: float | None = None,
    epochs: int | None = None,
) -> dict[str, Any]:
    """Search for parameters, and register the best model as a new version with the alias ``newest``.

    Args:
        experiment: of the project.
        data: SHA-256 of the version; without it the newest one, else the original data.
        model_type: one of the experiment's, or ``auto`` for all of them.
        trials: of the study; without it as the settings say.
        timeout: seconds of the study; without it as the settings say.
        epochs: for models that are trained in epochs; without it as the settings say.
    """
    from model_deployment_flows.run_context import RunContext
    from model_deployment_flows.steps.train import Plan, train
    from model_deployment_flows.tasks import leave_result

    context = RunContext.open(experiment)
    plan = Plan.of(context, context.data(data), model_type, trials, timeout, epochs)
    return train(plan, leave=leave_result)
