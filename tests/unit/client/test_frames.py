"""Data frames as the gate and a model of MLflow read them."""

import json
import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.client.bodies import bodies
from model_deployment.client.errors import Unsendable
from model_deployment.client.frames import split_of
from tests.support.gates import column, gate

WIDE = 2**53 + 1
NOON, ELEVEN = "2026-01-31T12:00:00", "2026-01-31T11:00:00"


def sent(data: Any, **more: Any) -> Any:
    (body,) = bodies(data, **more)
    return json.loads(body.content)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pd.Series([WIDE, -WIDE]), "long", [WIDE, -WIDE]),
        (pd.Series([2**63], dtype="uint64"), None, [2**63]),
        (pd.Series([1, None], dtype="Int64"), "long", [1, None]),
        (pd.Series([WIDE, None], dtype="Int64"), "long", [WIDE, None]),
        (pd.Series([True, None], dtype="boolean"), "boolean", [True, None]),
        (pd.Series([0.1, math.nan]), "double", [0.1, None]),
        (pd.Series([0.1, None], dtype="Float64"), "double", [0.1, None]),
        (pd.Series([np.float32(0.5)]), "float", [0.5]),
        (pd.Series(["ü", "\U0001f600", None]), "string", ["ü", "\U0001f600", None]),
        (pd.Series(["a", None], dtype="string"), "string", ["a", None]),
        (pd.Series(["b", "a", None], dtype="category"), "string", ["b", "a", None]),
        (pd.Series([3, 1], dtype="category"), "long", [3, 1]),
        (pd.Series([b"\x00\xff"]), "binary", ["AP8="]),
        (pd.Series([[1.0, 2.0], [3.0]]), {"type": "array", "items": {"type": "double"}}, [[1, 2], [3]]),
        (pd.Series([np.array([1.0])]), {"type": "array", "items": {"type": "double"}}, [[1]]),
        (pd.Series([Decimal("0.5"), None]), "double", [0.5, None]),
        (pd.Series([1, "a", None, date(2026, 1, 31)], dtype=object), None, [1, "a", None, "2026-01-31"]),
        (pd.to_datetime(pd.Series([NOON, None])), "datetime", [NOON, None]),
        (pd.to_datetime(pd.Series([NOON + "+01:00"]), utc=True), "datetime", [ELEVEN]),
        (pd.Series([datetime.fromisoformat(NOON + "+01:00")], dtype=object), "datetime", [ELEVEN]),
        (pd.Series([pd.Timestamp(NOON), pd.NaT], dtype=object), "datetime", [NOON, None]),
    ],
)  # fmt: skip
def test_values_of_each_type_are_those_that_the_signature_wants(
    values: "pd.Series", kind: Any, expected: list[Any]
) -> None:
    body = sent(values.to_frame("a"))
    found = [row[0] for row in body["dataframe_split"]["data"]]
    comparable = [value[:19] if kind == "datetime" and value else value for value in found]
    assert comparable == expected
    assert [type(value) for value in comparable if value is not None] == [
        type(value) for value in found if value is not None
    ]
    if kind is not None and None not in expected:
        assert not gate(column(kind)).check(body).violations


@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.floats(allow_infinity=False),
            st.text(st.characters(codec="utf-8")),
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_no_digit_and_no_character_is_lost(rows: list[tuple[Any, ...]]) -> None:
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "d"])
    expected = [
        [None if isinstance(value, float) and math.isnan(value) else value for value in row]
        for row in rows
    ]
    assert sent(frame)["dataframe_split"]["data"] == expected


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns are called a"),
        (pd.DataFrame([[1]], columns=[("a", "b")]), "several levels"),
        (pd.DataFrame([[1]], columns=[pd.Timestamp(NOON)]), "names that are text"),
        (pd.DataFrame(index=[1, 2]), "no columns"),
        (pd.DataFrame({"a": [1.0, math.inf]}), "row 1 of column 'a': JSON has no infinite"),
        (pd.DataFrame({"a": [1j]}), "complex"),
        (pd.DataFrame({"a": pd.to_timedelta([1], unit="s")}), "duration"),
        (pd.DataFrame({"a": [object()]}), "JSON has no builtins.object"),
        (pd.DataFrame({"a": ["\ud800"]}, dtype=object), "surrogate"),
        (pd.DataFrame({"a": [{1.5: 2}]}), "a name must be text"),
    ],
)
def test_what_json_has_not_is_refused_before_anything_is_sent(
    frame: "pd.DataFrame", why: str
) -> None:
    with pytest.raises(Unsendable, match=f"^cannot send .*{why}"):
        split_of(frame)


def test_a_frame_without_rows_keeps_its_columns_and_one_without_names_has_none() -> None:
    empty = pd.DataFrame({"a": pd.Series(dtype=float), "b": pd.Series(dtype=object)})
    assert split_of(empty) == {"columns": ["a", "b"], "data": []}
    assert split_of(pd.DataFrame([[1, 2]])) == {"data": [[1, 2]]}
    assert split_of(pd.DataFrame([[1, 2]], columns=[5, 6])) == {"columns": [5, 6], "data": [[1, 2]]}


def test_rows_can_be_sent_a_few_at_a_time() -> None:
    frame = pd.DataFrame({"a": range(5)})
    parts = list(bodies(frame, rows_per_request=2))
    assert [part.rows for part in parts] == [2, 2, 1]
    rows = [json.loads(part.content)["dataframe_split"]["data"] for part in parts]
    assert rows == [[[0], [1]], [[2], [3]], [[4]]]


def test_a_row_of_a_frame_is_a_record() -> None:
    frame = pd.DataFrame({"a": [WIDE], "b": ["x"]})
    assert sent(frame.iloc[0]) == {"a": WIDE, "b": "x"}
    with pytest.raises(Unsendable, match="to_frame"):
        sent(pd.Series([1, 2]))
