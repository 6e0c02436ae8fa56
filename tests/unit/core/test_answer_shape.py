"""Whether callers of one version can use the answer of another one."""

from typing import Any

import pytest

from model_deployment.core.answer_shape import lacks_values, same_shape


@pytest.mark.parametrize(
    ("champion", "candidate", "same"),
    [
        ([1], [2.5], True),
        ([1], [True], True),
        ([1], ["1"], False),
        ([1, 2], [1], False),
        ([1], [None], True),
        ([[1, 2]], [[1]], False),
        ([{"a": 1}], [{"a": 2}], True),
        ([{"a": 1}], [{"b": 2}], False),
        ({"a": 1}, [1], False),
        ("yes", "no", True),
    ],
)
def test_shapes(champion: Any, candidate: Any, same: bool) -> None:
    assert same_shape(champion, candidate) is same


@pytest.mark.parametrize(
    ("champion", "candidate", "lacks"),
    [
        ([1, 2], [1, 2], False),
        ([1, 2], [1, None], True),
        ([None], [None], False),
        ([None], [1], False),
        (1, None, True),
        ([{"a": 1}], [{"a": None}], True),
        ([[1, 2]], [[None, 2]], True),
        ([[]], [[]], False),
    ],
)
def test_values_that_are_missing(champion: Any, candidate: Any, lacks: bool) -> None:
    assert lacks_values(champion, candidate) is lacks
