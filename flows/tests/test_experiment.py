"""The defaults of an experiment: what is held out, and what is saved with the model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from harness.tiny_experiment import SETTINGS, Tiny, settings, table
from model_deployment_flows.experiment import UnusableData, held_out
from model_deployment_flows.frames import read_frame


def test_a_row_is_held_out_in_every_version_of_the_data() -> None:
    tiny = Tiny(settings())
    first = table(rows=3000)
    second = pd.concat([table(rows=500, seed=1), first.sample(frac=0.5, random_state=2)])
    (train, held), (later_train, later_held) = (_rows(tiny, one) for one in (first, second))
    assert held
    assert not held & (train | later_train)
    assert not later_held & (train | later_train)


def test_whole_numbers_are_held_out_alike_where_another_row_has_none() -> None:
    X = pd.DataFrame({"a": np.arange(1000.0)})
    whole = held_out(X, pd.Series(np.arange(1000)), 0.2)
    decimal = held_out(X, pd.Series(np.arange(1000.0)), 0.2)
    assert (whole == decimal).all()


def _rows(tiny: Tiny, frame: pd.DataFrame) -> list[set[tuple[str, ...]]]:
    """The different rows to train with, and those that are held out."""
    split = tiny.split(*tiny.prepare(frame))
    parts = (
        split.X_train.assign(bought=split.y_train),
        split.X_test.assign(bought=split.y_test),
    )
    return [{*map(tuple, part.astype(str).to_numpy())} for part in parts]


def test_about_the_share_is_held_out() -> None:
    random = np.random.default_rng(0)
    X, y = pd.DataFrame({"a": random.normal(size=10_000)}), random.normal(size=10_000)
    assert len(Tiny(settings()).split(X, y).X_test) == pytest.approx(2000, abs=150)


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%m/%d/%Y", "%d %B %Y"])
def test_the_last_rows_are_held_out_where_there_is_a_time_column(form: str) -> None:
    with_time = SETTINGS.replace("trials: 4", "trials: 4\n    time_column: day")
    days = pd.date_range("2025-11-01", periods=100)
    shuffled = table(rows=100).assign(day=days).sample(frac=1, random_state=0)
    frame = shuffled.assign(day=shuffled["day"].dt.strftime(form))
    split = Tiny(settings(with_time)).split(*Tiny(settings(with_time)).prepare(frame))
    assert len(split.X_test) == 20
    ordered = shuffled.sort_values("day")
    assert split.X_test["age"].tolist() == ordered["age"].tail(20).tolist()
    assert "day" not in split.X_test


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (pd.DataFrame({"age": [1, 2]}), "no column 'bought'"),
        (pd.DataFrame({"age": [1], "bought": [None]}), "no row has a value of 'bought'"),
        (pd.DataFrame({"age": [1], "bought": ["yes"]}), "cannot hold out 0.2 of 1 rows"),
        (pd.DataFrame({"age": [[1]] * 9, "bought": ["yes"] * 9}), "cannot tell rows apart"),
        (pd.DataFrame({"bought": []}), "no row has a value of 'bought'"),
    ],
)
def test_data_that_cannot_train_are_refused(frame: pd.DataFrame, expected: str) -> None:
    tiny = Tiny(settings())
    with pytest.raises(UnusableData, match=expected):
        tiny.split(*tiny.prepare(frame))


def test_both_models_are_scored_by_the_classes_of_the_whole_table() -> None:
    tiny = Tiny(settings())
    tiny.divide(table())
    truth = ["yes", "no", "yes", "no"]
    binary = tiny.score(truth, ["yes", "no", "yes", "yes"])
    with_a_third = tiny.score(truth, ["yes", "no", "yes", "perhaps"])
    assert binary["precision_score"] == pytest.approx(2 / 3)
    assert with_a_third["precision_score"] == with_a_third["f1_score"] == 1.0
    # Nothing is found of a class that a part does not have.
    assert tiny.score(["no", "no"], ["no", "no"])["f1_score"] == 0.0
    three = table()
    three.loc[:50, "bought"] = "perhaps"
    tiny.divide(three)
    assert tiny.score(truth, truth[::-1])["f1_score"] == 0.0
    assert tiny.score(["no", "no", "yes"], ["no", "no", "no"])["recall_score"] == pytest.approx(
        2 / 3
    )


def test_the_example_has_a_row_without_each_value_that_may_be_missing() -> None:
    X = pd.DataFrame({"a": range(50), "b": [1.0] * 40 + [np.nan] * 10, "c": [*"x" * 49, None]})
    example = Tiny(settings()).example(X)
    assert len(example) == 7
    assert example.isna().sum().to_dict() == {"a": 0, "b": 2, "c": 1}


def test_words_for_missing_values_are_missing_in_both_formats(tmp_path: Path) -> None:
    frame = pd.DataFrame({"town": ["Bonn", "?", "NA", "-"], "age": ["1", "?", "2", "3"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    csv, parquet = (read_frame(tmp_path / name, ["?", "-"]) for name in ("t.csv", "t.parquet"))
    assert (
        csv["town"].isna().tolist() == parquet["town"].isna().tolist() == [False, True, True, True]
    )
    assert csv["age"].dtype == float
    with pytest.raises(UnusableData, match="there is no such file"):
        read_frame(tmp_path / "gone.csv", [])
