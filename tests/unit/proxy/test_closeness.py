"""Which differences of predictions are rounding."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.proxy.answers import Outputs
from model_deployment.proxy.closeness import SINGLE, Closeness, alike, are_single

DOUBLE = Closeness(1e-9)


def single(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 1.00009),
        ([0.2, 1e-7], [0.2, 9e-7]),  # the small one is rounded as the sums that it came of
        ([[1.0, 2.0], [3.0, 1e-9]], [[1.0, 2.0], [3.0, -1e-9]]),
        ({"score": 0.5, "label": "cat"}, {"score": 0.50001, "label": "cat"}),
        (Outputs(a=[1e-9], b=[1.0]), Outputs(a=[1e-9], b=[1.000001])),
        (None, None),
        (3, 3.0),
    ],
)
def test_rounding_in_single_precision_is_no_difference(one: Any, other: Any) -> None:
    assert alike(one, other, SINGLE)
    assert alike(other, one, SINGLE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1.0, 1.001),
        ([0.2, 1e-7], [0.2, 1e-5]),
        ([0.2], [0.2, 0.2]),
        (1000000, 1000001),
        ("cat", "dog"),
        (True, False),
        ({"a": 1.0}, {"b": 1.0}),
        # Each output has a size of its own.
        (Outputs(a=[1e-9], b=[1.0]), Outputs(a=[2e-9], b=[1.0])),
        (1.0, None),
        ([1.0], 1.0),
    ],
)
def test_all_else_is_a_difference(one: Any, other: Any) -> None:
    assert not alike(one, other, SINGLE)
    assert not alike(other, one, SINGLE)


@given(st.floats(1e-30, 1e30))
def test_doubles_are_compared_by_their_own_size(value: float) -> None:
    assert alike(value, value * (1 + 1e-10), DOUBLE)
    assert not alike(value, value * (1 + 1e-8), DOUBLE)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([[[single(0.1), single(0.2)]]], True),
        ([[{"a": single(0.1), "n": 3}]], True),
        ([[Outputs(a=[single(0.1)])], None], True),
        ([[0.1]], False),
        ([[single(0.1), 0.1]], False),
        ([[0.5, 1.0, 0.25]], False),  # shares of votes, which are doubles
        ([[1e300]], False),
        ([[1, "a", None]], False),
        ([], False),
    ],
)
def test_precision_is_told_by_the_digits(answers: Any, expected: bool) -> None:
    assert are_single(answers) is expected
