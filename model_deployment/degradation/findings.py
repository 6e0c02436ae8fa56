"""Findings: what a report says, each with a severity, a sentence, and advice by the finding's code."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    GOOD = -1
    INFO = 0
    WARNING = 1
    ERROR = 2


ADVICE = {
    "as_good": "",
    "degraded": "First look at the columns that have drifted. Then retrain with recent labelled rows, "
    "or go back to an earlier version.",
    "worse_once": "Wait for the next window. If the metric is worse there too, the model has degraded.",
    "metric_fell": "A change of this size is within sampling noise for so few rows. Send more labels.",
    "training_baseline": "Log the metrics of a test set with the run. Metrics of the training rows are too "
    "good to compare with.",
    "few_labels": "Send the true values of more predictions to .../feedback.",
    "drift": "Find out what changed at the source of this column: a unit, a sensor, a new group of "
    "users. If the change is permanent, retrain with recent rows.",
    "many_drifted": "When many columns drift at once, look for one cause: a data source, a join, a new "
    "population.",
    "moved": "Nothing to do yet. Check again in the next window.",
    "prediction_drift": "Check whether the inputs have drifted as well, or send labels: only labels show "
    "whether the predictions are still right.",
    "target_drift": "The quantity to predict has changed. Review the training data, class weights and "
    "decision thresholds.",
    "column_missing": "Restore the column at its source, or retrain without it and change the signature.",
    "column_empty": "This column arrives without values. Repair its source.",
    "column_constant": "Check for a stuck sensor or a default value at the caller, and repair the source.",
    "nearly_constant": "Check that the source of this column still works.",
    "column_added": "The model ignores this column. Stop sending it, or retrain with it.",
    "missing_rose": "Find out why values are missing. The training data should have about the same "
    "share of missing values.",
    "missing_tokens": 'Treat these texts as missing values (na_values=["?", "NA", ...]), or send null.',
    "not_numbers": "Send numbers. These values were treated as missing.",
    "infinite": "Check for a division by zero at the caller. These values were treated as missing.",
    "new_categories": 'Encode with handle_unknown="ignore", and retrain with rows that have these values.',
    "gone_categories": "If these values will not come back, retrain without them.",
    "out_of_range": "Check the units first. If the values are right, extend the training data: the model "
    "extrapolates here.",
    "duplicates": "Check whether a caller repeats its requests. This report counts each repetition.",
    "refused": "Repair the callers. The model never saw these requests, so the verdict ignores them.",
    "violations": "Repair the callers. validation=observe passes such requests to the model unchanged, "
    "coerce repairs them, and strict refuses them.",
    "not_measured": "Let the model answer with one value for each row, or with the probabilities of "
    "the classes 0, 1, ...; the labels must be these class numbers. Or measure the model elsewhere and "
    "send the metrics to "
    ".../set_new_metrics.",
    "unpaired": "Check the answers of the model for these rows.",
    "no_reference": 'Call mlflow.log_artifact("reference.parquet", "dataset") in the training run.',
    "few_rows": "Choose a longer window, or wait for more requests.",
    "small_reference": "Log more rows as the reference.",
    "no_comparable_columns": "Check that the reference has the columns of the signature.",
    "baseline_unreadable": "Make the report again when the run can be read.",
    "predictions_not_compared": "Make another report later. Once enough requests are captured, the "
    "predictions of the first ones become the reference.",
    "classes_moved": "Models predict rare classes less often than they occur, so this may be normal. Check "
    "again when there are earlier predictions to compare with.",
    "ambiguous_labels": "Give each request its own id, so that a label belongs to one request.",
    "left_out": "Send smaller requests or raise max_capture_bytes. Send tables of rows with named columns.",
    "captured_reference": "Log the training data with the run to compare with it.",
    "error": "See the log of the report, and make the report again.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    severity: Severity
    code: str
    message: str
    column: str | None = None
    #: Orders findings of the same severity, the largest first.
    weight: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {
            "severity": self.severity.name.lower(),
            "code": self.code,
            "column": self.column,
            "message": self.message,
            "advice": ADVICE[self.code],
        }


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """In reading order: good news from labels first, then by severity and weight."""
    return sorted(
        findings, key=lambda one: (one.severity is not Severity.GOOD, -one.severity, -one.weight)
    )


def quoted(name: str, most: int = 60) -> str:
    """A name that a caller chose, in quotes, shortened to ``most`` characters on one line."""
    plain = "".join(letter if letter.isprintable() else " " for letter in name)
    return f"“{plain[:most]}{'…' if len(plain) > most else ''}”"
