"""Whether requests to a launch are merged, and what is said of it."""

from typing import Any

import pytest

from model_deployment.core.merging import Merging, changed, chosen, in_force, turned_off
from model_deployment.core.options import AUTO, AUTO_MAX_ROWS


def test_rows_are_the_number_that_was_asked_for_or_our_own() -> None:
    assert chosen(AUTO, "it is safe") == Merging(AUTO_MAX_ROWS, "it is safe")
    assert chosen(64, "it is safe") == Merging(64, "batch_max_rows is 64, and it is safe")


@pytest.mark.parametrize("rows", [0, 64])
def test_what_the_release_before_started_goes_on_as_it_was(rows: int) -> None:
    assert in_force(rows, None) == Merging(rows, f"batch_max_rows is {rows}")


def test_nothing_is_merged_before_it_was_compared() -> None:
    assert in_force(AUTO, None).max_rows == 0
    found = Merging(AUTO_MAX_ROWS, "it is safe")
    assert in_force(AUTO, found) == found


def test_the_proxy_turns_it_off() -> None:
    on, off = Merging(64, "it is safe"), Merging(0, "it is not")
    assert turned_off(on, "an odd answer") == Merging(0, "an odd answer")
    assert (turned_off(on, ""), turned_off(off, "an odd answer")) == (on, off)


@pytest.mark.parametrize(
    ("before", "limit", "after"),
    [
        (64, 0, 0), (64, 16, 16), (64, 64, 64), (AUTO_MAX_ROWS, AUTO, AUTO_MAX_ROWS),
        (AUTO_MAX_ROWS, 10_000, 10_000), (64, AUTO, None), (64, 65, None), (0, 16, None),
    ],
)  # fmt: skip
def test_a_limit_above_the_rows_that_were_tried_needs_another_launch(
    before: int, limit: Any, after: int | None
) -> None:
    found = changed(Merging(before, "it is safe"), limit)
    assert (None if found is None else found.max_rows) == after
