"""Answers common requests without MLflow's detours: JSON frames whose values have their columns' types.

MLflow makes a frame of what it parsed, converts and checks it column by column, and builds it again. Where
nothing needs a conversion the outcome is known beforehand, and is built at once. Every other request, and
every one that is not certainly of this kind, is left to MLflow: :class:`FastPath` returns None.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import itertools
import json
import logging
import math
import traceback
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import orjson
import pandas as pd

from model_deployment.worker.mlflow_server import Invocations

_log = logging.getLogger(__name__)

#: By the type in the signature: Python types that need no conversion, and the type of their array.
_TYPES: dict[str, tuple[frozenset[type], str]] = {
    "double": (frozenset({int, float, type(None)}), "float64"),
    "float": (frozenset({float}), "float64"),
    "long": (frozenset({int}), "int64"),
    "integer": (frozenset({int}), "int32"),
    "boolean": (frozenset({bool}), "bool"),
    "string": (frozenset({str}), ""),
}
_SAMPLES = {"double": 1.5, "float": 0.5, "long": 7, "integer": 7, "boolean": True, "string": "a"}

#: Methods of MLflow's description of a model, which older versions do not have, and what they mean.
_TYPE_HINTS = {
    "_is_signature_from_type_hint": "its signature is from a type hint",
    "_is_type_hint_from_example": "its type is from an example",
}

#: Column indexes that are kept: a request may leave out any of the optional columns.
_INDEXES = 32

Rows = Sequence[Sequence[Any]]


@functools.cache
def _mlflow() -> SimpleNamespace:
    """Names that MLflow does not promise to keep: looked up when a model is loaded, not in a request."""
    from mlflow.exceptions import MlflowException  # noqa: F401
    from mlflow.models.utils import _enforce_params_schema, _enforce_schema  # noqa: F401
    from mlflow.protos.databricks_pb2 import BAD_REQUEST  # noqa: F401
    from mlflow.pyfunc import (  # noqa: F401
        Context,
        PyFuncModel,
        _get_dependencies_schema_from_model,
        _log_warning_if_params_not_in_predict_signature,
        _try_get_prediction_context,
        set_prediction_context,
    )
    from mlflow.pyfunc.scoring_server import infer_and_parse_data  # noqa: F401
    from mlflow.utils.proto_json_utils import NumpyEncoder, _get_jsonable_obj  # noqa: F401

    return SimpleNamespace(**locals())


def build_fast_path(model: Any) -> FastPath | None:
    """The fast path of a loaded model; None for a model whose requests MLflow has to parse."""
    try:
        return FastPath(model)
    except Unsupported as error:
        _log.info("MLflow parses all requests of this model: %s", error)
    except Exception as error:
        _log.warning(
            "no fast path with this version of MLflow, which parses all requests: %r", error
        )
    return None


class Unsupported(Exception):
    """The model's requests need MLflow's own parser; the message says why."""


class _Tried(NamedTuple):
    """What MLflow or the fast path did with a sample."""

    #: The answer, or the exception.
    told: Any
    #: The arguments of the model's function.
    given: dict[str, Any]


class FastPath:
    """For one model with a signature of named, flat columns."""

    def __init__(self, model: Any) -> None:
        """
        Raises:
            Unsupported: the model is of another kind.
            Exception: MLflow's inside is not as it is expected.
        """
        self._mlflow = _mlflow()
        schema = model.metadata.get_input_schema()
        if type(model) is not self._mlflow.PyFuncModel or schema is None or schema.is_tensor_spec():
            raise Unsupported("it has no column signature")
        for name, why in _TYPE_HINTS.items():
            if getattr(model.metadata, name, bool)():
                raise Unsupported(why)
        if not schema.has_input_names():
            raise Unsupported("its columns have no names")
        #: "" is a type whose values MLflow has to convert.
        self._kinds = {column.name: _kind(column.type) for column in schema.inputs}
        if len(self._kinds) != len(schema.inputs) or not self._kinds:
            raise Unsupported("columns have equal names")
        self._required = frozenset(schema.required_input_names())
        if not all(self._kinds[name] for name in self._required):
            raise Unsupported("a column that it requires has to be converted")
        self._schema = schema
        self._model = model
        self._params = model.metadata.get_params_schema()
        self._indexes: dict[tuple[str, ...], Any] = {}
        params = inspect.signature(model._predict_fn).parameters.get("params")
        self._takes_params = params is not None and params.kind is not inspect.Parameter.VAR_KEYWORD
        # PyFuncModel.predict() sets these at each call.
        model.input_schema, model.params_schema = schema, self._params
        self._compare_with_mlflow()

    def _compare_with_mlflow(self) -> None:
        """Raise if the installed MLflow gives the model other input for a sample, or answers otherwise."""
        sample = {name: _SAMPLES[kind] for name, kind in self._kinds.items() if kind}
        body = json.dumps({"dataframe_records": [sample, sample]}).encode()
        invocations = Invocations(self._model)
        failures = (None, ValueError("a sample"), self._mlflow.MlflowException("a sample"))
        for failure in failures:
            theirs = self._try(failure, lambda: invocations(body, "application/json").response)
            ours = self._try(failure, lambda: self(body))
            if theirs.told != ours.told or theirs.given.keys() != ours.given.keys():
                raise ValueError(f"MLflow answers {theirs.told}, and the fast path {ours.told}")
            pd.testing.assert_frame_equal(ours.given.pop("data"), theirs.given.pop("data"))
            if ours.given != theirs.given:
                raise ValueError(f"MLflow passes {theirs.given}, and the fast path {ours.given}")

    def _try(self, failure: Exception | None, ask: Callable[[], Any]) -> _Tried:
        """Ask with a stand-in for the model, which does not run."""
        given: dict[str, Any] = {}
        predict = self._model._predict_fn

        @functools.wraps(predict)
        def stand_in(data: Any, **more: Any) -> Any:
            given.update(more, data=data)
            if failure is not None:
                raise copy.copy(failure)
            return np.array([0.5, 1.5])

        self._model._predict_fn = stand_in
        try:
            told = json.loads(ask())
        except self._mlflow.MlflowException as error:
            told = (error.error_code, error.message, error.get_http_status_code())
        finally:
            self._model._predict_fn = predict
        return _Tried(told, given)

    def __call__(self, body: bytes) -> bytes | None:
        """The body of the answer to a request; None if MLflow has to parse the request.

        Raises:
            MlflowException: as MLflow's server raises it.
        """
        try:
            data = orjson.loads(body)
        except ValueError:
            return None
        if type(data) is not dict:
            return None
        params = data.pop("params", None)
        frame = self.frame(data)
        return None if frame is None else encode_answer(self._predict(frame, params))

    def frame(self, data: dict[str, Any]) -> Any:
        """The frame that the model gets for the content of a body, or None."""
        if len(data) != 1:
            return None
        ((form, content),) = data.items()
        read = _READERS.get(form)
        table = read(content) if read is not None else None
        if table is None:
            return None
        names, rows = table
        if not (names == [*self._kinds] or self._fits(names)):
            return None
        columns = list(zip(*rows))
        if names != [*self._kinds]:
            given = dict(zip(names, columns))
            names = [name for name in self._kinds if name in given]
            columns = [given[name] for name in names]
        return self._build(names, columns)

    def _fits(self, names: list[str]) -> bool:
        given = set(names)
        return len(given) == len(names) and self._required <= given <= self._kinds.keys()

    def _build(self, names: list[str], columns: list[tuple[Any, ...]]) -> Any:
        kinds = [self._kinds[name] for name in names]
        if not all(kinds) or not all(map(_needs_no_conversion, kinds, columns)):
            return None
        if set(kinds) == {"double"}:
            # As MLflow's frame lies in memory: a column's values side by side.
            block = np.array(columns, dtype=np.float64)
            return pd.DataFrame(block.T, columns=self._index(names), copy=False)
        try:
            return pd.DataFrame(dict(zip(names, map(_column, kinds, columns))))
        except OverflowError:  # an integer that is too large for its column
            return None

    def _index(self, names: list[str]) -> Any:
        """The columns of one frame: a copy of what is kept, since the model may write into it."""
        key = tuple(names)
        if (index := self._indexes.get(key)) is None:
            if len(self._indexes) >= _INDEXES:
                self._indexes.clear()
            index = self._indexes[key] = pd.DataFrame({name: [] for name in names}).columns
        return index.copy(deep=True)

    def _predict(self, frame: Any, params: Any) -> Any:
        """What MLflow's ``invocations`` does around ``predict``."""
        try:
            return self._call(frame, params)
        except self._mlflow.MlflowException as error:
            error.message = f"Failed to predict data '{frame}'. \nError: {error.message}"
            raise
        except Exception:
            raise self._mlflow.MlflowException(
                message="Encountered an unexpected error while evaluating the model. Verify"
                " that the serialized input Dataframe is compatible with the model for"
                " inference.",
                error_code=self._mlflow.BAD_REQUEST,
                stack_trace=traceback.format_exc(),
            ) from None

    def _call(self, frame: Any, params: Any) -> Any:
        """What ``PyFuncModel.predict`` does after its checks."""
        model, mlflow = self._model, self._mlflow
        context = mlflow._try_get_prediction_context() or mlflow.Context()
        with mlflow.set_prediction_context(context):
            if schema := mlflow._get_dependencies_schema_from_model(model._model_meta):
                context.update(**schema)
            if model_id := getattr(model, "model_id", None):  # since MLflow 3
                context.update(model_id=model_id)
            params = mlflow._enforce_params_schema(params, self._params)
            if self._takes_params:
                return model._predict_fn(frame, params=params)
            mlflow._log_warning_if_params_not_in_predict_signature(_log, params)
            return model._predict_fn(frame)


def _kind(type_: Any) -> str:
    kind = str(getattr(type_, "name", ""))
    return kind if kind in _TYPES else ""


def _read_split(content: Any) -> tuple[list[str], Rows] | None:
    if type(content) is not dict or content.keys() != {"columns", "data"}:
        return None
    names, rows = content["columns"], content["data"]
    if type(names) is not list or type(rows) is not list or not rows or not names:
        return None
    if set(map(type, names)) != {str} or set(map(type, rows)) != {list}:
        return None
    return (names, rows) if set(map(len, rows)) == {len(names)} else None


def _read_records(content: Any) -> tuple[list[str], Rows] | None:
    if type(content) is not list or not content or set(map(type, content)) != {dict}:
        return None
    names = [*content[0]]
    if not names or any(row.keys() != content[0].keys() for row in content):
        return None
    return names, [[row[name] for name in names] for row in content]


#: By the member of a body that has the table.
_READERS = {"dataframe_split": _read_split, "dataframe_records": _read_records}


def _needs_no_conversion(kind: str, column: tuple[Any, ...]) -> bool:
    return set(map(type, column)) <= _TYPES[kind][0]


def _column(kind: str, values: tuple[Any, ...]) -> Any:
    if kind == "string":
        return pd.Series(list(values))  # of the type that this version of pandas has for text
    array = np.array(values, dtype=_TYPES[kind][1])
    return array.astype(np.float32) if kind == "float" else array


def encode_answer(raw: Any) -> bytes:
    """The body of an answer, as MLflow writes it; with orjson where both write the same values."""
    plain = _mlflow()._get_jsonable_obj(raw, pandas_orient="records")
    finite = type(raw) is np.ndarray and raw.dtype.kind in "iufb" and np.isfinite(raw).all()
    if finite or _are_finite_floats(plain):
        # orjson knows no longdouble, and no key with half a character in it.
        with contextlib.suppress(TypeError):
            return orjson.dumps({"predictions": plain})
    return json.dumps({"predictions": plain}, cls=_mlflow().NumpyEncoder).encode()


def _are_finite_floats(plain: Any) -> bool:
    """Whether these are finite floats, in a list or in records with text as keys."""
    if type(plain) is not list or not plain:
        return False
    if set(map(type, plain)) == {dict}:
        if set(map(type, itertools.chain.from_iterable(plain))) - {str}:
            return False
        values = [value for record in plain for value in record.values()]
    else:
        values = plain
    return set(map(type, values)) == {float} and all(map(math.isfinite, values))
