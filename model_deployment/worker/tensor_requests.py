"""Reads the requests that the proxy has merged into bytes, and has the model predict for them."""

from __future__ import annotations

import json
import traceback
from typing import Any

from model_deployment.worker.packed_tensors import NAME, TYPES


def read(body: bytes) -> tuple[dict[str, Any], Any]:
    """The arrays of a body by name, and the params."""
    import numpy as np

    start = 8 + int.from_bytes(body[:8], "little")
    header = json.loads(body[8:start])
    view = memoryview(body)  # a slice of it is no copy
    params = json.loads(header.pop("__metadata__")["params"])
    arrays = {}
    for key, one in header.items():
        first, end = one["data_offsets"]
        values = np.frombuffer(view[start + first : start + end], TYPES[one["dtype"]])
        arrays[key.removeprefix(NAME)] = values.reshape(one["shape"])
    return arrays, params


def data_of(arrays: dict[str, Any], schema: Any) -> Any:
    """What MLflow parses from the same tensors in JSON: arrays of the types in the model's signature."""
    if not schema.has_input_names():
        return _cast(arrays[""], schema.inputs[0])
    return {spec.name: _cast(arrays[spec.name], spec) for spec in schema.inputs}


def _cast(array: Any, spec: Any) -> Any:
    return array.astype(spec.type)  # a copy: a model may write to its input


def predict(model: Any, body: bytes) -> Any:
    """What the model predicts for a body.

    Raises:
        MlflowException: as MLflow's server raises it (``scoring_server.invocations``).
    """
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import BAD_REQUEST

    try:
        arrays, params = read(body)
        data = data_of(arrays, model.metadata.get_input_schema())
    except (ValueError, LookupError, TypeError) as error:
        message = f"The body is not one of packed tensors: {error!r}"
        raise MlflowException(message, error_code=BAD_REQUEST) from None
    try:
        return model.predict(data, params=params)
    except MlflowException as error:
        error.message = f"Failed to predict data of {len(body)} bytes. \nError: {error.message}"
        raise
    except Exception:
        raise MlflowException(
            message="Encountered an unexpected error while evaluating the model.",
            error_code=BAD_REQUEST,
            stack_trace=traceback.format_exc(),
        ) from None
