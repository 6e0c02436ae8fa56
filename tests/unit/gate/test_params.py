"""Params: MLflow ignores those it does not know, and reads the others by rules of their own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.gate import dumps
from tests.support.enforcement import enforced
from tests.support.gates import column, gate, kinds, param, split

BODY = split(1)
A = column("long")
OPTIONS: dict[str, Any] = {
    "properties": {"k": {"type": "long"}, "t": {"type": "double", "required": False}}
}


def check(spec: dict[str, Any] | None, given: Any, mode: str = "strict") -> Any:
    gated = gate(A, mode=mode, params=[spec] if spec else None)
    return gated.check({**BODY, "params": given})


GOOD = [
    (param("long", 1), 2),
    (param("integer", 1), -(2**31)),
    (param("double", 0.5), 0.25),
    (param("double", 0.5), 3),
    (param("float", 0.5), 1.5),
    (param("string", "x"), ""),
    (param("boolean", True), False),
    (param("datetime", "2026-01-31"), "2026-01-31T12:00:00.123456"),
    (param("datetime", "2026-01-31"), "0001-01-01"),
    (param("string", None), None),
    (param("string", "x"), None),
    (param("long", 1), None),
    (param("boolean", True), None),
    (param("datetime", "2026-01-31"), None),
    (param("long", [1], many=True), []),
    (param("long", [1], many=True), [1, 2]),
    (param("double", [0.5], many=True), [1, 2.5]),
    (param("long", [1], many=True), [1, None]),
    (param("double", [0.5], many=True), [None, 2.5]),
    (param("string", ["x"], many=True), [None]),
    (param("object", {"k": 1}, **OPTIONS), {"k": 2, "t": 1.5}),
    (param("object", {"k": 1}, **OPTIONS), {"k": 2, "t": None}),
]
BAD = [
    (param("long", 1), 1.5),
    (param("long", 1), 3.0),
    (param("long", 1), True),
    (param("long", 1), "3"),
    (param("long", 1), [1]),
    (param("long", 1), 2**63),
    (param("integer", 1), 2**31),
    (param("double", 0.5), 2**53 + 1),
    (param("double", 0.5), True),
    (param("double", 0.5), "0.5"),
    (param("string", "x"), 1),
    (param("boolean", True), 1),
    (param("boolean", True), "true"),
    (param("datetime", "2026-01-31"), 5),
    (param("datetime", "2026-01-31"), "now"),
    (param("datetime", "2026-01-31"), "NaT"),
    (param("datetime", "2026-01-31"), "2026-01-31T12:00:00Z"),
    (param("datetime", "2026-01-31"), "2026-01-31T12:00:00.1234567"),
    (param("long", [1], many=True), 1),
    (param("long", [1], many=True), None),
    (param("long", [1], many=True), [[1]]),
    (param("object", {"k": 1}, **OPTIONS), {}),
    (param("object", {"k": 1}, **OPTIONS), {"k": 1, "x": 1}),
    (param("object", {"k": 1}, **OPTIONS), [1]),
    (param("binary", None), "aGVsbG8="),
]


@pytest.mark.parametrize(("spec", "value"), GOOD)
def test_what_fits_passes_as_it_is_and_mlflow_takes_it(spec: Any, value: Any) -> None:
    result = check(spec, {"p": value})
    assert (result.refused, result.payload, result.count) == (False, None, 0)
    _, params = enforced(dumps({**BODY, "params": {"p": value}}), [A], [spec])
    if spec["type"] != "datetime":
        assert params == {"p": value}


@pytest.mark.parametrize(("spec", "value"), BAD)
def test_what_does_not_fit_is_refused(spec: Any, value: Any) -> None:
    result = check(spec, {"p": value})
    assert result.refused
    assert set(kinds(result)) == {"params"}
    assert result.tally == {("p", "params"): 1}


@pytest.mark.parametrize(
    ("spec", "value", "sent"),
    [
        (param("long", 1), "3", 3),
        (param("long", 1), 3.0, 3),
        (param("double", 0.5), "0.5", 0.5),
        (param("boolean", True), "false", False),
        (param("datetime", "2026-01-31"), "2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00"),
        (param("long", [1], many=True), ["1", 2.0], [1, 2]),
        (param("object", {"k": 1}, **OPTIONS), {"k": "2", "t": 1}, {"k": 2, "t": 1.0}),
    ],
)
def test_coerce_converts(spec: Any, value: Any, sent: Any) -> None:
    payload = check(spec, {"p": value}, "coerce").payload
    assert repr(payload) == repr({**BODY, "params": {"p": sent}})
    enforced(dumps(payload), [A], [spec])


def test_a_whole_number_inside_an_object_becomes_the_float_mlflow_asks_for() -> None:
    spec = param("object", {"k": 1}, **OPTIONS)
    payload = check(spec, {"p": {"k": 2, "t": 3}}).payload
    assert repr(payload["params"]) == "{'p': {'k': 2, 't': 3.0}}"
    enforced(dumps(payload), [A], [spec])


@pytest.mark.parametrize("spec", [None, param("long", 1)])
def test_a_parameter_nobody_knows_is_refused_or_dropped(spec: Any) -> None:
    """MLflow ignores it: a caller who writes ``temprature`` never learns of it."""
    result = check(spec, {"temprature": 1})
    assert result.refused
    assert kinds(result) == ["params"]
    assert result.tally == {("", "params"): 1}
    lenient = check(spec, {"temprature": 1}, "coerce")
    assert (lenient.refused, lenient.count) == (False, 1)
    assert lenient.payload == {**BODY, "params": {}}
    observed = check(spec, {"temprature": 1}, "observe")
    assert (observed.refused, observed.payload, observed.count) == (False, None, 1)


@pytest.mark.parametrize("given", [None, {}])
@pytest.mark.parametrize("spec", [None, param("long", 1)])
def test_no_params_are_fine(spec: Any, given: Any) -> None:
    result = check(spec, given)
    assert (result.refused, result.payload, result.count) == (False, None, 0)


@pytest.mark.parametrize("given", [1, "x", [], [1]])
def test_params_are_an_object(given: Any) -> None:
    assert kinds(check(param("long", 1), given)) == ["params"]
    assert check(param("long", 1), given, "coerce").refused
    dropped = check(None, given, "coerce")
    assert (dropped.refused, dropped.payload) == (False, BODY)


def test_parameters_of_a_model_without_columns_are_checked() -> None:
    gated = gate(params=[param("long", 1)])
    assert not gated.checked
    assert kinds(gated.check({"inputs": [1], "params": {"p": "x"}})) == ["params"]
    assert not gated.check({"inputs": [1], "params": {"p": 2}}).refused


SPECS = [spec for spec, _ in GOOD]
VALUES = st.sampled_from([value for _, value in [*GOOD, *BAD]]) | st.sampled_from(
    [
        0,
        -1,
        1e30,
        2**53 + 1,
        10**300,
        "3",
        "3.0",
        "nan",
        "NaT",
        "today",
        "2026",
        [True],
        [1.5],
        ["x"],
        {"k": 1.5},
    ]
)


@given(st.sampled_from(SPECS), VALUES, st.sampled_from(["strict", "coerce"]))
def test_what_passes_mlflow_takes_and_does_not_change(spec: Any, value: Any, mode: str) -> None:
    result = check(spec, {"p": value}, mode)
    if result.refused:
        return
    body = result.payload or {**BODY, "params": {"p": value}}
    _, params = enforced(dumps(body), [A], [spec])
    if spec["type"] == "datetime" and params["p"] is not None:
        assert params["p"].isoformat()[:10] == body["params"]["p"][:10]
    else:
        assert params == body["params"]
    if mode == "strict":
        assert body["params"] == {"p": value}
