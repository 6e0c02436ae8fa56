"""Bodies of predictions that are no data frames."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from model_deployment.client.bodies import bodies
from model_deployment.client.errors import Unsendable


def sent(data: Any, **more: Any) -> Any:
    (body,) = bodies(data, **more)
    assert body.content_type == "application/json"
    return json.loads(body.content)


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ([{"a": 1}, {"a": np.int64(2)}], {"dataframe_records": [{"a": 1}, {"a": 2}]}),
        ([[1, 2], [3, float("nan")]], {"inputs": [[1, 2], [3, None]]}),
        (["a", "b"], {"inputs": ["a", "b"]}),
        (np.array([[1.5, 2]]), {"inputs": [[1.5, 2.0]]}),
        (np.array(["2026-01-31", "NaT"], dtype="datetime64[D]"), {"inputs": ["2026-01-31", None]}),
        ({"a": 1}, {"a": 1}),
        ({"messages": [{"role": "user"}]}, {"messages": [{"role": "user"}]}),
        ({"inputs": {"x": np.array([1])}}, {"inputs": {"x": [1]}}),
        ([], {"inputs": []}),
    ],
)
def test_each_kind_of_input_has_a_form_of_mlflow(data: Any, body: Any) -> None:
    assert sent(data) == body


def test_params_stand_beside_the_rows() -> None:
    assert sent([{"a": 1}], params={"p": 2}) == {
        "dataframe_records": [{"a": 1}],
        "params": {"p": 2},
    }
    assert sent({"a": 1}, params={"p": 2}) == {"dataframe_records": [{"a": 1}], "params": {"p": 2}}
    assert sent({"inputs": [1]}, params={"p": 2}) == {"inputs": [1], "params": {"p": 2}}


def test_text_and_bytes_are_sent_as_they_are() -> None:
    (body,) = bodies(b"a\n1\n", content_type="text/csv")
    assert (body.content, body.content_type) == (b"a\n1\n", "text/csv")
    assert sent('{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("data", "more"),
    [
        (3, {}),
        (np.float64(3), {}),
        (iter([1]), {}),
        ([float("inf")], {}),
        ("{}", {"params": {"p": 1}}),
        ([1], {"content_type": "text/csv"}),
        ([1], {"params": {"p": object()}}),
    ],
)
def test_other_inputs_are_refused(data: Any, more: Any) -> None:
    with pytest.raises(Unsendable, match=r"^cannot "):
        list(bodies(data, **more))


def test_a_nest_without_end_is_refused() -> None:
    nest: list[Any] = []
    nest.append(nest)
    with pytest.raises(Unsendable, match="deeper than 64"):
        list(bodies(nest))


def test_the_client_needs_no_pandas() -> None:
    code = "import sys, model_deployment.client; print(*{repr(one.split('.')[0]) for one in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "httpx" in loaded
    assert not any(name in loaded for name in ("'pandas'", "'numpy'", "'mlflow'", "'pydantic'"))
