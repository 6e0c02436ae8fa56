"""The body of a prediction, from what a caller has: a data frame, records, an array, or a body as it is."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_deployment.client import frames
from model_deployment.client.errors import Unsendable
from model_deployment.client.exchange import JSON
from model_deployment.client.plain import plain

if TYPE_CHECKING:
    import pandas as pd

#: Members of a body that say which rows it has; ``params`` stands beside them.
_FORMS = frozenset({"dataframe_split", "dataframe_records", "inputs", "instances"})
#: Members with which MLflow takes the whole body for a call of a chat, completion or embedding model.
_CALLS = frozenset({"messages", "prompt", "input"})


@dataclass(frozen=True, slots=True)
class Body:
    """A request of a prediction.

    Attributes:
        rows: rows in it; None if that is not known.
    """

    content: bytes
    content_type: str
    rows: int | None


def bodies(
    data: Any,
    params: Mapping[str, Any] | None = None,
    *,
    content_type: str | None = None,
    rows_per_request: int | None = None,
) -> Iterator[Body]:
    """The bodies that ask for predictions of the data: one, unless ``rows_per_request`` divides them.

    Raises:
        Unsendable: the data cannot be written as a request.
    """
    if rows_per_request is not None and rows_per_request < 1:
        raise ValueError(f"rows_per_request must be at least 1, got {rows_per_request}")
    if isinstance(data, str | bytes | bytearray | memoryview):
        content = data.encode() if isinstance(data, str) else bytes(data)
        if params:
            raise Unsendable(
                "cannot add params to a body that is text or bytes: write them into it"
            )
        yield Body(content, content_type or JSON, None)
        return
    if content_type not in (None, JSON):
        raise Unsendable(
            f"cannot write {type(data).__name__} as {content_type}: send text or bytes"
        )
    if frames.is_frame(data):
        for part in frames.parts(data, rows_per_request):
            yield _body({"dataframe_split": frames.split_of(part)}, params, len(part))
        return
    if frames.is_series(data):
        data = _record(data)
    if isinstance(data, Mapping):
        yield _mapping(data, params)
        return
    yield from _lists(data, params, rows_per_request)


def _lists(
    data: Any, params: Mapping[str, Any] | None, rows_per_request: int | None
) -> Iterator[Body]:
    if not hasattr(data, "tolist") and not isinstance(data, Sequence):
        raise Unsendable(
            f"cannot predict with {type(data).__module__}.{type(data).__qualname__}: send a data frame of "
            "pandas, records, an array, or a body as text or bytes"
        )
    rows = plain(data)
    if not isinstance(rows, list):
        raise Unsendable(f"cannot predict with a single value ({rows!r}): send a list of rows")
    records = bool(rows) and all(isinstance(row, dict) for row in rows)
    form = "dataframe_records" if records else "inputs"
    size = rows_per_request or max(len(rows), 1)
    for start in range(0, max(len(rows), 1), size):
        part = rows[start : start + size]
        yield _body({form: part}, params, len(part))


def _record(series: "pd.Series") -> dict[str, Any]:
    """A row of a frame, as ``frame.iloc[0]`` gives it."""
    if not all(isinstance(name, str) for name in series.index):
        raise Unsendable(
            "cannot send a series whose index is not names of columns: "
            "series.to_frame() sends it as a column"
        )
    frame = series.to_frame().T
    return dict(zip(series.index, frames.split_of(frame)["data"][0], strict=True))


def _mapping(data: Mapping[str, Any], params: Mapping[str, Any] | None) -> Body:
    form = next(iter(_FORMS & data.keys()), None)
    if form is not None:
        given = plain(data)
        if frames.is_frame(data[form]):
            raise Unsendable(f"cannot send a data frame as {form}: give the data frame itself")
        return _body(given, params, _count(form, given[form]))
    if params and not _CALLS & data.keys():
        return _body({"dataframe_records": [plain(data)]}, params, 1)
    return _body(plain(data), params, 1)


def _count(form: str, value: Any) -> int | None:
    if form == "dataframe_split":
        value = value.get("data") if isinstance(value, dict) else None
    return len(value) if isinstance(value, list) else None


def _body(members: dict[str, Any], params: Mapping[str, Any] | None, rows: int | None) -> Body:
    if params:
        members = {**members, "params": plain(params, "params")}
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Body(text.encode(), JSON, rows)
