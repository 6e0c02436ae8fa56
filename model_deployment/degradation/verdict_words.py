"""What reports and metrics are said to be: each verdict, and the words that people read for it.

The only table of them: the API says the verdict, and the report's page, the dashboard, events, the
webhook and docs/verdicts.md take their words from here. Standard library only.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """A report, or a metric, in one word."""

    DEGRADED = "degraded"
    DRIFT = "drift"
    ERROR = "error"
    #: Of a metric only: the report of such a window cannot tell yet.
    WORSE = "worse"
    NO_REFERENCE = "no_reference"
    INSUFFICIENT_DATA = "insufficient_data"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Words:
    """A verdict for people."""

    #: What it is called, wherever it is shown.
    name: str
    #: What it means.
    meaning: str
    #: ``good``, ``info``, ``warn`` or ``bad``: how it is coloured.
    tone: str
    #: Somebody is told when a report is worse than the one before; what cannot be told is 0.
    severity: int = 0


#: By verdict, what wants attention first.
WORDS = {
    Verdict.DEGRADED: Words(
        "Degraded",
        "On rows whose truth is known the model does worse than it did, by more than the tolerance "
        "and more than chance explains.",
        "bad",
        4,
    ),
    Verdict.DRIFT: Words(
        "Data moved", "The model sees, or answers, other things than before.", "warn", 3
    ),
    Verdict.ERROR: Words("Not made", "The report could not be made.", "bad", 2),
    Verdict.WORSE: Words(
        "Worse once",
        "A metric is worse, but one window is not enough to say that it lasts.",
        "warn",
    ),
    Verdict.NO_REFERENCE: Words(
        "No reference",
        "There is neither reference data to compare inputs with, nor a baseline for known labels.",
        "info",
    ),
    Verdict.INSUFFICIENT_DATA: Words(
        "Too little data",
        "There are too few rows, labels or comparable columns to tell.",
        "info",
    ),
    Verdict.OK: Words("Unchanged", "What could be compared is as it was.", "good", 1),
}
#: Of a single metric only.
OF_METRICS = frozenset({Verdict.WORSE})


def words(verdict: str) -> Words:
    """The words for a verdict; one that is not known is its own name."""
    known = WORDS.get(Verdict(verdict)) if verdict in set(Verdict) else None
    return known or Words(verdict, "", "info")


def rank(verdict: str) -> int:
    """Its place among those that want attention, the most urgent first; one not known is the last."""
    order = [str(one) for one in WORDS]
    return order.index(verdict) if verdict in order else len(order)


def table() -> str:
    """All verdicts of reports in Markdown."""
    rows = ["| verdict | is called | meaning |", "| --- | --- | --- |"]
    rows += [
        f"| `{verdict}` | {one.name} | {one.meaning} |"
        for verdict, one in WORDS.items()
        if verdict not in OF_METRICS
    ]
    return "\n".join(rows)
