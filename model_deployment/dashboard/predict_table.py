"""The rows of a request body in any format, as the texts that a form shows. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from model_deployment.core.errors import InvalidRequest
from model_deployment.gate import MalformedJson, loads
from model_deployment.gate.nested_rules import COMPLEX
from model_deployment.tabular import body_tables
from model_deployment.tabular.body_tables import BodyTable

#: Most rows and cells that a page shows.
_ROWS, _CELLS = 500, 40_000
JSON = "application/json"
#: Types whose values are shown without quotes.
TEXTS = frozenset({"string", "datetime", "binary"})


@dataclass(frozen=True, slots=True)
class RequestTable:
    names: tuple[str, ...]
    #: Texts of the first rows, in the order of ``names``; null is an empty text.
    rows: tuple[tuple[str, ...], ...]
    #: Rows that the body has.
    total: int
    #: Texts of the parameters beside the table.
    params: Mapping[str, str]


def table(
    media_type: str, body: bytes, signature: Mapping[str, Any] | None, most: int = _ROWS
) -> RequestTable:
    """The first rows of a body.

    Args:
        media_type: one that models read: JSON in all of MLflow's forms, CSV or Parquet.
        signature: of the model, in MLflow's form; None for a model without one.
        most: rows.

    Raises:
        InvalidRequest: the body is not a table.
    """
    specs = list((signature or {}).get("inputs") or ())
    kinds = {str(spec.get("name")): str(spec.get("type")) for spec in specs}
    try:
        found = body_tables.read(media_type, body, nested=bool(COMPLEX & {*kinds.values()}))
    except MalformedJson as error:
        raise InvalidRequest(f"cannot read the rows: {error}") from None
    if found is None:
        raise InvalidRequest(
            "cannot read rows from this: it is not a table. A table is a list of records, one of "
            "MLflow's forms (dataframe_records, dataframe_split, inputs, instances), CSV or Parquet"
        )
    names = _names(found, specs)
    shown = min(found.rows, most, max(1, _CELLS // max(1, len(names))))
    columns = [
        [_text(kinds.get(name, ""), value, texts=found.texts) for value in column[:shown]]
        for name, column in zip(names, found.columns, strict=True)
    ]
    rows = tuple(zip(*columns, strict=True))
    params = loads(body).get("params") if found.has_params else None
    return RequestTable(tuple(names), rows, found.rows, _params(params))


def _names(found: BodyTable, specs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The caller's names, or the signature's for values without names."""
    named = [str(spec["name"]) for spec in specs if spec.get("name") is not None]
    if found.numbered and len(named) == len(specs) >= len(found.names):
        return named[: len(found.names)]
    return [str(name) for name in found.names]


def _text(kind: str, value: Any, *, texts: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and (texts or kind in TEXTS or not kind):
        return value
    return _json(value)


def _params(params: Any) -> dict[str, str]:
    if not isinstance(params, dict):
        return {}
    return {
        str(name): value if isinstance(value, str) else _json(value)
        for name, value in params.items()
    }


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except orjson.JSONEncodeError:  # an integer beyond 64 bits
        return str(value)
