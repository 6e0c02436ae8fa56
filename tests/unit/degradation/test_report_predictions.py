"""What a report compares predictions with: those of the reference, earlier ones, or the target."""

import numpy as np
import pandas as pd
import pytest

from tests.support.report_jobs import codes, frame, report


def test_earlier_predictions_stand_in_for_those_of_a_reference() -> None:
    training = frame(1000, 2).drop(columns="__prediction")
    earlier = frame(500, 5)[["__prediction"]]
    now = frame(300, 1)
    found = report(now, training, earlier=earlier)
    assert (found["verdict"], found["prediction_against"]) == ("ok", "captured")
    assert "predictions_not_compared" not in codes(found)
    now["__prediction"] += 1
    assert report(now, training)["verdict"] == "ok"
    found = report(now, training, earlier=earlier)
    assert found["verdict"] == "drift"
    assert found["prediction"]["drifted"]
    # A reference that has predictions needs no others.
    found = report(now, frame(1000, 2).assign(__prediction=now["__prediction"].mean()))
    assert found["prediction_against"] == "reference"


def test_predictions_of_a_regression_are_not_compared_with_its_target() -> None:
    training = frame(1000, 2).rename(columns={"__prediction": "y"})
    now = frame(300, 1)
    now["__prediction"] *= 0.3
    for task in (None, "regression"):
        found = report(now, training, target="y", task=task)
        assert (found["verdict"], found["prediction"]) == ("ok", None)
        assert "predictions_not_compared" in codes(found)


def classified(n: int, seed: int, share: float) -> pd.DataFrame:
    said = np.random.default_rng(seed).random(n) < share
    return frame(n, seed).assign(__prediction=np.where(said, "yes", "no"))


def test_classes_are_compared_with_those_of_the_target() -> None:
    training = classified(1000, 2, 0.3).rename(columns={"__prediction": "y"})
    found = report(classified(300, 1, 0.3), training, target="y")
    assert (found["verdict"], found["prediction_against"]) == ("ok", "target")
    assert "predictions_not_compared" in codes(found)
    # What a classifier does anyway to a rare class is a warning, and no drift.
    found = report(classified(300, 1, 0.15), training, target="y")
    assert (found["verdict"], "classes_moved" in codes(found)) == ("ok", True)
    found = report(classified(300, 1, 0.9), training, target="y")
    assert found["verdict"] == "drift"
    assert codes(found)[0] == "classes_moved"
    earlier = classified(500, 4, 0.9)[["__prediction"]]
    found = report(classified(300, 1, 0.9), training, target="y", earlier=earlier)
    assert (found["verdict"], found["prediction_against"]) == ("ok", "captured")


@pytest.mark.parametrize("outputs", [1, 2])
def test_probabilities_are_compared_as_classes(outputs: int) -> None:
    chance = np.random.default_rng(0)
    training = frame(1000, 2).drop(columns="__prediction")
    training["y"] = (chance.random(1000) < 0.5).astype(int)
    for most, verdict in ((1.0, "ok"), (0.6, "drift")):
        sure = chance.uniform(0, most, 300)
        now = frame(300, 1).drop(columns="__prediction")
        if outputs == 1:
            now["__prediction"] = sure
        else:
            now = now.assign(__prediction_0=1 - sure, __prediction_1=sure)
        found = report(now, training, target="y", task="classification")
        assert (found["verdict"], found["prediction_against"]) == (verdict, "target")
