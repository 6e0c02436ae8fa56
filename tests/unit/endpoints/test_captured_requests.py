"""Captured requests become bodies again that give the model the same values."""

import base64
from datetime import datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from model_deployment.core.options import Options, Validation
from model_deployment.documents.base import Collection
from model_deployment.endpoints.replay.captured_requests import (
    CapturedRequests,
    labels,
    newest,
    telling,
)
from model_deployment.endpoints.replay.examined_version import ExaminedVersion
from model_deployment.gate import dumps
from model_deployment.tabular.body_tables import BodyTable, read
from tests.support.examined import captured, version
from tests.support.gates import Spec, column, tensor
from tests.support.memory_documents import MemoryDocuments

_FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)
#: Values as callers send them, by the type of the column.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "long": st.integers(-(2**63), 2**63 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "double": _FLOATS | st.integers(-(2**53), 2**53),
    "float": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "boolean": st.booleans(),
    "string": st.text(st.characters(codec="utf-8"), max_size=8),
    "binary": st.binary(max_size=8).map(lambda some: base64.b64encode(some).decode()),
    "datetime": st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(datetime.isoformat),
}  # fmt: skip
_LIST: Spec = {"type": "array", "items": {"type": "double"}}
_OBJECT: Spec = {
    "type": "object",
    "properties": {"a": {"type": "long", "required": True}, "b": {"type": "string", "required": False}},
}  # fmt: skip
NESTED: list[tuple[Spec, st.SearchStrategy[Any]]] = [
    (_LIST, st.lists(_FLOATS, min_size=1, max_size=3)),
    (
        _OBJECT,
        st.fixed_dictionaries({"a": st.integers(-9, 9)}, optional={"b": st.text("xy", max_size=3)}),
    ),
    (
        {"type": "map", "values": {"type": "double"}},
        st.dictionaries(st.text("xy", min_size=1, max_size=3), _FLOATS, max_size=2),
    ),
]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Spec], list[str], list[list[Any]]]:
    """Columns of a signature, and rows of them."""
    specs, kinds = [], []
    for place in range(draw(st.integers(1, 4))):
        plain = st.sampled_from(sorted(VALUES)).map(lambda kind: ({"type": kind}, VALUES[kind]))
        spec, values = draw(plain | st.sampled_from(NESTED))
        required = draw(st.booleans())
        specs.append(column(spec, f"c{place}", required=required))
        kinds.append(values if required else values | st.none())
    rows = draw(st.lists(st.tuples(*kinds).map(list), min_size=1, max_size=3))
    return specs, [spec["name"] for spec in specs], rows


async def rebuilt(one: ExaminedVersion, *documents: dict[str, Any]) -> CapturedRequests:
    store = MemoryDocuments()
    store.kept[Collection.CAPTURES].extend(documents)
    return await newest(store.store, one, 10)


def seen(one: ExaminedVersion, body: Any) -> dict[str, list[Any]]:
    """What the model gets of a body: the values of each column, in one spelling."""
    result = one.gate.check(body)
    assert not result.refused, result.violations
    sent = body if result.payload is None else result.payload
    table = read("application/json", dumps(sent), nested=one.inputs.nested)
    assert isinstance(table, BodyTable)
    return {taken.name: list(taken.values) for taken in one.inputs.take(table)}


@given(tables(), st.sampled_from(["dataframe_split", "dataframe_records", "inputs", "bare"]))
async def test_a_table_gives_the_model_the_same_values_again(
    table: tuple[list[Spec], list[str], list[list[Any]]], form: str
) -> None:
    specs, names, rows = table
    records = [dict(zip(names, row, strict=True)) for row in rows]
    bodies = {
        "dataframe_split": {"dataframe_split": {"columns": names, "data": rows}},
        "bare": records,
    }
    body = bodies.get(form, {form: records})
    one = version(*specs)
    assume(not one.gate.check(body).refused)
    wanted = seen(one, body)
    found = await rebuilt(one, captured(one, body, [0] * len(rows)))
    assert not found.left_out
    assert seen(one, found.requests[0].body) == wanted
    assert found.requests[0].rows == len(rows)


@pytest.mark.parametrize(
    ("specs", "hinted", "body"),
    [
        pytest.param([], False, {"inputs": [[1, 2.5], [3, 4]]}, id="rows, no signature"),
        pytest.param([], False, {"inputs": ["a", "b"]}, id="texts, no signature"),
        pytest.param(
            [], False, {"dataframe_split": {"columns": ["x"], "data": [[1]]}}, id="frame, no signature"
        ),
        pytest.param([tensor("float64", -1, 2)], False, {"inputs": [[1.5, 2.0], [3.0, 4.0]]}, id="tensor"),
        pytest.param([tensor("int64", -1)], False, {"inputs": [1, 2]}, id="flat tensor"),
        pytest.param([tensor("int64", -1, 1)], False, {"inputs": [[1], [2]]}, id="tensor of one column"),
        pytest.param([tensor("int64", -1, 2, 2)], False, {"inputs": [[[1, 2], [3, 4]]]}, id="images"),
        pytest.param(
            [tensor("int64", -1, 2, name="a"), tensor("str", -1, name="b")],
            False,
            {"inputs": {"a": [[1, 2], [3, 4]], "b": ["x", "y"]}},
            id="named tensors",
        ),
        pytest.param(
            [{"type": "double"}, {"type": "string"}],
            False,
            {"dataframe_split": {"data": [[1.5, "a"]]}},
            id="columns without names",
        ),
        pytest.param([{"type": "string"}], True, {"inputs": ["a", "b"]}, id="hint of texts"),
        pytest.param(
            [{"type": "array", "items": {"type": "double"}}], True, {"inputs": [[1.0], [2.0]]}, id="lists"
        ),
        pytest.param([_OBJECT], True, {"inputs": [{"a": 1}, {"a": 2, "b": "x"}]}, id="hint of objects"),
    ],
)  # fmt: skip
async def test_a_body_becomes_itself_again(specs: list[Spec], hinted: bool, body: Any) -> None:
    one = version(*specs, hinted=hinted)
    found = await rebuilt(one, captured(one, body))
    assert [request.body for request in found.requests] == [body], found.left_out


async def test_numbers_as_names_stay_numbers() -> None:
    one = version({**column("long"), "name": 0}, {**column("long"), "name": 1})
    body = {"dataframe_split": {"columns": [1, 0], "data": [[10, 20]]}}
    found = await rebuilt(one, captured(one, body))
    assert found.requests[0].body == {"dataframe_split": {"columns": [0, 1], "data": [[20, 10]]}}


async def test_csv_becomes_a_frame_with_the_first_of_two_columns() -> None:
    one = version(
        column("string"), column("double", "x"), options=Options(validation=Validation.OBSERVE)
    )
    found = await rebuilt(one, captured(one, b"a,x,x\n007,1,9\n,,9\n", media_type="text/csv"))
    frame = found.requests[0].body["dataframe_split"]
    assert frame == {"columns": ["a", "x"], "data": [["007", 1.0], [None, None]]}


async def test_captures_that_cannot_be_sent_again_are_counted_and_said() -> None:
    small = Options(max_capture_bytes=120)
    one = version(column("long"), options=small)
    good = {"inputs": [{"a": 1}]}
    found = await rebuilt(
        one,
        captured(one, good, id="good"),
        captured(one, {"inputs": [{"a": 1}] * 99}, id="large"),
        captured(one, {"messages": [{"role": "user"}]}, id="chat"),
        captured(one, {**good, "params": {"k": 1}}, id="params"),
        captured(one, {"dataframe_split": {"columns": ["a"], "data": []}}, [], id="empty"),
        captured(one, {"inputs": [{"a": 1}]}, id="x") | {"data": [["no number"]]},
    )
    assert [request.id for request in found.requests] == ["good"]
    assert found.figures()["unusable"] == {
        "too_large": 1, "chat": 1, "params": 1, "empty": 1, "incomplete": 1
    }  # fmt: skip
    assert found.left_out.startswith("5 of 6 captured requests cannot be sent again: ")
    assert "raise max_capture_bytes" in found.advice


_EXCLUDED, _HASHED = Options(capture_exclude=("A",)), Options(capture_hash=("a",))


@pytest.mark.parametrize("told", [True, False], ids=["told", "earlier release"])
@pytest.mark.parametrize("options", [_EXCLUDED, _HASHED], ids=["excluded", "hashed"])
async def test_hidden_columns_are_said(options: Options, told: bool) -> None:
    one = version(column("string", required=False), column("long", "b"), options=options)
    document = captured(one, {"a": "secret", "b": 1})
    if not told:
        del document["hidden"]
    found = await rebuilt(one, document)
    assert not found.requests
    assert found.figures()["hidden_columns"] == ["a"]
    assert "captured without the values of some columns (a)" in found.left_out


async def test_hidden_columns_that_the_model_does_not_take_do_not_matter() -> None:
    options = Options(capture_exclude=("customer",), validation=Validation.OBSERVE)
    one = version(column("long"), options=options)
    found = await rebuilt(one, captured(one, {"a": 1, "customer": "x"}))
    assert found.requests[0].body == {"dataframe_split": {"columns": ["a"], "data": [[1]]}}


@pytest.mark.parametrize("options", [_EXCLUDED, _HASHED], ids=["excluded", "hashed"])
async def test_captures_older_than_the_option_are_whole(options: Options) -> None:
    before = version(column("string"))
    document = captured(before, {"a": "open"})
    del document["hidden"]
    found = await rebuilt(version(column("string"), options=options), document)
    assert len(found.requests) == 1


async def test_values_of_earlier_releases_are_converted() -> None:
    one = version(column("double"))
    document = captured(one, {"a": 1}) | {"columns": ["a"], "data": [["1.5"]], "typed": False}
    found = await rebuilt(one, document)
    assert found.requests[0].body["dataframe_split"]["data"] == [[1.5]]


async def test_newest_come_first_and_no_more_than_wanted() -> None:
    one = version(column("long"))
    store = MemoryDocuments()
    store.kept[Collection.CAPTURES] += [
        captured(one, {"a": place}, id=str(place), at=1e9 + place) for place in range(9)
    ]
    found = await newest(store.store, one, 3)
    assert [request.id for request in found.requests] == ["8", "7", "6"]
    assert store.open_streams == 0


async def test_most_requests_that_are_replayed_have_labels_if_some_have() -> None:
    one = version(column("long"))
    store = MemoryDocuments()
    store.kept[Collection.CAPTURES] += [
        captured(one, {"a": place}, id=str(place), at=1e9 + place) | {"_id": str(place)}
        for place in range(20)
    ]
    found = await telling(store.store, one, 5)
    assert [request.id for request in found.requests] == ["19", "18", "17", "16", "15"]
    for place in range(6):
        store.label(str(place), 0, 1.0)
    found = await telling(store.store, one, 5)
    ids = [request.id for request in found.requests]
    assert len({*ids[:4]} & {"0", "1", "2", "3", "4", "5"}) == 4
    assert ids[4:] == ["19"]
    assert store.open_streams == 0


async def test_labels_of_an_id_that_was_sent_twice_are_of_no_request() -> None:
    one = version(column("long"))
    store = MemoryDocuments()
    for place, id in enumerate(["once", "twice", "twice"]):
        store.kept[Collection.CAPTURES].append(captured(one, {"a": place}, id=id) | {"_id": place})
    store.label("once", 0, 5)
    store.label("twice", 0, 6)
    found = await newest(store.store, one, 9)
    assert await labels(store.store, one, found.requests) == {"once": {0: 5}}
