"""A fork answers as ``mlflow models serve`` does: the same requests to both, and they agree."""

import base64
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import conforming_models
from tests.support.answer_pairs import Pair, Pairs, save

pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]

JSON = {"Content-Type": "application/json"}
#: Generated requests for each model; by hand: EXAMPLES=2000.
EXAMPLES = int(os.environ.get("EXAMPLES", "60"))

Request = tuple[str, str, bytes, dict[str, str]]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Pair]]:
    """Every model, served both ways."""
    folder = tmp_path_factory.mktemp("conformance")
    models = folder / "models"
    models.mkdir()
    save(Path(conforming_models.__file__), models)
    with Pairs(folder, models) as made:
        yield made.start(("columns",), together=("odd", "optional", "tensor", "plain"))


def post(body: Any, headers: dict[str, str] = JSON) -> Request:
    """A prediction."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return "POST", "/invocations", content, headers


def agree(pair: Pair, requests: list[Request]) -> None:
    """Check that both answer alike."""
    found = []
    for method, path, body, headers in requests:
        serve, fork = pair.ask(method, path, body, headers)
        if serve != fork:
            found.append(f"{method} {path} {body[:200]!r} {headers}\n  {serve}\n  {fork}")
    assert not found, "\n".join(found)


ROW = {"d": 1.5, "d2": 2, "f": 0.5, "l": 7, "i": 3, "b": True, "s": "a"}
OTHER = {"d": -1e300, "d2": 1, "f": 3.0, "l": -7, "i": 0, "b": False, "s": "Grüße 🙂"}


#: What may stand under ``params``, fitting or not.
_PARAMS: list[Any] = [
    {}, {"scale": 2}, {"scale": 2.5, "words": "b"}, {"scale": "x"}, {"other": 1}, None,
    [], "x", {"scale": None}, {"scale": [1.0]}, {"words": 1}, {"scale": True},
]  # fmt: skip


def split(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    data = [[*row.values()] for row in rows]
    return {"dataframe_split": {"columns": [*rows[0]], "data": data, **more}}


def records(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"dataframe_records": [*rows]}


def without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def _forms(*rows: dict[str, Any]) -> list[Any]:
    return [
        split(*rows),
        records(*rows),
        {"instances": [*rows]},
        {"inputs": {name: [row[name] for row in rows] for name in rows[0]}},
        {"inputs": [*rows]},
        split(*rows, index=[f"r{number}" for number in range(len(rows))]),
        split(*(dict(reversed(row.items())) for row in rows)),
        records(*(dict(reversed(row.items())) for row in rows)),
    ]


def _columns() -> list[Any]:
    edges: dict[str, list[Any]] = {
        "d": [None, "1.5", "x", True, 2**53 + 1, 2**63, 2**64, 2**70, 1e400, -0.0, [1], {}, 5],
        "f": [None, 1, 16777217, 1e39, "0.5", 0.1],
        "l": [None, 1.0, 1.5, 2**63 - 1, 2**63, -(2**63), 2**64, 1e30, "7", True, "x"],
        "i": [None, 1.0, 2**31 - 1, 2**31, -(2**31) - 1, "3", True],
        "b": [None, 1, 0, "true", "x", 1.0],
        "s": [None, 1, 1.5, True, ["a"], "", "\x00", "2026-01-31"],
    }
    return [
        *_forms(ROW),
        *_forms(ROW, OTHER, ROW),
        *(
            form(*rows)
            for name, values in edges.items()
            for value in values
            for form in (split, records)
            for rows in ([{**ROW, name: value}], [ROW, {**OTHER, name: value}])
        ),
        *(form(without(ROW, "s")) for form in (split, records)),
        *(form({**ROW, "extra": 1}) for form in (split, records)),
        records(ROW, without(OTHER, "d")),
        records(ROW, {**OTHER, "extra": 2}),
        split({}),
        records({}),
        records(),
        {"dataframe_records": {"d": [1]}},
        {"dataframe_records": [1]},
        {"dataframe_records": "x"},
        {"dataframe_split": []},
        {"dataframe_split": {"columns": ["d"]}},
        {"dataframe_split": {"data": [[1, 2]]}},
        {"dataframe_split": {"columns": ["d", "d"], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": [*ROW], "data": [[1, 2]]}},
        {"dataframe_split": {"columns": [*ROW], "data": []}},
        {"dataframe_split": {"columns": [*ROW], "data": [[*ROW.values()], []]}},
        {"dataframe_split": {"columns": [*ROW], "data": [{}]}},
        {"dataframe_split": {"columns": [1, 2, 3, 4, 5, 6, 7], "data": [[*ROW.values()]]}},
        {**split(ROW), "dataframe_records": [ROW]},
        {**split(ROW), "unknown": 1},
        {"columns": [*ROW], "data": [[*ROW.values()]]},
        *(
            {**form(ROW), "params": params}
            for form in (split, records)
            for params in _PARAMS
        ),
    ]  # fmt: skip


def _raw() -> list[Request]:
    whole = json.dumps(split(ROW)).encode()
    text = "d,d2,f,l,i,b,s\n1.5,2,0.5,7,3,True,a\n"
    bodies = [
        b"", b" ", b"{", b"[]", b"[1]", b"1", b'"x"', b"null", b"true", b"{}", b"\xff", b"nonsense",
        b"\xef\xbb\xbf" + whole, whole + b"x", whole * 2, whole.replace(b"1.5", b"NaN"),
        whole.replace(b"1.5", b"Infinity"), whole.replace(b"1.5", b"-Infinity"),
        whole.replace(b"1.5", b"1" * 400), whole.replace(b"1.5", b"01"), whole.replace(b"1.5", b"-0"),
        whole.replace(b"1.5", b"1.5e"), whole.replace(b'"a"', b'"\\ud800"'),
        whole.replace(b'"a"', b'"\\u0000"'), whole.replace(b'"a"', b'"\t"'),
        b'{"dataframe_records": [{"d": 1, "d": 2.5, "d2": 1, "f": 0.5, "l": 1, "i": 1, "b": true, '
        b'"s": "x"}]}',
        b"[" * 2000 + b"]" * 2000,
        json.dumps(split(*[ROW] * 3000)).encode(),
        json.dumps({"messages": [{"role": "user", "content": "x"}]}).encode(),
    ]  # fmt: skip
    types = [
        "application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON",
        "application/json; charset=latin-1", "application/json; version=1", "text/plain", "", "x/y",
    ]  # fmt: skip
    return [
        *(post(body) for body in bodies),
        *(post(whole, {"Content-Type": kind}) for kind in types),
        post(whole, {}),
        *(
            post(csv, {"Content-Type": kind})
            for kind in ("text/csv", "text/csv; charset=utf-8")
            for csv in (
                text.encode(), b"", b"d,d2\n1,2\n", b"\xff", text.replace("1.5", "x").encode(),
                text.replace("7", "").encode(), b"x", text.encode() * 2,
            )
        ),
        post(_parquet(), {"Content-Type": "application/vnd.apache.parquet"}),
        post(b"x", {"Content-Type": "application/vnd.apache.parquet"}),
        *(("GET", path, b"", {}) for path in ("/ping", "/health", "/version", "/x", "/invocations")),
        *(("POST", path, b"", {}) for path in ("/ping", "/version", "/x")),
        ("HEAD", "/ping", b"", {}),
        ("PUT", "/invocations", whole, JSON),
    ]  # fmt: skip


def _parquet() -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"f": pa.float32(), "i": pa.int32(), "d2": pa.float64()}
    table = pa.table({name: pa.array([value], kinds.get(name)) for name, value in ROW.items()})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def test_columns_of_every_type_in_every_form(pairs: dict[str, Pair]) -> None:
    agree(pairs["columns"], [post(body) for body in _columns()])


def test_bytes_that_are_no_request_and_other_paths(pairs: dict[str, Pair]) -> None:
    agree(pairs["columns"], _raw())


def test_columns_that_may_be_left_out(pairs: dict[str, Pair]) -> None:
    row = {"x": 1.5, "y": 2, "od": 2.5, "os": "b", "at": "2026-01-31T12:00:00"}
    bodies = [
        *_forms(row, {**row, "at": "1999-12-31"}),
        *(form(without(row, name)) for name in row for form in (split, records)),
        *(form({**row, name: None}) for name in row for form in (split, records)),
        *(form(row, {**row, name: None}) for name in row for form in (split, records)),
        *(
            form({**row, "at": at})
            for at in ("x", 1, 1.5, "2026-01-31T12:00:00Z")
            for form in (split,)
        ),
        *_forms({"x": 1, "y": 2.5}, {"x": -0.0, "y": None}, {"x": 2**63, "y": 1e-320}),
        split({"x": None, "y": None}),
        split({"y": 1, "x": 2}),
        split({"x": 1, "y": 2, "od": 1}),
        split({"od": 1, "y": 2, "x": 1}),
    ]
    agree(pairs["optional"], [post(body) for body in bodies])


@pytest.mark.parametrize("model", ["tensor", "plain"])
def test_tensors_and_models_without_a_signature(pairs: dict[str, Pair], model: str) -> None:
    encoded = base64.b64encode(b"ab").decode()
    bodies: list[Any] = [
        *({form: value} for form in ("instances", "inputs") for value in (
            [[1.0, 2.0]], [[1, 2], [3, 4]], [1.0, 2.0], [[1.0]], [["a", "b"]], [[None, 1.0]], [], 1,
            {"a": [1, 2]}, [{"a": 1}, {"a": 2}], "x", None, [[1.0, 2.0], [3.0]], {"b64": encoded},
        )),
        split({"a": 1.5, "b": 2}), records({"a": 1.5, "b": 2}), split({"a": "x", "b": None}),
        records({"a": [1.0, 2.0]}), {"inputs": {"a": [1, 2], "b": [3]}}, {"params": {}},
        {"inputs": [[1.0, 2.0]], "params": {"scale": 1}},
    ]  # fmt: skip
    agree(pairs[model], [post(body) for body in bodies])


def test_whatever_a_model_answers(pairs: dict[str, Pair]) -> None:
    from tests.support.model_code import odd  # sets the model of this process, which nothing reads

    requests = [post(split({"x": number})) for number in range(odd.SLOW)]
    agree(pairs["odd"], requests)
    serve, fork = pairs["odd"].ask(*post(split({"x": odd.SLOW})))
    assert serve == fork
    assert fork[0] == 504


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-10, 10)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
)
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "double": st.floats() | st.integers(-(2**64), 2**64),
    "float": st.floats(width=32) | st.integers(-1000, 1000),
    "long": st.integers(-(2**63), 2**63 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "boolean": st.booleans(),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    "datetime": st.datetimes().map(lambda at: at.isoformat()),
}


@st.composite
def requests(draw: st.DrawFn, columns: dict[str, str]) -> Any:
    """A body of one of the forms, whose values fit, or mostly do."""
    names = draw(st.permutations([*columns])) if draw(st.booleans()) else [*columns]
    if draw(st.integers(0, 9)) == 0:
        names = [
            *names[: draw(st.integers(0, len(names)))],
            *draw(st.lists(st.just("x"), max_size=1)),
        ]
    wild = draw(st.integers(0, 3)) == 0
    rows = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    name: (VALUES | FITTING.get(columns.get(name, ""), VALUES))
                    if wild
                    else FITTING.get(columns.get(name, ""), VALUES)
                    for name in names
                }
            ),
            min_size=1,
            max_size=4,
        )
    )
    form = draw(st.sampled_from(["split", "split", "records", "records", "instances", "inputs"]))
    match form:
        case "split":
            body = split(*rows)
        case "records":
            body = records(*rows)
        case "instances":
            body = {"instances": rows}
        case _:
            body = {"inputs": {name: [row[name] for row in rows] for name in names}}
    if draw(st.integers(0, 5)) == 0:
        body["params"] = {"scale": draw(VALUES)}
    return body


@pytest.mark.parametrize(
    ("model", "columns"),
    [
        ("columns", conforming_models.COLUMNS),
        ("optional", {"x": "double", "y": "double", **conforming_models.OPTIONAL}),
        ("optional", {"x": "double", "y": "double"}),
    ],
)
def test_requests_that_nobody_thought_of(
    pairs: dict[str, Pair], model: str, columns: dict[str, str]
) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[*HealthCheck],
    )
    @given(requests(columns))
    def generated(body: Any) -> None:
        agree(pairs[model], [post(body)])

    generated()
