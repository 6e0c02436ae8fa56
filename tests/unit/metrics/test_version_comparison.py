"""Versions side by side: what differs, and which is better."""

from datetime import UTC, datetime
from typing import Any

import pytest

from model_deployment.core.domain import Deployment, Desired
from model_deployment.core.errors import InvalidRequest
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options
from model_deployment.metrics.version_comparison import Line, lines, named_versions, sections
from model_deployment.registry.version_details import VersionDetails

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def details(version: int, **more: Any) -> VersionDetails:
    return VersionDetails(ModelKey("m", version), NOW, **more)


def found(sides: list[VersionDetails | None], name: str) -> list[Line]:
    all_sections = {one.name: one for one in sections(sides, [None] * len(sides))}
    return [*all_sections[name].lines] if name in all_sections else []


def test_the_better_version_is_named_only_where_a_direction_is_known() -> None:
    one = details(1, metrics={"test_rmse": 2.0, "mine": 1.0, "r2": 0.5, "deployed/rmse": 9.0})
    two = details(2, metrics={"test_rmse": 1.0, "mine": 2.0, "r2": 0.5})
    three = details(3)
    shown = {line.name: line for line in found([one, two, three, None], "metrics")}
    assert shown.keys() == {"test_rmse", "mine", "r2"}
    assert (shown["test_rmse"].better, shown["test_rmse"].direction) == ([1], "lower")
    assert (shown["mine"].better, shown["mine"].direction) == ([], None)
    assert shown["r2"].better == []
    assert shown["r2"].values == [0.5, 0.5, None, None]


@pytest.mark.parametrize(
    ("sides", "differs"),
    [
        ([{"a": 1}, {"a": 1}], False),
        ([{"a": 1}, {"a": 2}], True),
        ([{"a": 1}, {}], True),  # it has none
        ([{"a": 1}, None], False),  # it is unknown
        ([{"a": [1]}, {"a": [1]}, {"a": [2]}], True),
    ],
)
def test_what_is_unknown_differs_from_nothing(sides: list[Any], differs: bool) -> None:
    assert [line.differs for line in lines(sides)] == [differs]


def test_signatures_and_requirements_are_compared_by_name() -> None:
    columns = [
        {"type": "double", "name": "x", "required": True},
        {"type": "string", "name": "y", "required": False},
    ]
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 8]}}
    one = details(
        1, signature={"inputs": columns}, requirements=["numpy==2.1", "pandas[x]>=2", "-e ."]
    )
    two = details(2, signature={"inputs": [tensor]}, requirements=["numpy==2.2"])
    assert {line.name: line.values for line in found([one, two], "inputs")} == {
        "x": ["double", None],
        "y": ["string, optional", None],
        "#0": [None, "tensor of float64, [-1, 8]"],
    }
    assert {line.name: line.values for line in found([one, two], "requirements")} == {
        "numpy": ["==2.1", "==2.2"],
        "pandas[x]": [">=2", None],
        "-e .": ["any version", None],
    }


def test_options_are_those_of_deployments() -> None:
    row = Deployment(ModelKey("m", 1), Desired.RUNNING, Options(workers=2), "a", NOW)
    (options,) = sections([None, None], [row, None])
    assert options.name == "options"
    workers = next(line for line in options.lines if line.name == "workers")
    assert (workers.values, workers.differs) == ([2, None], False)


@pytest.mark.parametrize("text", ["", "1,1", ",".join(map(str, range(1, 12))), "1,x"])
def test_versions_that_cannot_be_compared(text: str) -> None:
    with pytest.raises(InvalidRequest):
        named_versions("m", text)
