"""A model that traces where it has no tracking server: its traces go nowhere, which MLflow does not say."""

import logging
import os

#: A URI that MLflow cannot use. Its messages show it, and so what to do.
NO_TRACKING = "none://name-MLFLOW_TRACKING_URI-in-MODEL_DEPLOYMENT_MODEL_ENV"
#: What it means, for logs.
NO_TRACKING_HINT = (
    "MLflow calls in the model have no server: they fail, and traces are dropped. To give them the "
    "controller's, name MLFLOW_TRACKING_URI in MODEL_DEPLOYMENT_MODEL_ENV"
)


def log_first_dropped_trace() -> None:
    """Have the first trace that is dropped told in the log, and no more of them begun."""
    if os.environ.get("MLFLOW_TRACKING_URI") == NO_TRACKING:
        logger = logging.getLogger("mlflow.tracing.fluent")
        logger.setLevel(logging.DEBUG)
        logger.addFilter(_once)


def _once(record: logging.LogRecord) -> bool:
    if record.levelno > logging.DEBUG:
        return True
    logger = logging.getLogger(record.name)
    logger.removeFilter(_once)
    logger.setLevel(logging.NOTSET)
    logger.warning(NO_TRACKING_HINT)
    import mlflow

    mlflow.tracing.disable()
    return False
