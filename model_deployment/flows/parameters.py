"""What a run of each flow may be given. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model_deployment.core.errors import InvalidRequest
from model_deployment.flow_project import ExperimentSettings, ProjectSettings, Task
from model_deployment.flows.base import FlowType

_TRAINING = ("model_type", "trials", "timeout", "epochs")
#: By flow, besides the experiment and the data.
TAKES: Mapping[FlowType, tuple[str, ...]] = {
    FlowType.DATA: ("force",),
    FlowType.TRAIN: _TRAINING,
    FlowType.EVAL: ("version",),
    FlowType.DEPLOY: ("version", "wait"),
    FlowType.FULL: ("force", *_TRAINING, "version", "wait"),
}
#: Asks for the original data of an experiment though versions are kept.
ORIGINAL = "original"
SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
#: Wrong parameters that are named.
_LISTED = 20
_WEEK, _DAY = 7 * 86400, 86400


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, both inclusive."""

    low: float
    high: float
    whole: bool = True
    unit: str = ""

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}{self.unit and f' {self.unit}'}"


RANGES: Mapping[str, Range] = {
    "trials": Range(1, 10_000),
    "timeout": Range(1, _WEEK, whole=False, unit="s"),
    "epochs": Range(1, 100_000),
    "version": Range(1, 999_999_999),
    "wait": Range(0, _DAY, whole=False, unit="s"),
}


def flow_type(name: str) -> FlowType:
    """The flow of a name.

    Raises:
        InvalidRequest: there is none.
    """
    try:
        return FlowType(name)
    except ValueError:
        raise InvalidRequest(
            f"cannot run the flow {name[:60]!a}: the flows are {', '.join(FlowType)}"
        ) from None


def experiment_of(settings: ProjectSettings, name: str) -> ExperimentSettings:
    """The experiment of a name.

    Raises:
        InvalidRequest: the project has none.
    """
    found = settings.experiments.get(name)
    if found is None:
        raise InvalidRequest(
            f"cannot run the experiment {name[:60]!a}: the project's experiments are "
            f"{', '.join(settings.experiments)}"
        )
    return found


def taken_by(flow: FlowType, experiment: ExperimentSettings) -> tuple[str, ...]:
    """The names of the parameters of a run, besides the experiment."""
    series = experiment.task is Task.TIMESERIES
    return ("data", *(name for name in TAKES[flow] if name != "epochs" or series))


def checked_request(
    settings: ProjectSettings,
    flow: str,
    experiment: str,
    given: Mapping[str, Any],
    has: Callable[[str], bool],
) -> dict[str, Any]:
    """As :func:`checked`, for names of a flow and of an experiment.

    Raises:
        InvalidRequest: it names everything that is wrong.
    """
    wrong = {}
    for member, find in (
        ("flow_type", lambda: flow_type(flow)),
        ("experiment", lambda: experiment_of(settings, experiment)),
    ):
        try:
            find()
        except InvalidRequest as error:
            wrong[member] = error.detail
    if not wrong:
        return checked(flow_type(flow), experiment_of(settings, experiment), given, has)
    known = ("data", *dict.fromkeys(name for names in TAKES.values() for name in names))
    for name in given:
        if name not in known:
            wrong[name] = f"cannot use the parameter {name[:60]!a}: flows take {', '.join(known)}"
    raise refusal(wrong)


def checked(
    flow: FlowType,
    experiment: ExperimentSettings,
    given: Mapping[str, Any],
    has: Callable[[str], bool] = lambda _: True,
) -> dict[str, Any]:
    """The parameters that are handed to the engine: those that were given, and the experiment.

    Args:
        given: a value of None stands for one that was not given.
        has: whether a version of training data is kept.

    Raises:
        InvalidRequest: parameters are unknown, or have values that are not allowed, and it names them all;
            or the experiment has no endpoint to deploy to.
    """
    if flow is FlowType.DEPLOY and experiment.endpoint is None:
        raise InvalidRequest(
            f"cannot run deploy_flow of {experiment.name}: it has no endpoint; add "
            f"`endpoint: {experiment.model}@champion` to it in the settings of the project"
        )
    taken = taken_by(flow, experiment)
    given = {name: value for name, value in given.items() if value is not None}
    wrong = {}
    for name, value in given.items():
        if name not in taken:
            why = "only time series take epochs; " if name == "epochs" else ""
            wrong[name] = (
                f"cannot give {flow} of {experiment.name} the parameter {name[:60]!a}: {why}it takes "
                f"{', '.join(taken)}"
            )
        elif (allowed := _refused(name, value, experiment)) is not None:
            shown = ascii(value)
            wrong[name] = (
                f"cannot use {shown[:60]} for {name} of {experiment.name}: it must be {allowed}"
            )
        elif name == "data" and value != ORIGINAL and not has(value):
            wrong[name] = f"cannot use the training data {value}: no such version is kept"
    if wrong:
        raise refusal(wrong)
    return {"experiment": experiment.name, **given}


def refusal(wrong: Mapping[str, str]) -> InvalidRequest:
    """An error that names every member that is wrong.

    Args:
        wrong: by member, what is wrong with it; not empty.
    """
    listed = [
        # Half of a surrogate pair cannot be encoded.
        {"field": name[:60].encode(errors="replace").decode(), "problem": text}
        for name, text in [*wrong.items()][:_LISTED]
    ]
    detail = "; ".join(one["problem"] for one in listed)
    return InvalidRequest(detail, extra={"errors": listed, "error_count": len(wrong)})


def allowed(settings: ProjectSettings) -> dict[str, dict[str, dict[str, Any]]]:
    """What runs may be given, JSON-ready: by experiment, by flow, the parameters with their limits."""
    return {
        experiment.name: {
            str(flow): {name: _described(name, experiment) for name in taken_by(flow, experiment)}
            for flow in FlowType
        }
        for experiment in settings.experiments.values()
    }


def _refused(name: str, value: Any, experiment: ExperimentSettings) -> str | None:
    """What the value of a parameter must be, if it is something else."""
    if name == "data":
        fits = isinstance(value, str) and (value == ORIGINAL or SHA256.fullmatch(value))
        return (
            None if fits else f"the SHA-256 of a version of training data, 64 digits, or {ORIGINAL}"
        )
    if name == "force":
        return None if isinstance(value, bool) else "true or false"
    if name == "model_type":
        choices = experiment.choices_of_model_type
        return None if value in choices else f"one of {', '.join(choices)}"
    limits = RANGES[name]
    kinds = (int,) if limits.whole else (int, float)
    fits = type(value) in kinds and limits.low <= value <= limits.high
    return None if fits else str(limits)


def _described(name: str, experiment: ExperimentSettings) -> dict[str, Any]:
    if name == "model_type":
        choices = [*experiment.choices_of_model_type]
        return {"type": "string", "enum": choices, "default": choices[0]}
    if name == "data":
        return {"type": "string", "pattern": f"^({SHA256.pattern}|{ORIGINAL})$", "default": None}
    if name == "force":
        return {"type": "boolean", "default": False}
    limits = RANGES[name]
    settings = {name: getattr(experiment, name) for name in ("trials", "timeout", "epochs")}
    return {
        "type": "integer" if limits.whole else "number",
        "minimum": limits.low,
        "maximum": limits.high,
        "default": {**settings, "version": None, "wait": 600.0}[name],
    }
