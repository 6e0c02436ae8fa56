"""The common request, without detours: a JSON frame whose values are of their columns' types already.

MLflow makes a frame of what it parsed, converts it column by column, checks it column by column, and
builds it again. Where nothing needs a conversion the outcome is known beforehand, and is built at once.
Every request that is not exactly so, or not certainly, is left to MLflow: :class:`FastPath` says None.
"""

import contextlib
import inspect
import itertools
import json
import logging
import math
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import orjson

_log = logging.getLogger(__name__)

#: Types of the values that a column takes as they are, by the type in the signature.
_TYPES: dict[str, tuple[frozenset[type], str]] = {
    "double": (frozenset({int, float, type(None)}), "float64"),
    "float": (frozenset({float}), "float64"),
    "long": (frozenset({int}), "int64"),
    "integer": (frozenset({int}), "int32"),
    "boolean": (frozenset({bool}), "bool"),
    "string": (frozenset({str}), ""),
}
_SAMPLES = {"double": 1.5, "float": 0.5, "long": 7, "integer": 7, "boolean": True, "string": "a"}

#: Column indexes that are kept: a request may leave out any of the optional columns.
_INDEXES = 32

Rows = Sequence[Sequence[Any]]


def build_fast_path(model: Any) -> "Callable[[bytes], bytes | None] | None":
    """How requests to a model are answered shortly; None for a model that is not of this kind."""
    try:
        lean = FastPath(model)
        return lean if lean.agrees() else None
    except Exception as error:  # MLflow's inside is not promised to anybody
        _log.info("requests take the long way: %s", error)
        return None


class Unsupported(Exception):
    """The model is not one for short answers."""


class FastPath:
    """For one model with a signature of named, flat columns."""

    def __init__(self, model: Any) -> None:
        from mlflow.pyfunc import PyFuncModel

        schema = model.metadata.get_input_schema()
        if type(model) is not PyFuncModel or schema is None or schema.is_tensor_spec():
            raise Unsupported("it has no column signature")
        if model.metadata._is_signature_from_type_hint():
            raise Unsupported("its signature is from a type hint")
        if model.metadata._is_type_hint_from_example():
            raise Unsupported("its type is from an example")
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
        # What predict() notes on the model each time.
        model.input_schema, model.params_schema = schema, self._params

    def agrees(self) -> bool:
        """Whether MLflow makes the same frame of a sample, with the versions that are installed."""
        import pandas as pd
        from mlflow.models.utils import _enforce_schema
        from mlflow.pyfunc.scoring_server import infer_and_parse_data

        sample = {name: _SAMPLES[kind] for name, kind in self._kinds.items() if kind}
        data = {"dataframe_records": [sample, sample]}
        theirs = _enforce_schema(infer_and_parse_data(data, self._schema), self._schema)
        own = self.frame(data)
        pd.testing.assert_frame_equal(own, theirs)
        return True

    def __call__(self, body: bytes) -> bytes | None:
        """The answer to a request; None if MLflow has to look at it.

        Raises:
            MlflowException: as MLflow's server raises it.
        """
        try:
            found = orjson.loads(body)
        except ValueError:
            return None
        if type(found) is not dict:
            return None
        params = found.pop("params", None)
        frame = self.frame(found)
        if frame is None:
            return None
        return _encoded(self._predict(frame, params))

    def frame(self, data: dict[str, Any]) -> Any:
        """The frame that the model gets for one body form, or None."""
        if len(data) != 1:
            return None
        ((form, content),) = data.items()
        match form:
            case "dataframe_split":
                table = _of_split(content)
            case "dataframe_records":
                table = _of_records(content)
            case _:
                return None
        if table is None:
            return None
        names, rows = table
        if not (names == [*self._kinds] or self._fits(names)):
            return None
        columns = list(zip(*rows, strict=True))
        if names != [*self._kinds]:
            given = dict(zip(names, columns, strict=True))
            names = [name for name in self._kinds if name in given]
            columns = [given[name] for name in names]
        return self._build(names, columns)

    def _fits(self, names: list[str]) -> bool:
        given = set(names)
        return len(given) == len(names) and self._required <= given <= self._kinds.keys()

    def _build(self, names: list[str], columns: list[tuple[Any, ...]]) -> Any:
        import pandas as pd

        kinds = [self._kinds[name] for name in names]
        if not all(kinds) or not all(map(_as_they_are, kinds, columns)):
            return None
        if set(kinds) == {"double"}:
            import numpy as np

            # As MLflow's frame lies in memory: a column's values side by side.
            block = np.array(columns, dtype=np.float64)
            return pd.DataFrame(block.T, columns=self._index(names), copy=False)
        try:
            return pd.DataFrame(dict(zip(names, map(_array, kinds, columns), strict=True)))
        except OverflowError:  # an integer that is too large for its column
            return None

    def _index(self, names: list[str]) -> Any:
        """The columns of one frame, which the model may write into: a copy of those that are kept."""
        import pandas as pd

        key = tuple(names)
        if (index := self._indexes.get(key)) is None:
            if len(self._indexes) >= _INDEXES:
                self._indexes.clear()
            index = self._indexes[key] = pd.DataFrame({name: [] for name in names}).columns
        return index.copy(deep=True)

    def _predict(self, frame: Any, params: Any) -> Any:
        """What ``invocations`` does around ``predict``, and what that does after its checks."""
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import BAD_REQUEST

        try:
            return self._call(frame, params)
        except MlflowException as error:
            error.message = f"Failed to predict data '{frame}'. \nError: {error.message}"
            raise
        except Exception:
            raise MlflowException(
                message="Encountered an unexpected error while evaluating the model. Verify"
                " that the serialized input Dataframe is compatible with the model for"
                " inference.",
                error_code=BAD_REQUEST,
                stack_trace=traceback.format_exc(),
            ) from None

    def _call(self, frame: Any, params: Any) -> Any:
        from mlflow.models.utils import _enforce_params_schema
        from mlflow.pyfunc import (
            Context,
            _get_dependencies_schema_from_model,
            _log_warning_if_params_not_in_predict_signature,
            _try_get_prediction_context,
            set_prediction_context,
        )

        model = self._model
        context = _try_get_prediction_context() or Context()
        with set_prediction_context(context):
            if schema := _get_dependencies_schema_from_model(model._model_meta):
                context.update(**schema)
            if model.model_id:
                context.update(model_id=model.model_id)
            params = _enforce_params_schema(params, self._params)
            if self._takes_params:
                return model._predict_fn(frame, params=params)
            _log_warning_if_params_not_in_predict_signature(_log, params)
            return model._predict_fn(frame)


def _kind(type_: Any) -> str:
    kind = str(getattr(type_, "name", ""))
    return kind if kind in _TYPES else ""


def _of_split(content: Any) -> tuple[list[str], Rows] | None:
    if type(content) is not dict or content.keys() != {"columns", "data"}:
        return None
    names, rows = content["columns"], content["data"]
    if type(names) is not list or type(rows) is not list or not rows or not names:
        return None
    if set(map(type, names)) != {str} or set(map(type, rows)) != {list}:
        return None
    return (names, rows) if set(map(len, rows)) == {len(names)} else None


def _of_records(content: Any) -> tuple[list[str], Rows] | None:
    if type(content) is not list or not content or set(map(type, content)) != {dict}:
        return None
    names = [*content[0]]
    if not names or any(row.keys() != content[0].keys() for row in content):
        return None
    return names, [[row[name] for name in names] for row in content]


def _as_they_are(kind: str, column: tuple[Any, ...]) -> bool:
    return set(map(type, column)) <= _TYPES[kind][0]


def _array(kind: str, column: tuple[Any, ...]) -> Any:
    import numpy as np
    import pandas as pd

    if kind == "string":
        return pd.Series(list(column))  # of the type that this version of pandas has for text
    array = np.array(column, dtype=_TYPES[kind][1])
    return array.astype(np.float32) if kind == "float" else array


def _encoded(raw: Any) -> bytes:
    """As MLflow writes an answer; with orjson where both write the same values."""
    import numpy as np
    from mlflow.utils.proto_json_utils import NumpyEncoder, _get_jsonable_obj

    plain = _get_jsonable_obj(raw, pandas_orient="records")
    finite = type(raw) is np.ndarray and raw.dtype.kind in "iufb" and np.isfinite(raw).all()
    if finite or _plain_numbers(plain):
        # orjson knows no longdouble, and no key with half a character in it.
        with contextlib.suppress(TypeError):
            return orjson.dumps({"predictions": plain})
    return json.dumps({"predictions": plain}, cls=NumpyEncoder).encode()


def _plain_numbers(plain: Any) -> bool:
    """Whether these are finite numbers of Python's own, in a list or in records with text as keys."""
    if type(plain) is not list or not plain:
        return False
    if set(map(type, plain)) == {dict}:
        if set(map(type, itertools.chain.from_iterable(plain))) - {str}:
            return False
        values = [value for record in plain for value in record.values()]
    else:
        values = plain
    return set(map(type, values)) == {float} and all(map(math.isfinite, values))
