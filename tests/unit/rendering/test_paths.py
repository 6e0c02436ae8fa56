"""Lines and bars as SVG paths, and where their axes end."""

import re

import pytest

from model_deployment.rendering import axis, paths


def test_line_has_gaps_and_leaves_out_what_is_flat() -> None:
    assert paths.line([], 1) == ""
    assert paths.line([None, None], 1) == ""
    assert paths.line([0, None, 1], 1) == "M0 59h2M198 1h2"
    flat = paths.line([0.0] * 60, 1)
    assert flat == "M0 59L200 59"
    assert len(re.findall("[ML]", paths.line([0, 0, 0, 5, 0, 0, 0], 5))) == 5


def test_bars_and_outline_fill_their_box() -> None:
    assert paths.bars([1, 0, None], 1) == "M0 60V1H67V60Z"
    assert paths.outline([1, 0], 1) == "M0 60V1H100V59H200V60"
    assert paths.outline([], 1) == ""
    assert paths.bars([1, 0.5], 1, 320, 102) == "M0 102V1H160V102ZM160 102V51H320V102Z"


@pytest.mark.parametrize("value", [0, 0.003, 0.4, 1, 7, 12, 99, 101, 350, 1999, 2e6])
def test_axis_top_is_a_round_number_above(value: float) -> None:
    top = axis.top([None, value])
    assert top >= value
    assert top <= max(1, 2 * value)
