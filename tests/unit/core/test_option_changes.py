"""Changes of options: which need another launch, how they read, and what was measured that still holds."""

from dataclasses import replace
from typing import Any

import pytest

from model_deployment.core.domain import State
from model_deployment.core.merging import Merging
from model_deployment.core.option_changes import (
    described,
    measured_alike,
    merging_after,
    needs_launch,
)
from model_deployment.core.options import AUTO, Options, StartMethod, Validation
from model_deployment.core.replicas import Replicas
from tests.support.rows import row


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"validation": Validation.OBSERVE, "capture_rate": 0.5, "idle_timeout": 9.0}, ()),
        ({"replicas": Replicas(2, 4)}, ()),
        ({"workers": 2, "validation": Validation.COERCE}, ("workers",)),
        ({"batch_max_rows": 0}, ()),
        ({"batch_max_rows": 64}, ("batch_max_rows",)),
    ],
)
def test_options_say_what_needs_a_launch(changes: dict[str, Any], names: tuple[str, ...]) -> None:
    assert needs_launch(row(State.READY, options=Options()), Options(**changes)) == names


@pytest.mark.parametrize("method", StartMethod)
def test_limits_need_a_launch(method: StartMethod) -> None:
    limits: dict[str, Any] = {"memory_limit": 2**29, "cpu_limit": 0.5, "threads": 3}
    before = Options(start_method=method)
    assert needs_launch(row(State.READY, options=before), replace(before, **limits)) == (
        "threads",
        "memory_limit",
        "cpu_limit",
    )


def test_merging_goes_on_with_another_limit_where_rows_are_independent() -> None:
    merged = row(State.READY, options=Options(), merging=Merging(256, "its rows are independent"))
    options = Options(batch_max_rows=64)
    assert needs_launch(merged, options) == ()
    assert merging_after(merged, options) == Merging(64, "batch_max_rows is 64")
    off = row(State.READY, options=Options(batch_max_rows=0), merging=Merging())
    assert needs_launch(off, Options(batch_max_rows=AUTO)) == ("batch_max_rows",)


def test_a_change_is_told_in_words() -> None:
    after = Options(workers=2, capture_exclude=("a", "b"), retention_days=3.0)
    assert described(Options(), after) == (
        "workers from 1 to 2, capture_exclude from none to a, b, retention_days from none to 3"
    )
    assert described(after, after) == ""
    many = Options(replicas=Replicas(1, 4))
    assert described(Options(), many) == "replicas from 1 to 1-4"


@pytest.mark.parametrize(
    ("options", "alike"),
    [
        (Options(capture_rate=0.5), True),
        (Options(workers=2), False),
        (Options(start_method=StartMethod.SERVE), False),
        (Options(start_method=StartMethod.CONTAINER), False),
    ],
)
def test_measured_memory_holds_for_launches_of_the_same_size(options: Options, alike: bool) -> None:
    """Other options say nothing of memory; with other workers the estimate counts."""
    deployment = row(State.READY, options=Options())
    assert measured_alike(deployment, options, deployment.artifact) is alike
    assert not measured_alike(deployment, options, "diabetes-1-9")


def test_a_container_takes_other_memory_than_mlflow_models_serve() -> None:
    served = row(State.READY, options=Options(start_method=StartMethod.SERVE))
    contained = Options(start_method=StartMethod.CONTAINER)
    assert not measured_alike(served, contained, served.artifact)
