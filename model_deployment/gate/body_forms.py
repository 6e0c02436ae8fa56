"""The forms that a body may have: tells which one it is, and reads its rows or columns."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from json import dumps
from types import NoneType
from typing import Any

from model_deployment.gate.check_result import SHOWN, Findings, ViolationKind, clip, describe

SPLIT = "dataframe_split"
RECORDS = "dataframe_records"
INSTANCES = "instances"
INPUTS = "inputs"
FORMS = frozenset({SPLIT, RECORDS, INSTANCES, INPUTS})
FRAMES = frozenset({SPLIT, RECORDS})
PARAMS = "params"
#: Asks a model that can stream for a stream.
STREAM = "stream"
#: With one of these keys MLflow reads the whole body as a chat, completion or embedding call.
_LLM = frozenset({"messages", "prompt", "input"})

_SPLIT_KEYS = frozenset({"columns", "data", "index"})
_LABELS = frozenset({str, int, float, bool})
_NAMES = _LABELS | {NoneType}
_BODY = (
    "an object with one of dataframe_split, dataframe_records, instances and inputs; or a record; "
    "or a list of records"
)
_WRAPPED = (
    "a form that says which rows it has: dataframe_split with columns and data, dataframe_records with a "
    "record for each row, or inputs with a list of values for each column"
)
#: A body of ten megabytes has no more values than this, unless it makes us write out empty records.
_MOST_CELLS = 5_000_000
#: The value of a column that another record has, and this one lacks.
ABSENT: Any = object()


@dataclass(slots=True)
class ParsedBody:
    form: str
    data: Any
    params: Any = None
    #: Members of the body that MLflow ignores.
    extras: tuple[str, ...] = ()
    #: One bare record or several, a form that MLflow does not know.
    is_bare: bool = False
    #: A call of a chat model, which MLflow passes on as it is.
    llm: bool = False


@dataclass(slots=True)
class Frame:
    """A table by columns."""

    names: Sequence[str | int | float]
    values: Sequence[Sequence[Any]]
    rows: int
    index: list[Any] | None = None
    #: Some values are :data:`ABSENT`.
    holes: bool = False
    #: Names of columns that were not read.
    unknown: tuple[str, ...] = ()
    #: MLflow reads the same table in the original body.
    faithful: bool = True


def parse(
    body: Any, columns: frozenset[str], findings: Findings, *, nested: bool = True
) -> ParsedBody | None:
    """The parts of a body; None, and a violation, if it has none of the forms.

    Args:
        columns: those of the signature. If one is called ``params``, so is a column of a bare record.
        nested: whether a bare record may have lists and objects in it. Where the columns are unknown,
            such a body is more likely a table in a form that MLflow does not have.
    """
    if are_records(body):
        return ParsedBody(RECORDS, body, is_bare=True)
    if type(body) is not dict or not body:
        findings.add_form(_BODY, describe(body) if body else "nothing in it")
        return None
    forms = FORMS & body.keys()
    if not forms:
        request = _bare(body, columns)
        odd = None if nested or request.llm else _nested(request.data[0])
        if odd is None:
            return request
        findings.add_form(
            _WRAPPED,
            f"{describe(request.data[0][odd])} in a bare record",
            column=odd,
        )
        return None
    if len(forms) > 1:
        findings.add_form(_BODY, " and ".join(sorted(forms)))
        return None
    (form,) = forms
    if len(body) == 1:
        return ParsedBody(form, body[form])
    extras = tuple(body.keys() - FORMS - {PARAMS})
    return ParsedBody(form, body[form], body.get(PARAMS), extras)


def _nested(record: dict[str, Any]) -> str | None:
    return next((name for name, value in record.items() if type(value) in (list, dict)), None)


def _bare(body: dict[str, Any], columns: frozenset[str]) -> ParsedBody:
    for name in _LLM & body.keys():
        if columns and name not in columns:
            continue  # reported as any other unknown column
        if type(body[name]) in (str, list, dict):
            return ParsedBody(INPUTS, body, llm=True)
    if PARAMS in body and PARAMS not in columns and len(body) > 1:
        record = {name: value for name, value in body.items() if name != PARAMS}
        return ParsedBody(RECORDS, [record], body[PARAMS], is_bare=True)
    return ParsedBody(RECORDS, [body], is_bare=True)


def read_split(data: Any, findings: Findings) -> Frame | None:
    """The table in a ``dataframe_split``; None, and violations, if it has none."""
    expected = "dataframe_split: an object with columns, data and perhaps index"
    if type(data) is not dict or "data" not in data or not data.keys() <= _SPLIT_KEYS:
        odd = islice(data.keys() - _SPLIT_KEYS, 1) if type(data) is dict else ()
        got = "".join(f"an object with {clip(name)!a}" for name in odd)
        findings.add_form(expected, got or describe(data))
        return None
    rows, names = data["data"], data.get("columns")
    if type(rows) is not list or not set(map(type, rows)) <= {list}:
        findings.add_form("data: a list of rows, each a list", _culprit(rows, list))
        return None
    if names is None:
        names = list(range(len(rows[0]) if rows else 0))
    elif type(names) is not list or not set(map(type, names)) <= _NAMES:
        findings.add_form("columns: a list of names", _culprit(names, str))
        return None
    elif len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        findings.add_form("each column once", "it twice", column=column_text(twice), tally="")
        return None
    return _table(names, rows, data.get("index"), findings)


def read_rows(rows: list[list[Any]], findings: Findings) -> Frame | None:
    """The table in a list of rows, whose columns have numbers."""
    return read_split({"data": rows}, findings)


def read_frame(
    request: ParsedBody, wanted: Sequence[str] | None, findings: Findings
) -> Frame | None:
    """The table in one of the forms of :data:`FRAMES`; ``wanted`` as for :func:`read_records`."""
    if request.form == SPLIT:
        return read_split(request.data, findings)
    return read_records(request.data, wanted, findings)


def are_records(data: Any) -> bool:
    """Whether data is a list of one or more objects."""
    return type(data) is list and set(map(type, data)) == {dict}


def are_rows(data: Any) -> bool:
    """Whether data is a list of one or more lists."""
    return type(data) is list and set(map(type, data)) == {list}


def column_text(name: Any) -> str:
    """A column's name in a split frame as text."""
    return name if type(name) is str else dumps(name)


def _table(names: list[Any], rows: list[Any], index: Any, findings: Findings) -> Frame | None:
    width = len(names)
    if not set(map(len, rows)) <= {width}:
        odd = ((place, len(row)) for place, row in enumerate(rows) if len(row) != width)
        for place, length in islice(odd, SHOWN):
            findings.add(
                ViolationKind.RAGGED, f"{width} values in each row", str(length), row=place
            )
        findings.add_unseen(ViolationKind.RAGGED, sum(1 for _ in odd))
        return None
    if index is not None:
        if type(index) is not list or not set(map(type, index)) <= _NAMES:
            findings.add_form("index: a list of labels", describe(index))
            return None
        if len(index) != len(rows):
            findings.add(ViolationKind.RAGGED, f"index: {len(rows)} labels", str(len(index)))
            return None
    values = list(zip(*rows, strict=True)) if rows else [()] * width
    return Frame(names, values, len(rows), index)


def read_records(
    data: Any, wanted: Sequence[str] | None, findings: Findings, form: str = RECORDS
) -> Frame | None:
    """The table in a list of records; None, and a violation, if it has none.

    Args:
        wanted: the columns to read; None reads all, which each record must have.
    """
    if type(data) is not list or not set(map(type, data)) <= {dict}:
        findings.add_form(f"{form}: a list of objects", _culprit(data, dict))
        return None
    keys = list(chain.from_iterable(data))
    if data and len(keys) == len(data[0]) * len(data) and keys == list(data[0]) * len(data):
        return _read_uniform(data, wanted)
    found = dict.fromkeys(keys)
    uneven = not set(map(len, data)) <= {len(found)}
    if wanted is None and uneven:
        findings.add(
            ViolationKind.RAGGED, f"{form}: the same columns in each record", "others in some"
        )
        return None
    # Each column is read by itself, so unknown ones must not be read: a caller could send a million.
    read = [name for name in wanted if name in found] if wanted is not None else list(found)
    if len(read) * len(data) > max(_MOST_CELLS, 2 * len(keys)):
        findings.add(
            ViolationKind.RAGGED, f"{form}: the columns in most records", "almost none in most"
        )
        return None
    columns = [list(map(dict.get, data, repeat(name), repeat(ABSENT))) for name in read]
    unknown = tuple(found.keys() - set(read))
    return Frame(read, columns, len(data), holes=uneven, unknown=unknown)


def _read_uniform(records: list[dict[str, Any]], wanted: Sequence[str] | None) -> Frame:
    """The table in records with the same keys in the same order, as programs write them."""
    names = list(records[0])
    width = len(names)
    cells = list(chain.from_iterable(map(dict.values, records)))
    if wanted is None or wanted == names:
        return Frame(names, [cells[place::width] for place in range(width)], len(records))
    places = {name: place for place, name in enumerate(names)}
    read = [name for name in wanted if name in places]
    values = [cells[places[name] :: width] for name in read]
    return Frame(read, values, len(records), unknown=tuple(places.keys() - set(read)))


def _culprit(values: Any, kind: type) -> str:
    """The first value of another type, or the value that stands in place of the list."""
    if type(values) is not list:
        return describe(values)
    return describe(next(value for value in values if type(value) is not kind))
