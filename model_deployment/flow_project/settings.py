"""What ``settings.yaml`` of a project may say: the experiments, and the resources of their runs."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import InvalidName
from model_deployment.core.metric_names import HIGHER, direction, normalised
from model_deployment.core.names import ModelKey
from model_deployment.flow_project.search_space import Parameter
from model_deployment.flow_project.types import (
    AUTO,
    EXPERIMENT_NAME,
    Bytes,
    Cell,
    ClassPath,
    DataPath,
    Endpoint,
    Listed,
    Misplaced,
    ModelType,
    Part,
    Seconds,
)

_DAY = 86400.0
_MIB = 1024 * 1024
MAXIMIZE, MINIMIZE = "maximize", "minimize"


class Task(StrEnum):
    """What an experiment's models predict."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    TIMESERIES = "timeseries"


#: The metric that is optimised if the settings name none.
_METRICS = {
    Task.CLASSIFICATION: "f1_score",
    Task.REGRESSION: "root_mean_squared_error",
    Task.TIMESERIES: "mean_absolute_error",
}


def _higher_is_better(metric: str) -> bool | None:
    known = direction(normalised(metric)[0])
    return None if known is None else known == HIGHER


class Threshold(Part):
    """When a metric of a candidate is good enough: the arguments of MLflow's ``MetricThreshold``."""

    threshold: float | None = None
    """The candidate's value must be at least this (at most, if lower is better)."""
    min_absolute_change: Annotated[float, Field(ge=0)] | None = None
    """By how much it must be better than the champion's."""
    min_relative_change: Annotated[float, Field(ge=0, le=1)] | None = None
    """By what share (0 to 1) of the champion's value it must be better."""
    greater_is_better: bool | None = None
    """Default: by the metric, if its name is known."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        named = (self.threshold, self.min_absolute_change, self.min_relative_change)
        if all(value is None for value in named):
            raise ValueError("name threshold, min_absolute_change or min_relative_change")
        return self

    def of(self, metric: str) -> Self:
        """With ``greater_is_better`` decided.

        Raises:
            Misplaced: nothing says which direction is better.
        """
        if self.greater_is_better is not None:
            return self
        known = _higher_is_better(metric)
        if known is None:
            raise Misplaced("say greater_is_better: true or false", metric)
        return self.model_copy(update={"greater_is_better": known})


class Resources(Part):
    """What a run may take of the machine."""

    memory: Annotated[Bytes, Field(ge=128 * _MIB)] = 2048 * _MIB
    """Bytes, or a text like `2GiB`: the limit of a run, and what must be free before it begins."""
    time: Annotated[Seconds, Field(ge=1, le=30 * _DAY)] = _DAY / 2
    """Seconds, or a text like `12h`: a run that goes on for longer is ended, and fails. It has to be longer
    than the `timeout` of a study."""


class ExperimentSettings(Part):
    """One experiment: its data, its class, what its study tries, and what its models must reach."""

    description: str = ""
    """A text for people."""
    class_path: Annotated[ClassPath, Field(alias="class")]
    """`module:Class`: the module in the folder of the project, and the subclass of `Experiment` in it."""
    model: str = ""
    """The registered model. Default: the experiment's name."""
    endpoint: Endpoint | None = None
    """`model@alias`: the endpoint that `deploy_flow` hands a candidate to. Default: none is asked."""
    data: DataPath
    """The original data: a CSV or Parquet file inside the project."""
    target: Annotated[str, Field(min_length=1)]
    """The column that models predict."""
    task: Annotated[Task, Field(strict=False)]
    """`classification`, `regression` or `timeseries`."""
    time_column: Annotated[str, Field(min_length=1)] | None = None
    """A column with the time of each row: then data is split by time. Required for time series."""
    missing_values: Annotated[tuple[Cell, ...], Listed] = ("", "?", "NA", "N/A", "null")
    """Texts of cells that mean that a value is missing."""
    model_types: Annotated[tuple[ModelType, ...], Listed, Field(min_length=1)]
    """The model types that a study may try; the class says what they are."""
    search_space: dict[ModelType, dict[str, Parameter]] = {}
    """By model type, the range of each parameter. What is left out, the class decides."""
    metric: str = ""
    """The metric that a study optimises. Default: `f1_score` of classes, `root_mean_squared_error` of
    amounts, `mean_absolute_error` of time series."""
    direction: Literal["maximize", "minimize", ""] = ""
    """Which values of the metric are better, `maximize` or `minimize`. Default: by the metric, if its name
    is known."""
    trials: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Trials of a study."""
    timeout: Annotated[Seconds, Field(gt=0, le=7 * _DAY)] = 600.0
    """Seconds of a study, or a text like `10m`; the trial that is running then still ends."""
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Epochs of the training of a network; for time series."""
    test_share: Annotated[float, Field(ge=0.01, le=0.9)] = 0.2
    """Share (0 to 1) of the rows that a study never sees, and that candidates are evaluated on."""
    thresholds: dict[str, Threshold] = {}
    """By metric, what a candidate must reach in the evaluation."""
    retrain_when_degraded: bool = False
    """Start `full_flow` when a scheduled report of the model calls it degraded."""
    retrain_cooldown: Annotated[Seconds, Field(ge=_DAY)] = _DAY
    """Seconds between two runs that reports start, at least a day, or a text like `48h`."""

    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """The experiment's key in the file."""
        return self._name

    @property
    def maximize(self) -> bool:
        """Whether the study looks for the highest value of the metric."""
        return self.direction == MAXIMIZE

    @property
    def choices_of_model_type(self) -> tuple[str, ...]:
        """What a run may be given as its model type."""
        return (AUTO, *self.model_types)

    def data_path(self, folder: Path) -> Path:
        """The file with the original data."""
        return folder / self.data

    def named(self, name: str) -> Self:
        """As the experiment of this name.

        Raises:
            Misplaced: the name cannot be used for an experiment or its model.
        """
        if not EXPERIMENT_NAME.fullmatch(name):
            raise Misplaced(
                f"{name[:80]!a} cannot name an experiment: write 1 to 64 letters, digits, '_' and '-', "
                "beginning with a letter or a digit",
                name,
            )
        model = self.model or name
        try:
            ModelKey.of(model, 1)
        except InvalidName as error:
            raise Misplaced(error.detail, name, "model") from None
        if self.endpoint and EndpointName.parse(self.endpoint).model != model:
            raise Misplaced(
                f"{self.endpoint} is an endpoint of another model than {model!a}", name, "endpoint"
            )
        copy = self.model_copy(update={"model": model})
        copy._name = name
        return copy

    @field_validator("thresholds", mode="after")
    @classmethod
    def _directions(cls, value: dict[str, Threshold]) -> dict[str, Threshold]:
        return {name: one.of(name) for name, one in value.items()}

    @model_validator(mode="before")
    @classmethod
    def _default_metric(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        task = next((one for one in Task if one == given.get("task")), None)
        metric = given.get("metric") or (_METRICS[task] if task else None)
        if not isinstance(metric, str):
            return given
        higher = _higher_is_better(metric)
        by_metric = "" if higher is None else MAXIMIZE if higher else MINIMIZE
        return {**given, "metric": metric, "direction": given.get("direction") or by_metric}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.direction:
            raise ValueError(
                f"nothing says which values of the metric {self.metric!a} are better: add direction: "
                "maximize or minimize"
            )
        if self.task is Task.TIMESERIES and self.time_column is None:
            raise ValueError("a time series needs its time_column: data is split by time")
        if self.time_column == self.target:
            raise ValueError("target and time_column name the same column")
        if len(set(self.model_types)) < len(self.model_types):
            raise ValueError("model_types names a model type twice")
        if unknown := self.search_space.keys() - {*self.model_types}:
            raise ValueError(
                f"search_space names {', '.join(sorted(unknown))}, which is none of model_types: "
                f"{', '.join(self.model_types)}"
            )
        return self


class ProjectSettings(Part):
    """The whole file."""

    timeseries_endpoint: Endpoint | None = None
    """`model@alias`: the endpoint that `POST /predict_timeseries` asks."""
    resources: Resources = Resources()
    """What runs may take of the machine."""
    experiments: Annotated[dict[str, ExperimentSettings], Field(min_length=1)]
    """By name, the experiments: letters, digits, `_` and `-`."""

    @field_validator("experiments", mode="after")
    @classmethod
    def _named(cls, value: dict[str, ExperimentSettings]) -> dict[str, ExperimentSettings]:
        return {name: one.named(name) for name, one in value.items()}
