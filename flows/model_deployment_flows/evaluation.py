"""The verdict on a candidate: its scores beside the champion's, against the thresholds of the settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mlflow.models import MetricThreshold
from mlflow.models.evaluation import EvaluationResult
from mlflow.models.evaluation.validation import (
    ModelValidationFailedException,
    validate_evaluation_results,
)

from model_deployment.flow_project import ExperimentSettings
from model_deployment.flow_project.settings import Threshold


class Verdict(StrEnum):
    """What an evaluation came to."""

    PASSED = "passed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Scores:
    """What a version scored on some rows; ``error`` says why it could not predict them."""

    values: Mapping[str, float] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both versions on the held-out rows of one file."""

    #: ``new`` or ``original``.
    data: str
    sha256: str
    rows: int
    candidate: Scores
    champion: Scores | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A verdict with its reasons."""

    candidate: int
    champion: int | None
    verdict: Verdict
    #: Why it was rejected, or what has to be known about it.
    reasons: Sequence[str]
    comparisons: Sequence[Comparison]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "candidate": self.candidate,
            "champion": self.champion,
            "verdict": str(self.verdict),
            "reasons": list(self.reasons),
            "data": {
                one.data: {
                    "sha256": one.sha256,
                    "rows": one.rows,
                    "candidate": _finite(one.candidate),
                    "champion": None if one.champion is None else _finite(one.champion),
                    "errors": [
                        text
                        for text in (one.candidate.error, one.champion and one.champion.error)
                        if text
                    ],
                }
                for one in self.comparisons
            },
        }

    def markdown(self) -> str:
        """A page for people."""
        lines = [
            f"# Version {self.candidate}: {self.verdict}",
            "",
            *(f"- {reason}" for reason in self.reasons),
            "",
            f"| data | rows | metric | version {self.candidate} | "
            + (f"champion, version {self.champion} |" if self.champion else "champion |"),
            "| --- | --- | --- | --- | --- |",
        ]
        for one in self.comparisons:
            for name in sorted(
                {*one.candidate.values, *(one.champion.values if one.champion else ())}
            ):
                mine = _figure(one.candidate, name)
                other = _figure(one.champion, name) if one.champion else "-"
                lines.append(f"| {one.data} | {one.rows} | {name} | {mine} | {other} |")
        return "\n".join(lines)


def evaluate(
    settings: ExperimentSettings,
    candidate: int,
    champion: int | None,
    comparisons: Sequence[Comparison],
    *,
    force: bool = False,
) -> Evaluation:
    """Judge a candidate by the first comparison, which is on the data it was trained for.

    The others are for people: data that have changed make a model worse on the original data, and it may
    have to be. A champion without scores is no evidence for the candidate.

    Args:
        force: a candidate passes that can be compared with nothing.
    """
    deciding = comparisons[0]
    reasons = list(_notes(champion, comparisons))
    if deciding.candidate.error:
        reasons.insert(0, f"the candidate has no scores: {deciding.candidate.error}")
        return Evaluation(candidate, champion, Verdict.REJECTED, reasons, comparisons)
    measured = _finite(deciding.candidate)
    if unknown := [name for name in _judged_by(settings) if name not in measured]:
        reasons.insert(0, f"the candidate has no number for {', '.join(unknown)}")
        return Evaluation(candidate, champion, Verdict.REJECTED, reasons, comparisons)
    baseline = _finite(deciding.champion) if deciding.champion else {}
    thresholds = metric_thresholds(settings, baseline)
    if champion is not None and not thresholds and not force:
        reasons.insert(
            0,
            f"nothing can be compared: the champion, version {champion}, has no score here, and "
            f"settings.yaml has no fixed threshold; set one under thresholds, such as a threshold of "
            f"{settings.metric}, or mend the champion",
        )
        return Evaluation(candidate, champion, Verdict.REJECTED, reasons, comparisons)
    try:
        if thresholds:
            validate_evaluation_results(
                thresholds,
                EvaluationResult(metrics=measured, artifacts={}),
                EvaluationResult(metrics=baseline, artifacts={}) if baseline else None,
            )
    except ModelValidationFailedException as error:
        failed = [line for line in error.message.splitlines() if line.strip()]
        return Evaluation(candidate, champion, Verdict.REJECTED, [*failed, *reasons], comparisons)
    return Evaluation(candidate, champion, Verdict.PASSED, reasons, comparisons)


def metric_thresholds(
    settings: ExperimentSettings, baseline: Mapping[str, float]
) -> dict[str, MetricThreshold]:
    """The thresholds as MLflow has them; without any in the settings: no worse than the champion.

    Args:
        baseline: metrics that the champion has too. Of others only the fixed threshold counts.
    """
    wanted = _judged_by(settings).items()
    found = {name: _threshold(one, baseline.get(name)) for name, one in wanted}
    return {name: one for name, one in found.items() if one is not None}


def _judged_by(settings: ExperimentSettings) -> Mapping[str, Threshold]:
    return settings.thresholds or {
        settings.metric: Threshold(min_relative_change=0.0, greater_is_better=settings.maximize)
    }


def _threshold(wanted: Threshold, champion: float | None) -> MetricThreshold | None:
    fixed = wanted.threshold
    absolute = None if champion is None else wanted.min_absolute_change
    relative = None if champion is None else wanted.min_relative_change
    if absolute == 0:
        # MLflow refuses 0 here, and takes it as a relative change: no worse than the champion.
        absolute, relative = None, relative or 0.0
    if relative == 0 and champion == 0:
        # MLflow asks for more than 0 then; a fixed threshold says "no worse".
        stricter = max if wanted.greater_is_better else min
        fixed, relative = 0.0 if fixed is None else stricter(fixed, 0.0), None
    if fixed is None and absolute is None and relative is None:
        return None
    return MetricThreshold(
        threshold=fixed,
        min_absolute_change=absolute,
        min_relative_change=None if relative is None else float(relative),
        greater_is_better=wanted.greater_is_better,
    )


def _notes(champion: int | None, comparisons: Sequence[Comparison]) -> Sequence[str]:
    notes = []
    if champion is None:
        notes.append("there is no champion to compare with: only fixed thresholds count")
    for one in comparisons:
        if one.champion and one.champion.error:
            notes.append(
                f"the champion has no scores on the {one.data} data, so nothing is compared with it "
                f"there: {one.champion.error}"
            )
    return notes


def _finite(scores: Scores) -> dict[str, float]:
    return {name: value for name, value in scores.values.items() if math.isfinite(value)}


def _figure(scores: Scores, name: str) -> str:
    return f"{scores.values[name]:.4g}" if name in scores.values else "-"
