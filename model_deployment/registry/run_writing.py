"""Writes metrics to the run that a registered version came from."""

import time
from collections.abc import Mapping
from typing import Any

from model_deployment.registry.errors import found_or_none
from model_deployment.registry.run_metrics import logged_model


def log_metrics(client: Any, version: Any, metrics: Mapping[str, float]) -> tuple[str, list[str]]:
    """Log metrics for the version's logged model if it has one, else for its run.

    Args:
        client: MLflow's.
        version: MLflow's object.
        metrics: finite numbers, by their names in MLflow.

    Returns:
        The place in words, empty if there is none, and the ids of the run and the logged model written to.
    """
    from mlflow.entities import Metric

    model_id, run_id = logged_model(version), version.run_id or ""
    model = found_or_none(client.get_logged_model, model_id) if model_id else None
    # MLflow stores a metric of a logged model only together with the run that made the model.
    run_id = run_id or (model.source_run_id or "" if model else "")
    if not run_id or not metrics:
        return "", []
    now = int(time.time() * 1000)
    of_model = model_id if model else None
    client.log_batch(
        run_id,
        metrics=[
            Metric(name, value, now, 0, model_id=of_model, run_id=run_id)
            for name, value in metrics.items()
        ],
    )
    return f"logged model {model_id}" if model else f"run {run_id}", [run_id, model_id]
