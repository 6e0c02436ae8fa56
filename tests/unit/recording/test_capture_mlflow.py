"""What passes the gate is captured as the model sees it; MLflow itself says how it sees it."""

import base64
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.gate import dumps, loads
from model_deployment.tabular.input_columns import ModelInputs
from tests.support.bodies import JSON, taken
from tests.support.enforcement import enforced
from tests.support.gate_requests import Sent, Spec, bodies, signatures
from tests.support.gates import gate

pytestmark = pytest.mark.slow


@st.composite
def calls(draw: st.DrawFn) -> tuple[list[Spec], Sent]:
    specs = draw(signatures(2))
    return specs, draw(bodies(specs, 1))


def plain(value: Any, kind: str) -> Any:
    """A value of a frame, or of a capture, so that equal ones are equal."""
    match value:
        case list() | tuple() | np.ndarray():
            return [plain(one, "") for one in value]
        case dict():
            return {name: plain(one, "") for name, one in value.items() if one is not None}
        case bytes():
            return value
        case str() if kind == "binary":
            return base64.b64decode(value)
        case str() if kind == "datetime":
            return pd.Timestamp(value)
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    return np.float32(value) if kind == "float" else value


@settings(max_examples=100)
@given(calls(), st.sampled_from(["strict", "coerce"]))
def test_requests_that_pass_are_captured_as_the_model_gets_them(
    call: tuple[list[Spec], Sent], mode: str
) -> None:
    specs, sent = call
    body = dumps(sent.body)
    verdict = gate(*specs, mode=mode).check(loads(body))
    if verdict.refused:
        return
    body = body if verdict.payload is None else dumps(verdict.payload)
    frame = enforced(body, specs)[0]
    kept = taken(ModelInputs(specs), JSON, body)
    for spec in specs:
        name, kind = spec["name"], spec["type"]
        if name in frame.columns:
            seen = [plain(value, kind) for value in frame[name].tolist()]
            # What callers leave out MLflow adds, and it is no column of theirs.
            assert [plain(one, kind) for one in kept.get(name, [None] * len(frame))] == seen
