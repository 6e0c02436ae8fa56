"""What a report has to say: findings with a severity, one sentence, and one of advice for each code."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    """How bad, the worst last."""

    GOOD = -1
    INFO = 0
    WARNING = 1
    ERROR = 2


ADVICE = {
    "as_good": "",
    "degraded": "Look at what changed first (below), then retrain on recent labelled rows, or go back "
    "to an earlier version.",
    "worse_once": "Wait for the next window; if it says the same the model has degraded.",
    "metric_fell": "It is within what chance does to so few rows; send more labels.",
    "training_baseline": "Log the metrics of a test set with the run: those of the training rows "
    "are too good to compare with.",
    "few_labels": "Send the true values of more predictions to .../feedback.",
    "drift": "Ask where this column comes from: a unit, a sensor, a new group of users? If the change "
    "is there to stay, retrain with recent rows.",
    "many_drifted": "So many columns at once point to one cause: a source, a join, a new population.",
    "moved": "Nothing to do yet; look again in the next window.",
    "prediction_drift": "The model answers otherwise than before: find out whether its inputs moved, or "
    "send labels to see whether it is still right.",
    "target_drift": "What is to be predicted has changed itself: recent training data, class weights, "
    "and the threshold of decisions need a look.",
    "column_missing": "Restore the column at its source, or retrain without it and change the signature.",
    "column_empty": "Nothing arrives in this column any more: repair its source.",
    "column_constant": "A stuck sensor or a default in the caller? Repair the source.",
    "nearly_constant": "Check that its source still measures.",
    "column_added": "The model does not know it; drop it, or retrain with it.",
    "missing_rose": "Find out why values are missing, and make sure that training saw as many.",
    "missing_tokens": 'Read these as missing (na_values=["?", "NA", ...]) or send null.',
    "not_numbers": "Send numbers; these values were treated as missing.",
    "infinite": "A division by zero upstream? These values were treated as missing.",
    "new_categories": 'Encode with handle_unknown="ignore", and retrain with rows that have them.',
    "gone_categories": "If they will not come back, retrain without them.",
    "out_of_range": "Check the units first; then extend the training data, the model extrapolates here.",
    "duplicates": "A caller that repeats requests? They count more than once in every figure here.",
    "refused": "Repair the callers. The model never saw these requests, so they are no part of the "
    "verdict.",
    "violations": "Repair the callers. With validation=observe the model gets such requests as they came, "
    "with coerce repaired; with strict it gets none.",
    "not_measured": "Have the model answer with one value for each row, or with the probabilities of the "
    "classes 0, 1, ... that labels name; or measure it elsewhere and send that to .../set_new_metrics.",
    "unpaired": "Look at what the model answers for these rows.",
    "no_reference": 'mlflow.log_artifact("reference.parquet", "dataset") in the training run gives '
    "the report something to compare with.",
    "few_rows": "Choose a longer window, or wait for more requests.",
    "small_reference": "Log more rows as reference.",
    "no_comparable_columns": "Check that the reference has the columns of the signature.",
    "baseline_unreadable": "Make the report again when the run can be read.",
    "predictions_not_compared": "Make another report later: once enough rows are captured, their "
    "predictions are kept to compare with.",
    "classes_moved": "A model says rare classes less often than they occur; look again when its own "
    "earlier predictions can be compared.",
    "ambiguous_labels": "Give each request an id of its own: a label is of one request.",
    "left_out": "Send smaller requests or raise max_capture_bytes, send tables of rows, and name their "
    "columns: then these requests are compared as well.",
    "captured_reference": "Log the training data with the run to compare with that.",
    "error": "See the log of the report; it can be made again.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to tell."""

    severity: Severity
    code: str
    message: str
    column: str | None = None
    #: Orders findings of one severity.
    weight: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "severity": self.severity.name.lower(),
            "code": self.code,
            "column": self.column,
            "message": self.message,
            "advice": ADVICE[self.code],
        }


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """In the order in which a reader wants them: what labels say for the model, then the worst."""
    return sorted(
        findings, key=lambda one: (one.severity is not Severity.GOOD, -one.severity, -one.weight)
    )


def quoted(name: str, most: int = 60) -> str:
    """A name that somebody else chose, short and on one line."""
    plain = "".join(letter if letter.isprintable() else " " for letter in name)
    return f"“{plain[:most]}{'…' if len(plain) > most else ''}”"
