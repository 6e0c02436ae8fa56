"""Assembles the report from tables and a job. Reads and writes no files."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from model_deployment.degradation import comparison, rejected_requests
from model_deployment.degradation.column_results import (
    CAPTURED,
    REFERENCE,
    TARGET,
    ColumnResult,
    PredictionResults,
    column_results,
)
from model_deployment.degradation.data import not_captured
from model_deployment.degradation.data.collect import Collected
from model_deployment.degradation.data.columns import ColumnPair, harmonise
from model_deployment.degradation.data.compared_columns import input_columns, with_reference_names
from model_deployment.degradation.data.labels import classes, labelled, labelled_rows
from model_deployment.degradation.data.tables import (
    LABEL,
    PREDICTION,
    SampledTable,
    is_prediction,
)
from model_deployment.degradation.findings import Finding, Severity, worst_first
from model_deployment.degradation.job import ReportJob
from model_deployment.degradation.metric_verdict import Measurement
from model_deployment.degradation.statistics import quality
from model_deployment.degradation.statistics.metrics import measure
from model_deployment.degradation.verdict import Evidence, decide
from model_deployment.degradation.wording import sentences
from model_deployment.degradation.wording.headline import as_good, headline


@dataclass(frozen=True, slots=True)
class ReportInputs:
    current: SampledTable
    reference: SampledTable | None
    #: Labels and predictions of all rows that have a label.
    labelled: pd.DataFrame
    #: Earlier predictions, for a reference without predictions.
    earlier: SampledTable | None = None
    collected: Collected = field(default_factory=Collected)


def make_report(job: ReportJob, inputs: ReportInputs) -> tuple[dict[str, Any], list[ColumnPair]]:
    """The report, and the columns it is about: predictions, then inputs by the size of their drift."""
    reference = inputs.reference
    current = with_reference_names(_sampled(inputs, job), reference, job)
    columns = input_columns(job, reference, current, inputs.collected)
    features = sorted(column_results(columns), key=lambda one: -one.rank)
    predictions = _predictions(job, reference, inputs.earlier, current)
    target = _target(job, reference, inputs.labelled)
    rows = labelled_rows(inputs.labelled, job.task)
    labels = _label_counts(inputs, len(rows) if rows else 0)
    metrics = comparison.compare(job, rows, _reference_metrics(job, reference))

    findings: list[Finding] = []
    if reference:
        findings += quality.duplicates(columns)
        findings += [one for column in columns for one in quality.findings(column)]
    evidence = Evidence(
        rows=inputs.current.rows,
        reference_rows=inputs.reference.rows if inputs.reference else None,
        columns=[one.drift for one in features if one.drift],
        predictions=predictions.drifts if predictions.against != TARGET else (),
        classes=predictions.drifts if predictions.against == TARGET else (),
        broken=sentences.broken_columns(findings),
        metrics=[one.judged for one in metrics],
        baseline_unread=job.baseline_error is not None
        and (labels.known > 0 or any(one.now for one in metrics)),
        requests=job.requests,
        refused=sum(job.refused.values()),
        drift_share=job.drift_share,
    )
    findings += sentences.drift(features, evidence)
    findings += sentences.predictions(predictions)
    findings += sentences.target(target)
    findings += comparison.findings(metrics, job)
    findings += sentences.limits(job, evidence, metrics, labels)
    findings += rejected_requests.findings(job, evidence)
    findings += not_captured.findings(inputs.collected.left_out)
    by_labels, fell = labels.measured > 0, any(one.code == "metric_fell" for one in findings)
    if (good := as_good(metrics, by_labels)) and not fell:
        findings.append(Finding(Severity.GOOD, "as_good", good))
    verdict = decide(evidence)
    line, sentence = headline(verdict, evidence, metrics, by_labels=by_labels, fell=fell)
    most_drifted = max(predictions.results, key=lambda one: one.rank, default=None)
    report = {
        "verdict": str(verdict),
        "headline": line,
        "summary": sentence,
        "worse": any(one.judged.worse for one in metrics),
        "worse_metrics": [one.name for one in metrics if one.judged.worse],
        "reasons": [one.as_dict() for one in worst_first(findings)],
        "columns": [one.as_dict(place < job.max_columns) for place, one in enumerate(features)],
        "prediction": most_drifted.as_dict(True) if most_drifted else None,
        "prediction_against": predictions.against,
        "target": target.as_dict(True) if target else None,
        "share_drifted": evidence.share_drifted,
        "metrics": [one.as_dict() for one in metrics],
        "refused": rejected_requests.section(job, evidence),
        **_context(job, inputs, labels),
    }
    return report, [one.column for one in (*predictions.results, *features)]


def _context(job: ReportJob, inputs: ReportInputs, labels: sentences.LabelCounts) -> dict[str, Any]:
    """What the report is about: model, window, and numbers of rows and requests."""
    return {
        "violations": [
            {"column": one.column, "kind": one.kind, "count": one.count} for one in job.violations
        ],
        "requests": job.requests,
        "let_through": job.let_through,
        "left_out": dict(inputs.collected.left_out),
        "rows": {
            "reference": inputs.reference.rows if inputs.reference else None,
            "current": inputs.current.rows,
            "labelled": labels.measured,
            #: Rows with a label whose prediction cannot be measured.
            "unmeasured": labels.known - labels.measured,
            "ambiguous": labels.ambiguous,
        },
        "window": {"since": job.since, "until": job.until},
        "model": job.model,
        "version": job.version,
        "made_at": job.made_at,
        "source": job.source,
        "reference_source": job.reference_source if inputs.reference else None,
        "windows_worse_before": max(
            map(job.windows_worse, job.worse_before or ()), default=job.windows_worse_before
        ),
    }


def _sampled(inputs: ReportInputs, job: ReportJob) -> SampledTable:
    """Current rows, sampled down to the number of rows of the reference."""
    current, reference = inputs.current, inputs.reference
    if reference is None or len(current.frame) <= len(reference.frame) or reference.frame.empty:
        return current
    random = np.random.default_rng(job.seed)
    kept = np.sort(random.choice(len(current.frame), len(reference.frame), replace=False))
    return SampledTable(current.frame.iloc[kept], current.rows, current.nested)


def _predictions(
    job: ReportJob,
    reference: SampledTable | None,
    earlier: SampledTable | None,
    current: SampledTable,
) -> PredictionResults:
    """Compare predictions with earlier ones, else predicted classes with the classes of the target."""
    now = current.predictions
    if reference is None or now.columns.empty:
        return PredictionResults()
    for table, against in ((reference, REFERENCE), (earlier, CAPTURED)):
        before = pd.DataFrame() if table is None else table.predictions
        shared = [name for name in now.columns if name in before.columns]
        if shared:
            columns = [harmonise(name, before[name], now[name]) for name in shared]
            return PredictionResults(column_results(columns), against, True)
    target = reference.column(job.target) if job.target else None
    both = None if target is None else classes(target, now, job.task)
    if both is None:
        return PredictionResults(expected=True)
    # Classes only: the predictions of a regression always vary less than its target.
    column = harmonise(PREDICTION, both[0], both[1], "string")
    return PredictionResults(column_results([column]), TARGET, True)


def _label_counts(inputs: ReportInputs, measured: int) -> sentences.LabelCounts:
    outputs = sum(map(is_prediction, inputs.labelled.columns))
    return sentences.LabelCounts(
        len(inputs.labelled), measured, outputs, inputs.collected.ambiguous
    )


def _target(
    job: ReportJob, reference: SampledTable | None, labels: pd.DataFrame
) -> ColumnResult | None:
    """Compare the labels with the target column of the reference."""
    before = reference.column(job.target) if reference and job.target else None
    if before is None or LABEL not in labels.columns:
        return None
    return column_results([harmonise(str(job.target), before, labels[LABEL])])[0]


def _reference_metrics(job: ReportJob, reference: SampledTable | None) -> dict[str, Measurement]:
    """Metrics of the model on a reference that was captured in service, from its labelled rows."""
    if reference is None or job.reference_source != "captured" or not job.target:
        return {}
    labels, predictions = reference.column(job.target), reference.predictions
    if labels is None or predictions.empty or not labels.notna().any():
        return {}
    known = labels.notna()
    return measure(labelled(labels[known], predictions[known], job.task), job.seed)
