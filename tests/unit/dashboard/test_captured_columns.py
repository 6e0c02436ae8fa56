"""Columns that callers sent beside those of the training data: histograms, and most frequent values."""

import re
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.dashboard.captured_columns import _compare
from model_deployment.dashboard.column_summary import ColumnSummary, distance

GREATEST = sys.float_info.max


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def column(trained: list[Any], sent: list[Any]) -> ColumnSummary:
    """The picture of one column."""
    found = _compare(lines(*({"x": x} for x in sent)), lines(*({"x": x} for x in trained)), "")
    return found.columns[0]


def bins(path: str) -> int:
    """How many bins of an area are not empty."""
    return path.count("Z")


def test_columns_of_numbers_and_of_texts() -> None:
    own = {"request_id": "r", "ts": "t", "row": 0}
    sent = lines(*[{**own, "n": 1, "word": "a", "prediction": 1.5}] * 3)
    trained = lines({"n": 0, "word": "b"}, {"n": 1, "word": "b"}, {"n": None, "word": "b"})
    found = _compare(sent, trained, "somewhere")
    prediction, word, number = found.columns
    assert (number.name, number.low, number.high, number.note) == ("n", "0", "1", "")
    assert number.before.endswith("Z")
    assert number.now.endswith("V60")
    assert [(one.label, one.before, one.now) for one in word.categories] == [
        ("a", 0, 100),
        ("b", 100, 0),
    ]
    assert prediction.name == "prediction"
    assert (found.captured, found.training) == (3, 3)
    assert _compare(b"", b"", "").columns == ()
    assert _compare(b"", trained, "").columns == ()


@pytest.mark.parametrize("greatest", [1.7e308, GREATEST])
@pytest.mark.parametrize("trained", [[], [1.0, 2.0], [-GREATEST, GREATEST]])
def test_histogram_of_the_largest_floats(greatest: float, trained: list[float]) -> None:
    found = column(trained, [greatest, -greatest, 0, 5e-324])
    assert found.now.endswith("V60")
    assert "nan" not in found.now


def test_histogram_keeps_outliers_apart() -> None:
    trained = [float(x) for x in range(100)]
    found = column(trained, [50.0, 60.0, 1e12])
    assert (found.low, found.high, found.note) == ("0", "above 99", "33 % above")
    assert bins(found.before) == 24
    found = column(trained, [-1.0, 50.0, 1.0, 2.0])
    assert (found.low, found.high, found.note) == ("below 0", "99", "25 % below")
    # Also where nothing is known of the training, and where the outlier is in it.
    ones = [x / 10 for x in range(20)]
    alone = column([], [*ones, 1e12])
    assert (alone.low, alone.high, alone.note) == ("0", "above 1.9", "4.8 % above")
    assert column([*trained, 1e12], trained).high == "above 99"
    assert column([], ones).high == "1.9"


def test_histogram_of_a_constant_is_in_the_middle() -> None:
    found = column([3, 3], [3, 3])
    assert (found.low, found.high) == ("3", "3")
    assert re.fullmatch("M[0-9]+ 60V1H[0-9]+V60Z", found.before)


def test_histogram_tolerates_32_bit_rounding() -> None:
    single = [0.10000000149011612, 0.5, 0.8999999761581421]
    assert column(single * 9, [0.1, 0.5, 0.9] * 9).note == ""
    found = column([0.1 * 3] * 9, [0.3] * 9)
    assert (found.note, bins(found.before)) == ("", 1)
    assert column([0.1, 0.2] * 9, [0.3] * 9).note == "100 % above"


def test_columns_not_sent_by_callers_are_shown() -> None:
    found = _compare(lines({"x": 1}), lines({"x": 1, "gone": 5, "word": "a"}), "")
    gone, word, x = found.columns
    assert (x.note, gone.note, word.note) == ("", "not sent by callers", "not sent by callers")
    assert bins(gone.before) == 1
    assert gone.now == ""
    assert [(one.before, one.now) for one in word.categories] == [(100, 0)]


def test_pandas_index_is_not_a_training_column() -> None:
    trained = lines({"x": 1.0, "__index_level_0__": 7})
    assert [one.name for one in _compare(lines({"x": 1.0}), trained, "").columns] == ["x"]
    sent = lines({"x": 1.0, "__index_level_0__": 7})
    assert len(_compare(sent, trained, "").columns) == 2


def names(sent: list[dict[str, Any]], trained: list[dict[str, Any]]) -> list[str]:
    return [one.name for one in _compare(lines(*sent), lines(*trained), "").columns]


def test_predictions_come_first_and_then_what_differs_most() -> None:
    trained = [{"same": x % 5, "moved": x, "word": "a"} for x in range(50)]
    sent = [
        {"same": x % 5, "moved": x + 25, "word": "a" if x < 40 else "b", "prediction": x}
        for x in range(50)
    ]
    assert names(sent, trained) == ["prediction", "moved", "word", "same"]
    assert names(sent, []) == ["prediction", "same", "moved", "word"]
    wide = [{**{f"c{n:02}": 0 for n in range(70)}, "c65": x, "prediction": x} for x in range(9)]
    shown = names(wide, [{f"c{n:02}": 0 for n in range(70)}])
    assert (len(shown), shown[:2]) == (60, ["prediction", "c65"])


def test_outputs_and_lists_are_columns_of_their_own() -> None:
    outputs = [{"prediction": {"label": "a", "score": x / 9}, "pair": [x, 1]} for x in range(9)]
    assert names(outputs, []) == ["prediction.label", "prediction.score", "pair[0]", "pair[1]"]
    (lists,) = _compare(lines({"x": [1]}, {"x": [1, 2]}), b"", "").columns
    assert (lists.note, lists.low, lists.high) == ("number of elements", "1", "2")
    (texts,) = _compare(lines(*({"x": "a" * x} for x in range(30))), b"", "").columns
    assert (texts.note, texts.high) == ("length of the text", "29")


def test_bar_of_a_histogram_says_what_it_stands_for() -> None:
    found = column([0.0, 24.0], [12.5, 12.5, 30.0])
    assert len(found.bins) == 25
    assert (found.bins[0].label, found.bins[0].before, found.bins[12].now) == (
        "0\u20131",
        "50 %",
        "67 %",
    )
    assert (found.bins[-1].label, found.bins[-1].now) == ("above 24", "33 %")
    assert column([], [3]).bins[0].before == ""


VALUES = st.lists(st.none() | st.integers(-5, 5) | st.sampled_from("ab"), min_size=1, max_size=30)


@given(VALUES, VALUES)
def test_distance_is_symmetric_and_between_0_and_1(before: list[Any], now: list[Any]) -> None:
    assert distance(before, before) == pytest.approx(0)
    assert 0 <= distance(before, now) <= 1
    assert distance(before, now) == pytest.approx(distance(now, before))


def test_distance_of_known_distributions() -> None:
    assert distance([1, 2], [3, 4]) == 1
    assert distance([1, None], [1, 1]) == 0.5
    assert distance(["a", "b"], ["a", "a"]) == 0.5
    assert (distance([], [1]), distance([1], None)) == (0, 1)
