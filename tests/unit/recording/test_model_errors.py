"""Which failures are written at once, which are counted, and what is told of them."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.domain import State
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.core.routes import Route
from model_deployment.recording.capture import encode
from model_deployment.recording.model_errors import ErrorRecords, Failure, error_document
from model_deployment.recording.tracebacks import raised, without_messages

TRACE = """Traceback (most recent call last):
  File "/site/mlflow/pyfunc/scoring_server.py", line 300, in invocations
    raw = model.predict(data)
          ^^^^^^^^^^^^^^^^^^^
  File "/models/m-1/code/model.py", line 12, in predict
    return float(row["age"])
ValueError: could not convert string to float: 'Ada
Lovelace'
"""
CHAINED = f"""{TRACE}
The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/models/m-1/code/model.py", line 20, in predict
    raise scoring.Unreadable from error
scoring.Unreadable
"""


def route(version: int = 1, **options: Any) -> Route:
    return Route(ModelKey("m", version), State.READY, options=Options(**options), artifact="a")


def failure(name: str = "r", trace: str = TRACE, **more: Any) -> Failure:
    told: dict[str, Any] = {
        "status": 502,
        "launch_id": "l",
        "title": "Model failed",
        "detail": "cannot …",
    }
    return Failure(name, traceback=trace, **(told | more))


def stored(head: dict[str, Any] | None) -> dict[str, Any]:
    assert head is not None
    found = error_document("1", b"".join(encode(head, b"", b"")))
    assert found is not None
    return found


def test_the_last_exception_of_a_traceback_is_told() -> None:
    found = raised(TRACE)
    assert found is not None
    assert found.exception == "ValueError"
    assert found.message == "could not convert string to float: 'Ada Lovelace'"
    assert found.frames[-1] == "/models/m-1/code/model.py:12:predict"
    chained = raised(CHAINED)
    assert chained is not None
    assert (chained.exception, chained.message) == ("scoring.Unreadable", "")
    assert raised("Internal Server Error") is None


def test_hidden_values_are_in_no_document() -> None:
    assert "Ada" not in without_messages(CHAINED)
    assert without_messages(CHAINED).splitlines()[-1] == "scoring.Unreadable"
    for hides in (
        {"capture_exclude": ("age",)}, {"capture_hash": ("age",)}, {"capture_rate": 0.0},
        {"max_capture_bytes": 0},
    ):  # fmt: skip
        made = stored(ErrorRecords().note(route(**hides), failure(), 1e9))
        assert (made["exception"], made["message"]) == ("ValueError", "")
        assert 'model.py", line 12' in made["trace"]
        assert "Lovelace" not in str(made)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (failure(), failure(trace=TRACE.replace("Ada", "Bea")), True),
        (failure(), failure(trace=TRACE.replace("line 12", "line 13")), False),
        (failure(), failure(trace=TRACE.replace("ValueError", "KeyError")), False),
        (failure(trace="", message="row 7 is bad"), failure(trace="", message="row 8 is bad"), True),
        (failure(trace="", title="Model timed out"), failure(trace=""), False),
    ],
)  # fmt: skip
def test_failures_are_alike_by_what_raised_them(one: Failure, other: Failure, alike: bool) -> None:
    first, second = (stored(ErrorRecords().note(route(), each, 1e9)) for each in (one, other))
    assert (first["fingerprint"] == second["fingerprint"]) is alike


def test_repeated_failures_are_written_together() -> None:
    errors = ErrorRecords()
    heads = [errors.note(route(), failure(f"r{n}"), 1e9 + n / 100) for n in range(1000)]
    at_once = [stored(head) for head in heads if head is not None]
    assert len(at_once) == 10
    assert [bool(one["trace"]) for one in at_once] == [True] + [False] * 9
    assert errors.due(1e9 + 10) == []
    (later,) = map(stored, errors.due(1e9 + 10.2))
    assert (later["count"], later["request_ids"][-1], len(later["request_ids"])) == (
        990,
        "r999",
        10,
    )
    assert (later["first_at"], later["request_id"]) == ("2001-09-09T01:46:40.100+00:00", "r10")
    # A minute later it is told at once again, with its traceback.
    again = stored(errors.note(route(), failure("late"), 1e9 + 61))
    assert (again["count"], again["trace"].splitlines()[0]) == (1, TRACE.splitlines()[0])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 60), st.integers(0, 3), st.floats(-2, 30), st.integers(1, 2)
        ),
        max_size=300,
    )
)  # fmt: skip
def test_every_failure_is_counted_once(told: list[tuple[int, int, float, int]]) -> None:
    errors, now = ErrorRecords(), 1e9
    expected: Counter[int] = Counter()
    found: Counter[int] = Counter()
    for number, (kind, _, step, version) in enumerate(told):
        now += step
        expected[version] += 1
        text = TRACE.replace("line 12", f"line {kind}")
        heads = [errors.note(route(version), failure(f"r{number}", text), now), *errors.due(now)]
        for made in (stored(head) for head in heads if head is not None):
            found[made["version"]] += made["count"]
    for made in map(stored, errors.due(now, everything=True)):
        found[made["version"]] += made["count"]
    assert found == expected
    assert errors.due(now + 1000) == []
    assert not errors._kinds


def test_a_record_has_a_bounded_size() -> None:
    long = TRACE.replace("return", "return" + " x" * 50_000).replace("Ada", "A\ud800da" * 9999)
    head = ErrorRecords().note(route(), failure(trace=long), 1e9)
    assert sum(map(len, encode(stored(head) | {"ts": 0, "_id": ""}, b"", b""))) < 11_000
