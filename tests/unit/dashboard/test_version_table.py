"""The table of versions: order of columns and rows, and the best values."""

import math
from datetime import UTC, datetime

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.dashboard.version_table import (
    ASCENDING,
    DESCENDING,
    Choice,
    columns,
    in_order,
    metric_names,
    usual_order,
)
from model_deployment.registry.model_metrics import DEPLOYED
from model_deployment.registry.values import RegisteredVersion


def version(number: int, **metrics: float) -> RegisteredVersion:
    key = ModelKey("iris", number)
    return RegisteredVersion(key, "READY", datetime(2026, 1, 1, tzinfo=UTC), metrics=metrics)


def test_metrics_that_say_how_good_a_model_is_come_first() -> None:
    names = ("m_10", "m_2", "train_rmse", "test_rmse", "m_1", "rmse", "val_r2", f"{DEPLOYED}rmse")
    both = [version(1, **dict.fromkeys(names, 1.0)), version(2, m_2=1.0, odd=math.nan)]
    assert metric_names(both) == [
        "test_rmse", "val_r2", "rmse", "m_2", "m_1", "m_10", "train_rmse",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("order", "numbers"), [(ASCENDING, [2, 3, 1, 5, 4]), (DESCENDING, [3, 1, 2, 5, 4])]
)
def test_versions_without_the_metric_come_last_in_both_orders(
    order: str, numbers: list[int]
) -> None:
    newest_first = [
        version(5, r2=math.nan), version(4), version(3, r2=2.0), version(2, r2=1.0), version(1, r2=2.0),
    ]  # fmt: skip
    assert [one.key.version for one in in_order(newest_first, "r2", order)] == numbers


def test_the_best_value_is_marked_where_the_direction_is_known() -> None:
    shown = [
        version(1, rmse=2.0, mine=1.0, r2=0.5),
        version(2, rmse=1.0, mine=2.0, r2=0.5),
        version(3),
    ]
    rmse, mine, r2 = (columns([name], shown, Choice())[0] for name in ("rmse", "mine", "r2"))
    assert (rmse.best, mine.best, r2.best) == (frozenset({2}), frozenset(), frozenset())
    assert [usual_order(name) for name in ("test_rmse", "r2", "mine")] == [
        ASCENDING, DESCENDING, DESCENDING,
    ]  # fmt: skip


def test_a_column_is_sorted_the_other_way_by_its_next_link() -> None:
    names = ["a", "b", "c", "d", "e", "late"]
    first = columns(names, [], Choice())
    assert [one.name for one in first] == names[:5]
    assert first[0].href == "?sort=a&order=descending"
    chosen = columns(names, [], Choice("late", DESCENDING, 200))
    assert [one.name for one in chosen] == ["a", "b", "c", "d", "late"]
    assert chosen[-1].href == "?sort=late&order=ascending&limit=200"
    assert Choice("late", DESCENDING, 200).more == "?sort=late&order=descending&limit=1000"
    assert Choice("", "", 1000).more == ""
