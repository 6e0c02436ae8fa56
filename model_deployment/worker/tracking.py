"""Models that make traces without a tracking server: MLflow drops the traces, and does not say so."""

import logging
import os

#: A URI that MLflow cannot use. MLflow's messages contain it, and with it what to do.
NO_TRACKING = "none://name-MLFLOW_TRACKING_URI-in-MODEL_DEPLOYMENT_MODEL_ENV"
NO_TRACKING_HINT = (
    "MLflow calls in the model have no server: they fail, and traces are dropped. To let the model use "
    "the controller's MLflow server, add MLFLOW_TRACKING_URI to MODEL_DEPLOYMENT_MODEL_ENV"
)


def log_first_dropped_trace() -> None:
    """Log the first trace that is dropped, and make MLflow start no other."""
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
