"""Streams what a model yields, for requests with ``"stream": true``.

MLflow's scoring server ignores that member. Its agent server (``mlflow.genai.agent_server``) reads it, and
streams functions of a program, but no registered models. Here ``predict_stream`` of the model is called,
with the input as the scoring server reads it.
"""

from __future__ import annotations

import dataclasses
import json
import traceback
from collections.abc import Generator, Iterator
from typing import Any

from model_deployment.worker.stream_frames import DATA, DONE, END

_STREAM = "stream"


class Streaming:
    """The streams of one model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._schema = model.metadata.get_input_schema()
        names = self._schema.input_names() if self._schema is not None else []
        #: The model gets the member itself.
        self._takes_member = _STREAM in names
        #: Whether the model can stream.
        self.available = _can_stream(model)

    def may_be_asked_by(self, body: bytes, content_type: str | None) -> bool:
        """Whether the body has to be parsed: :meth:`asked_by` then tells whether a stream is asked for."""
        if not self.available or content_type is None or b'"stream"' not in body:
            return False
        return content_type.partition(";")[0].strip() == "application/json"

    def asked_by(self, body: bytes) -> dict[str, Any] | None:
        """The parsed body of a request that asks for a stream; None if it does not."""
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return data if type(data) is dict and data.get(_STREAM) is True else None

    def frames(self, body: dict[str, Any]) -> Iterator[bytes]:
        """The frames of the answer.

        Raises:
            MlflowException: as MLflow's scoring server raises it.
            Exception: what the model yields cannot be written.
        """
        values = self._values(body)
        try:
            for value in values:
                yield DATA + encode_value(value) + END
        finally:
            values.close()
        yield DONE

    def _values(self, body: dict[str, Any]) -> Generator[Any, None, None]:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import BAD_REQUEST
        from mlflow.pyfunc.scoring_server import _parse_json_data, is_unified_llm_input

        if not (self._takes_member and is_unified_llm_input(body)):
            body = {name: value for name, value in body.items() if name != _STREAM}
        parsed = _parse_json_data(json.dumps(body), self._model.metadata, self._schema)
        try:
            yield from self._model.predict_stream(parsed.data, parsed.params)
        except MlflowException as error:
            error.message = f"Failed to predict data '{parsed.data}'. \nError: {error.message}"
            raise
        except Exception:
            raise MlflowException(
                message="Encountered an unexpected error while evaluating the model.",
                error_code=BAD_REQUEST,
                stack_trace=traceback.format_exc(),
            ) from None


def encode_value(value: Any) -> bytes:
    """One value as JSON on one line.

    Raises:
        Exception: JSON cannot hold it.
    """
    from mlflow.pyfunc.scoring_server import NumpyEncoder, _get_jsonable_obj

    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_none=True)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    plain = _get_jsonable_obj(value, pandas_orient="records")
    return json.dumps(plain, cls=NumpyEncoder).encode()


def _can_stream(model: Any) -> bool:
    """MLflow's own classes have a ``predict_stream`` that only says that there is none."""
    if getattr(model, "_predict_stream_fn", None) is None:
        return False
    try:
        from mlflow.pyfunc.scoring_server import _parse_json_data, is_unified_llm_input  # noqa: F401
    except ImportError:  # MLflow 2.12 has streams, and a server that parses in another way
        return False
    try:
        own = type(model.unwrap_python_model())
    except Exception:  # no Python model: its flavor streams
        return True
    method = getattr(own, "predict_stream", None)
    return method is None or not str(method.__module__).startswith("mlflow.")
