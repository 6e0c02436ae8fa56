"""Predictions as lists, series and frames, and their labels."""

import json
from typing import Any

import pandas as pd
import pytest

from model_deployment.client.answers import Feedback
from model_deployment.client.errors import Unsendable
from model_deployment.client.feedback import added, chosen_labels
from model_deployment.client.predictions import Predictions, prediction_request

INDEX = pd.Index(["x", "y"], name="row")


def predictions(*answers: Any, index: Any = None, sent: int | None = 2) -> Predictions:
    requests = [
        prediction_request(
            json.dumps({"predictions": answer}).encode(),
            {"X-Request-Id": f"r{number}", "X-Model-Version": "3"},
            sent,
        )
        for number, answer in enumerate(answers)
    ]
    return Predictions("m@champion", tuple(requests), index)


@pytest.mark.parametrize(
    ("answer", "rows", "columns"),
    [
        ([1, 2], [1, 2], ["prediction"]),
        ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], ["a", "b"]),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]], [0, 1]),
        ([[1], [3, 4]], [[1], [3, 4]], ["prediction"]),
        ([[[1]], [[2]]], [[[1]], [[2]]], ["prediction"]),
        ({"a": [1, 2], "b": [3, 4]}, [{"a": 1, "b": 3}, {"a": 2, "b": 4}], ["a", "b"]),
        ([None, "x"], [None, "x"], ["prediction"]),
    ],
)  # fmt: skip
def test_a_frame_has_the_index_of_the_input(answer: Any, rows: list[Any], columns: Any) -> None:
    found = predictions(answer, index=INDEX)
    assert found == rows
    assert list(found) == found.to_list() == rows
    frame = found.to_frame()
    assert frame.index.equals(INDEX)
    assert list(frame.columns) == columns
    series = found.to_series()
    assert series.index.equals(INDEX)
    assert series.astype(object).where(series.notna(), None).tolist() == rows


def test_an_answer_of_other_length_has_an_index_of_its_own() -> None:
    found = predictions("a text", index=INDEX)
    assert found == ["a text"]
    assert found.to_frame().to_dict("list") == {"prediction": ["a text"]}
    assert predictions({"tokens": 3}, sent=2) == [{"tokens": 3}]


def test_whole_numbers_keep_their_digits() -> None:
    assert predictions([2**53 + 1, 1]).to_series().tolist() == [2**53 + 1, 1]


def test_several_requests_are_one_sequence() -> None:
    found = predictions([1, 2], [3], index=pd.RangeIndex(10, 13))
    assert (len(found), found[0], found[1:]) == (3, 1, [2, 3])
    assert (found.request_id, found.model_version) == ("r0", 3)
    assert found.to_series().to_dict() == {10: 1, 11: 2, 12: 3}
    assert chosen_labels(found, [7, None, 9]) == [
        {"request_id": "r0", "row": 0, "label": 7},
        {"request_id": "r1", "row": 0, "label": 9},
    ]


def test_labels_of_a_series_are_matched_by_its_index() -> None:
    found = predictions([1, 2], index=INDEX)
    (label,) = chosen_labels(found, pd.Series([5], index=["y"]))
    assert label == {"request_id": "r0", "row": 1, "label": 5}
    assert type(label["label"]) is int
    with pytest.raises(Unsendable, match="has a row twice"):
        chosen_labels(found, pd.Series([1, 2], index=["y", "y"]))
    twice = pd.Index(["x", "x"])
    assert len(chosen_labels(predictions([1, 2], index=twice), pd.Series([1, 2], index=twice))) == 2


def test_labels_that_do_not_fit_are_refused() -> None:
    for truth in ([1], [1, 2, 3], None, [None, None]):
        with pytest.raises(Unsendable, match=r"^cannot (send feedback|match the labels)"):
            chosen_labels(predictions([1, 2]), truth)
    assert chosen_labels("r9", [None, 4]) == [{"request_id": "r9", "row": 1, "label": 4}]


def test_counts_of_several_calls_are_added_up() -> None:
    first: Feedback = {
        "matched": 2, "waiting": 1, "unmatched": 0, "ambiguous": 0, "duplicate": 0, "labelled_rows": 2,
        "metrics": {"rmse": 1}, "note": None,
    }  # fmt: skip
    second: Feedback = {
        **first,
        "matched": 3,
        "waiting": 0,
        "labelled_rows": 5,
        "metrics": {"rmse": 2},
    }
    assert added(first, second) == {**second, "matched": 5, "waiting": 1}


def test_a_notebook_shows_values_and_never_runs_them() -> None:
    found = predictions(["<script>"] * 30)
    assert "<script>" not in found._repr_html_()
    assert "and 10 more" in found._repr_html_()
    assert repr(found).startswith("<30 predictions of m@champion: '<script>'")
