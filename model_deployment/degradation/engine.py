"""Puts the report together from two tables and a job. Reads and writes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from model_deployment.degradation import (
    column_pairs,
    comparison,
    not_captured,
    quality,
    rejected_requests,
    wording,
)
from model_deployment.degradation.columns import Column, harmonise
from model_deployment.degradation.drift import THRESHOLDS, Score, adjusted, score
from model_deployment.degradation.findings import Finding, Severity, worst_first
from model_deployment.degradation.headline import as_good, headline
from model_deployment.degradation.job import Job
from model_deployment.degradation.labels import classes, labelled
from model_deployment.degradation.metrics import Labelled, measure
from model_deployment.degradation.summary import summaries
from model_deployment.degradation.tables import LABEL, PREDICTION, Table, is_prediction
from model_deployment.degradation.verdict import Evidence, Tested, decide

#: Where the worst columns stand first.
_NOT_TESTED = -1.0
#: What predictions are compared with, the best first.
_REFERENCE, _CAPTURED, _TARGET = "reference", "captured", "target"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One column, and what was found about it."""

    column: Column
    tested: Tested | None
    why_not: str | None

    @property
    def badness(self) -> float:
        """For an order with the worst first; comparable between methods."""
        if self.tested is None:
            return _NOT_TESTED
        size = self.tested.score.score / THRESHOLDS[self.tested.score.method][0]
        return size + 1000 * self.tested.drifted

    def as_dict(self, pictured: bool) -> dict[str, Any]:
        """JSON-ready."""
        tested, column = self.tested, self.column
        before, now = summaries(column, pictured)
        return {
            "name": column.name,
            "type": column.type,
            "kind": column.kind,
            "method": tested.score.method if tested else None,
            "score": tested.score.score if tested else None,
            "threshold": THRESHOLDS[tested.score.method][0] if tested else None,
            "p_value": tested.adjusted if tested else None,
            "drifted": tested.drifted if tested else False,
            "alarming": tested.alarming if tested else False,
            "reference": before,
            "current": now,
            "skipped": self.why_not,
        }


def outcomes(columns: Iterable[Column]) -> list[Outcome]:
    """Test columns, with the correction for how many they are."""
    scored = [(column, score(column)) for column in columns]
    chances = adjusted([one.p_value for _, one in scored if isinstance(one, Score)])
    rest = iter(chances)
    return [
        Outcome(column, Tested(one, next(rest)), None)
        if isinstance(one, Score)
        else Outcome(column, None, one)
        for column, one in scored
    ]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a report is made from."""

    current: Table
    reference: Table | None
    #: Labels and predictions of all rows whose truth is known.
    labelled: pd.DataFrame
    #: Earlier predictions, for a reference that has none.
    earlier: Table | None = None
    #: Labels that were left out, since several requests have their id.
    ambiguous: int = 0
    #: Captured requests whose inputs are not known, by the reason.
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: Columns of text that an earlier release captured as numbers where they looked like some.
    guessed: frozenset[str] = frozenset()
    #: Whether digests of an earlier release, and newer ones, may stand for the same value.
    two_digests: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """What the model answers, beside what there is to compare that with."""

    outcomes: Sequence[Outcome] = ()
    #: ``reference``, ``captured`` (earlier predictions), ``target`` (its classes); None if nothing.
    against: str | None = None
    #: Whether there are any answers, and a reference.
    wanted: bool = False

    def tested(self, classes: bool) -> list[Tested]:
        """Those that were, of classes beside those of the target or of the others."""
        fitting = (self.against == _TARGET) == classes
        return [one.tested for one in self.outcomes if one.tested and fitting]


def make(job: Job, inputs: Inputs) -> tuple[dict[str, Any], list[Column]]:
    """The report, and the columns it is about: predictions, then inputs, the worst first."""
    reference, current = column_pairs.matched(inputs.reference, _sampled(inputs, job), job)
    columns = column_pairs.columns(
        job, reference, current, inputs.guessed, two_digests=inputs.two_digests
    )
    features = sorted(outcomes(columns), key=lambda one: -one.badness)
    answers = _answers(job, reference, inputs.earlier, current)
    predictions = answers.outcomes
    target = _target(job, reference, inputs.labelled)
    rows = _labelled(job, inputs.labelled)
    metrics = comparison.compare(job, rows, _reference_metrics(job, reference))

    findings = list(quality.duplicates(columns)) if reference else []
    for column in columns if reference else []:
        findings += quality.findings(column)
    evidence = Evidence(
        rows=inputs.current.rows,
        reference_rows=inputs.reference.rows if inputs.reference else None,
        columns=[one.tested for one in features if one.tested],
        predictions=answers.tested(classes=False),
        classes=answers.tested(classes=True),
        broken=wording.broken(findings),
        metrics=[one.judged for one in metrics],
        baseline_unread=_unread(job, inputs, metrics),
        requests=job.requests,
        refused=sum(job.refused.values()),
        drift_share=job.drift_share,
    )
    findings += wording.drift(features, evidence) + wording.outputs(answers, target)
    findings += comparison.findings(metrics, job)
    truth = _truth(inputs, rows)
    findings += wording.surroundings(job, evidence, metrics, truth)
    findings += [*wording.ambiguous(inputs.ambiguous), *rejected_requests.findings(job, evidence)]
    findings += not_captured.told(inputs.left_out)
    fell, by_labels = any(one.code == "metric_fell" for one in findings), truth.measured > 0
    if (good := as_good(metrics, by_labels)) and not fell:
        findings.append(Finding(Severity.GOOD, "as_good", good))
    verdict = decide(evidence)
    line, sentence = headline(verdict, evidence, metrics, labelled=by_labels, fell=fell)
    report = {
        "verdict": str(verdict),
        "headline": line,
        "summary": sentence,
        "worse": any(one.judged.worse for one in metrics),
        "worse_metrics": [one.name for one in metrics if one.judged.worse],
        "reasons": [one.as_dict() for one in worst_first(findings)],
        **_tables(job, features, answers, target, evidence),
        "metrics": [one.as_dict() for one in metrics],
        "refused": rejected_requests.section(job, evidence),
        **_surroundings(job, inputs, truth),
    }
    return report, [one.column for one in (*predictions, *features)]


def _tables(
    job: Job,
    features: Sequence[Outcome],
    answers: Answers,
    target: Outcome | None,
    evidence: Evidence,
) -> dict[str, Any]:
    worst = max(answers.outcomes, key=lambda one: one.badness, default=None)
    return {
        "columns": [one.as_dict(place < job.max_columns) for place, one in enumerate(features)],
        "prediction": worst.as_dict(True) if worst else None,
        "prediction_against": answers.against,
        "target": target.as_dict(True) if target else None,
        "share_drifted": evidence.share_drifted,
    }


def _surroundings(job: Job, inputs: Inputs, truth: wording.Truth) -> dict[str, Any]:
    return {
        "violations": [
            {"column": one.column, "kind": one.kind, "count": one.count} for one in job.violations
        ],
        "requests": job.requests,
        "let_through": job.let_through,
        "left_out": dict(inputs.left_out),
        "rows": {
            "reference": inputs.reference.rows if inputs.reference else None,
            "current": inputs.current.rows,
            "labelled": truth.measured,
            #: Their truth is known, and nothing is measured with it.
            "unmeasured": truth.known - truth.measured,
            "ambiguous": inputs.ambiguous,
        },
        "window": {"since": job.since, "until": job.until},
        "model": job.model,
        "version": job.version,
        "made_at": job.made_at,
        "reference_source": job.reference_source if inputs.reference else None,
        "windows_worse_before": max(
            map(job.windows_worse, job.worse_before or ()), default=job.windows_worse_before
        ),
    }


def _sampled(inputs: Inputs, job: Job) -> Table:
    """The rows of now, no more than the reference has."""
    current, reference = inputs.current, inputs.reference
    if reference is None or len(current.frame) <= len(reference.frame) or reference.frame.empty:
        return current
    chance = np.random.default_rng(job.seed)
    kept = np.sort(chance.choice(len(current.frame), len(reference.frame), replace=False))
    return Table(current.frame.iloc[kept], current.rows, current.nested)


def _answers(job: Job, reference: Table | None, earlier: Table | None, current: Table) -> Answers:
    """What the model answers beside what it did before, else its classes beside those of the target."""
    now = current.predictions
    if reference is None or now.columns.empty:
        return Answers()
    for table, against in ((reference, _REFERENCE), (earlier, _CAPTURED)):
        before = pd.DataFrame() if table is None else table.predictions
        shared = [name for name in now.columns if name in before.columns]
        if shared:
            columns = [harmonise(name, before[name], now[name]) for name in shared]
            return Answers(outcomes(columns), against, True)
    truth = reference.column(job.target) if job.target else None
    both = None if truth is None else classes(truth, now, job.task)
    if both is None:
        return Answers(wanted=True)
    # Never amounts: a regression predicts them narrower than they are.
    column = harmonise(PREDICTION, both[0], both[1], "string")
    return Answers(outcomes([column]), _TARGET, True)


def _unread(job: Job, inputs: Inputs, metrics: Sequence[comparison.Compared]) -> bool:
    """Whether truth is known that only a baseline that could not be read would tell something of."""
    known = not inputs.labelled.empty or any(one.now for one in metrics)
    return job.baseline_error is not None and known


def _truth(inputs: Inputs, rows: Labelled | None) -> wording.Truth:
    outputs = [name for name in inputs.labelled.columns if is_prediction(name)]
    return wording.Truth(len(inputs.labelled), len(rows) if rows is not None else 0, outputs)


def _target(job: Job, reference: Table | None, truths: pd.DataFrame) -> Outcome | None:
    """The labels beside what the reference has for them."""
    before = reference.column(job.target) if reference and job.target else None
    if before is None or LABEL not in truths.columns:
        return None
    return outcomes([harmonise(str(job.target), before, truths[LABEL])])[0]


def _labelled(job: Job, frame: pd.DataFrame) -> Labelled | None:
    names = [name for name in frame.columns if is_prediction(name)]
    if frame.empty or not names:
        return None
    rows = labelled(frame[LABEL], frame[names], job.task)
    return rows if len(rows) else None


def _reference_metrics(job: Job, reference: Table | None) -> dict[str, Any]:
    """What the model did on a reference that was captured in service, where its truth is known."""
    if reference is None or job.reference_source != "captured" or not job.target:
        return {}
    truth, said = reference.column(job.target), reference.predictions
    if truth is None or said.empty or not truth.notna().any():
        return {}
    known = truth.notna()
    return measure(labelled(truth[known], said[known], job.task), job.seed)
