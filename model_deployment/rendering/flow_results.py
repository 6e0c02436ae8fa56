"""The result of a run of a flow as people read it: pages and commands show the same parts. Pure.

A result is JSON that the flow has left. A member that is not there, or is something else than expected, is
left out: other versions of the flows may have written it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.rendering import numbers

#: By flow, the part of a full flow's result that its own result is; that of others has parts.
_PART = {
    "data_flow": "data",
    "train_flow": "training",
    "eval_flow": "evaluation",
    "deploy_flow": "deployment",
}
#: What findings of a severity are called.
_NOUNS = {"info": "note"}
#: What the words of verdicts and outcomes stand for: good, bad, or nothing of both.
_TONES = {
    "passed": "good", "serves": "good", "challenger": "good", "promoted": "good",
    "rejected": "bad", "rolled_back": "bad", "failed": "bad",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DataPart:
    """What the analysis said of the data."""

    sha256: str
    #: By severity, the worst first.
    counts: Mapping[str, int]
    stops: bool

    @property
    def words(self) -> str:
        found = [
            numbers.count(number, _NOUNS.get(name, name))
            for name, number in self.counts.items()
            if number
        ]
        return ", ".join(found) or "no findings"

    @property
    def tone(self) -> str:
        if self.counts.get("error"):
            return "bad"
        return "warn" if self.counts.get("warning") else "good"


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """What was trained."""

    model: str
    version: int | None
    #: False: a version of the same data, settings and code was there.
    trained: bool
    model_type: str
    trials: str
    params: Sequence[tuple[str, str]]
    metrics: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Score:
    """A metric of both versions on some data."""

    data: str
    rows: str
    metric: str
    candidate: str
    champion: str


@dataclass(frozen=True, slots=True)
class EvaluationPart:
    """The candidate beside the champion."""

    model: str
    candidate: int | None
    champion: int | None
    verdict: str
    tone: str
    reasons: Sequence[str]
    scores: Sequence[Score]


@dataclass(frozen=True, slots=True)
class DeploymentPart:
    """What became of the version at its endpoint."""

    endpoint: str
    version: int | None
    outcome: str
    tone: str
    reason: str
    champion: int | None


@dataclass(frozen=True, slots=True)
class FlowResult:
    """The parts that a result has."""

    data: DataPart | None
    training: TrainingPart | None
    evaluation: EvaluationPart | None
    deployment: DeploymentPart | None

    @property
    def known(self) -> bool:
        """Whether there is anything that people can read."""
        return any((self.data, self.training, self.evaluation, self.deployment))


def read(flow: str, result: Mapping[str, Any] | None) -> FlowResult:
    """The parts of the result of a run of a flow."""
    parts: Mapping[str, Any] = {_PART[flow]: result} if flow in _PART else result or {}

    def part(name: str) -> Mapping[str, Any]:
        return _mapping(parts.get(name))

    return FlowResult(
        _data(part("data")),
        _training(part("training")),
        _evaluation(part("evaluation")),
        _deployment(part("deployment")),
    )


def _data(part: Mapping[str, Any]) -> DataPart | None:
    found = _mapping(part.get("findings"))
    if not found:
        return None
    counts = {str(name): number for name, number in found.items() if type(number) is int}
    return DataPart(_text(part.get("data_sha256")), counts, part.get("stops") is True)


def _training(part: Mapping[str, Any]) -> TrainingPart | None:
    version = _whole(part.get("version"))
    if version is None:
        return None
    trials, failed = _whole(part.get("trials")), _whole(part.get("failed_trials"))
    said = numbers.count(trials, "trial") if trials is not None else ""
    params = {k: v for k, v in _mapping(part.get("params")).items() if k != "model_type"}
    return TrainingPart(
        _text(part.get("model")),
        version,
        part.get("trained") is not False,
        _text(part.get("model_type")).replace("_", " "),
        f"{said}, {failed} failed" if said and failed else said,
        _figures(params),
        _figures(_mapping(part.get("metrics"))),
    )


def _evaluation(part: Mapping[str, Any]) -> EvaluationPart | None:
    verdict = _text(part.get("verdict"))
    if not verdict:
        return None
    reasons = part.get("reasons")
    return EvaluationPart(
        _text(part.get("model")),
        _whole(part.get("candidate", part.get("version"))),
        _whole(part.get("champion")),
        verdict.replace("_", " "),
        _TONES.get(verdict, "info"),
        [str(one) for one in reasons] if isinstance(reasons, list) else [],
        [
            one
            for name, compared in _mapping(part.get("data")).items()
            for one in _scores(str(name), _mapping(compared))
        ],
    )


def _scores(data: str, compared: Mapping[str, Any]) -> list[Score]:
    mine, other = _mapping(compared.get("candidate")), _mapping(compared.get("champion"))
    rows = numbers.number(_whole(compared.get("rows")))
    return [
        Score(data, rows, name, _figure(mine.get(name)), _figure(other.get(name)))
        for name in dict.fromkeys([*mine, *other])
    ]


def _deployment(part: Mapping[str, Any]) -> DeploymentPart | None:
    outcome = _text(part.get("outcome"))
    if not outcome:
        return None
    return DeploymentPart(
        _text(part.get("endpoint")),
        _whole(part.get("version")),
        outcome.replace("_", " "),
        _TONES.get(outcome, "info"),
        _text(part.get("reason")),
        _whole(part.get("champion")),
    )


def _figures(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(str(name), _figure(value)) for name, value in found.items()]


def _figure(value: Any) -> str:
    if value is None:
        return numbers.NONE
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None
