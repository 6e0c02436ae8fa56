"""Columns that callers sent beside those of the training data: histograms, and most frequent values."""

import re
import sys
from typing import Any

import orjson
import pytest

from model_deployment.dashboard.captured_columns import ColumnSummary, _compare

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
    number, word, prediction = found.columns
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
    x, gone, word = found.columns
    assert (x.note, gone.note, word.note) == ("", "not sent by callers", "not sent by callers")
    assert bins(gone.before) == 1
    assert gone.now == ""
    assert [(one.before, one.now) for one in word.categories] == [(100, 0)]


def test_pandas_index_is_not_a_training_column() -> None:
    trained = lines({"x": 1.0, "__index_level_0__": 7})
    assert [one.name for one in _compare(lines({"x": 1.0}), trained, "").columns] == ["x"]
    sent = lines({"x": 1.0, "__index_level_0__": 7})
    assert len(_compare(sent, trained, "").columns) == 2
