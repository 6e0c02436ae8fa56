"""The verdict on a candidate."""

from typing import Any

import pandas as pd
import pytest
from harness.tiny_experiment import SETTINGS, settings
from model_deployment_flows import metrics
from model_deployment_flows.evaluation import Comparison, Evaluation, Scores, evaluate

_NO_THRESHOLDS = SETTINGS[: SETTINGS.index("    thresholds")]


def _judged(
    candidate: float | None,
    champion: float | None = None,
    *,
    text: str = SETTINGS,
    champion_error: str = "",
) -> Evaluation:
    other = None
    if champion is not None or champion_error:
        other = Scores({} if champion is None else {"f1_score": champion}, champion_error)
    mine = Scores(error="no column 'age'") if candidate is None else Scores({"f1_score": candidate})
    version = None if other is None else 1
    compared = [Comparison("new", "0" * 64, 100, mine, other)]
    return evaluate(settings(text), 2, version, compared)


@pytest.mark.parametrize(
    ("candidate", "champion", "verdict"),
    [
        (0.7, None, "passed"),
        (0.5, None, "rejected"),  # below the threshold
        (0.7, 0.65, "passed"),
        (0.7, 0.7, "passed"),  # no worse is enough
        (0.7, 0.71, "rejected"),
        (0.7, 0.0, "passed"),
        (0.0, 0.0, "rejected"),  # no worse, but below the threshold
        (float("nan"), 0.5, "rejected"),
        (0.7, float("nan"), "passed"),
        (None, 0.5, "rejected"),
    ],
)
def test_the_thresholds_decide(
    candidate: float | None, champion: float | None, verdict: str
) -> None:
    found = _judged(candidate, champion)
    assert found.verdict == verdict
    assert (verdict == "passed") or found.reasons
    assert f"# Version 2: {verdict}" in found.markdown()


def test_without_thresholds_no_worse_than_the_champion_passes() -> None:
    assert _judged(0.3, 0.3, text=_NO_THRESHOLDS).verdict == "passed"
    assert _judged(0.3, 0.31, text=_NO_THRESHOLDS).verdict == "rejected"
    assert _judged(0.3, text=_NO_THRESHOLDS).verdict == "passed"
    assert _judged(0.0, 0.0, text=_NO_THRESHOLDS).verdict == "passed"


def test_a_candidate_whose_metric_is_no_number_is_rejected() -> None:
    found = _judged(float("nan"), text=_NO_THRESHOLDS)
    assert found.verdict == "rejected"
    assert "no number for f1_score" in found.reasons[0]


def test_a_change_of_a_lower_metric_is_an_improvement_downwards() -> None:
    text = f"{_NO_THRESHOLDS}    thresholds: {{log_loss: {{min_absolute_change: 0.1}}}}"
    for value, verdict in ((0.3, "passed"), (0.45, "rejected")):
        compared = [
            Comparison("new", "0" * 64, 9, Scores({"log_loss": value}), Scores({"log_loss": 0.5}))
        ]
        assert evaluate(settings(text), 2, 1, compared).verdict == verdict


def test_a_champion_that_cannot_predict_the_data_is_no_measure() -> None:
    found = _judged(0.7, champion_error="MlflowException: a column is missing")
    assert found.verdict == "passed"
    assert "the champion has no scores on the new data" in found.reasons[0]
    assert found.as_dict()["data"]["new"]["errors"] == ["MlflowException: a column is missing"]


def test_a_champion_without_scores_is_no_evidence_for_the_candidate() -> None:
    champion = Scores(error="it cannot be loaded here: ModuleNotFoundError: no module 'helper'")
    for other in (champion, Scores({"f1_score": float("nan")})):
        compared = [Comparison("new", "0" * 64, 9, Scores({"f1_score": 0.1}), other)]
        found = evaluate(settings(_NO_THRESHOLDS), 2, 1, compared)
        assert found.verdict == "rejected"
        assert "nothing can be compared" in found.reasons[0]
        assert evaluate(settings(_NO_THRESHOLDS), 2, 1, compared, force=True).verdict == "passed"
        fixed = f"{_NO_THRESHOLDS}    thresholds: {{f1_score: {{threshold: 0.05}}}}"
        assert evaluate(settings(fixed), 2, 1, compared).verdict == "passed"


def test_only_the_data_that_were_trained_on_decide() -> None:
    compared = [
        Comparison("new", "0" * 64, 9, Scores({"f1_score": 0.8}), Scores({"f1_score": 0.5})),
        Comparison("original", "1" * 64, 9, Scores({"f1_score": 0.1}), Scores({"f1_score": 0.9})),
    ]
    found = evaluate(settings(), 2, 1, compared)
    assert found.verdict == "passed"
    assert "| original | 9 | f1_score | 0.1 | 0.9 |" in found.markdown()


@pytest.mark.parametrize("score", [metrics.of_classes, metrics.of_amounts])
def test_an_answer_of_several_columns_is_told_as_what_it_is(score: Any) -> None:
    answer = pd.DataFrame({"label": [0, 1, 1], "probability": [0.2, 0.9, 0.7]})
    with pytest.raises(metrics.Incomparable) as caught:
        score(pd.Series([0, 1, 0]), answer)
    assert str(caught.value).startswith(
        "its answer has 3 rows of 2 columns ('label', 'probability'), the true values have 3 rows of "
        "1 column, so they cannot be compared"
    )
    assert score([0, 1, 0], answer[["label"]])
