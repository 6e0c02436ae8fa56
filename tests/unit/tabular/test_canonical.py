"""Single values by their type."""

import numpy as np
import pytest

from model_deployment.tabular.canonical import column, short


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-40, 3.4028234663852886e38, -2.5, 0.0])
def test_a_number_is_the_same_in_32_bits(value: float) -> None:
    wide = float(np.float32(value))
    assert np.float32(short(wide)) == np.float32(value)
    assert short(short(wide)) == short(wide)
    assert len(repr(short(wide))) <= 13
    assert short(1e300) == 1e300


def test_zeros_keep_their_signs() -> None:
    spec = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}
    assert repr(column(spec, [[0.0, -0.0, 0.10000000149011612]])) == "[[0.0, -0.0, 0.1]]"
