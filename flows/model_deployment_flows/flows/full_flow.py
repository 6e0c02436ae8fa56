"""Analysis, training, evaluation and hand-over, one after the other."""

from __future__ import annotations

from typing import Any

from prefect import flow


@flow(name="full_flow", flow_run_name="retrain {experiment}")
def full_flow(
    experiment: str,
    data: str | None = None,
    force: bool = False,
    model_type: str = "auto",
    trials: int | None = None,
    timeout: float | None = None,
    epochs: int | None = None,
    version: int | None = None,
    wait: float = 600,
) -> dict[str, Any]:
    """Analyse the data, train on them, judge the model, and hand it to its endpoint if it passes.

    Args:
        experiment: of the project.
        data: SHA-256 of the version; without it the newest one, else the original data.
        force: go on with data that have findings of severity *error*, and with a model that cannot be
            compared because the champion has no scores on them.
        model_type: one of the experiment's, or ``auto`` for all of them.
        trials: of the study; without it as the settings say.
        timeout: seconds of the study; without it as the settings say.
        epochs: for models that are trained in epochs; without it as the settings say.
        version: of the model: it is judged and handed over, and nothing is trained.
        wait: seconds to wait for the rollout's verdict; it goes on without this run.
    """
    from model_deployment_flows.run_context import RunContext
    from model_deployment_flows.steps.all_steps import Wanted, all_steps

    wanted = Wanted(force, model_type, trials, timeout, epochs, version, wait)
    return all_steps(RunContext.open(experiment), data, wanted)
