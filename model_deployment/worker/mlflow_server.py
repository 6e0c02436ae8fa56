"""What a fork uses of MLflow's scoring server, as far as it is another one in other versions of MLflow.

Up to MLflow 2.20 that server is a Flask application in gunicorn, whose processes answer one request after
another; since then it is a FastAPI application in uvicorn, which predicts in threads.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from model_deployment.worker.param_defaults import copy_defaults
from model_deployment.worker.tracking import log_first_dropped_trace


def load(path: str) -> Any:
    """The model in a folder, as MLflow's server loads it."""
    from mlflow import environment_variables
    from mlflow.pyfunc import scoring_server

    serving = getattr(environment_variables, "_MLFLOW_IS_IN_SERVING_ENVIRONMENT", None)
    if serving is not None:
        os.environ[serving.name] = "true"
    log_first_dropped_trace()
    # With the config of the model that a variable has, where this version knows such a variable.
    load_model = getattr(scoring_server, "load_model_with_mlflow_config", scoring_server.load_model)
    model = load_model(path)
    copy_defaults(model)
    return model


class Invocations:
    """MLflow's answers to requests for one model."""

    def __init__(self, model: Any) -> None:
        from mlflow.pyfunc import scoring_server

        self._model = model
        self._schema = model.metadata.get_input_schema()
        self._server = scoring_server
        self._flask: Any = None
        if importlib.util.find_spec("mlflow.pyfunc.scoring_server.wsgi") is not None:
            import flask
            import flask.testing  # else with the first request

            self._flask = flask.Flask(__name__)

    @property
    def at_once(self) -> int | None:
        """How many predictions may compute at a time. Models of an older MLflow never had to bear two."""
        return None if self._flask is None else 1

    def __call__(self, body: bytes, content_type: str | None) -> Any:
        """The answer: ``response``, ``status`` and ``mimetype``.

        Raises:
            MlflowException: it is the answer.
            Exception: the answer has the status 500.
        """
        if self._flask is None:
            return self._server.invocations(body, content_type, self._model, self._schema)
        # Its answer to an unknown type asks Flask for that type.
        with self._flask.test_request_context(method="POST", content_type=content_type):
            return self._server.invocations(body.decode(), content_type, self._model, self._schema)
