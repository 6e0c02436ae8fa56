"""The verdicts on reports and metrics, and the words that people read for them.

The API returns the verdict. The page of a report, the dashboard, events, the webhook and docs/verdicts.md
take their words from here. Standard library only.
"""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    DEGRADED = "degraded"
    DRIFT = "drift"
    ERROR = "error"
    #: For metrics only: the report of such a window says ``insufficient_data``.
    WORSE = "worse"
    NO_REFERENCE = "no_reference"
    INSUFFICIENT_DATA = "insufficient_data"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class VerdictWords:
    name: str
    meaning: str
    #: ``good``, ``info``, ``warn`` or ``bad``: the colour.
    tone: str
    #: A report more severe than the one before raises an event; undecided verdicts have 0.
    severity: int = 0


#: In the order of urgency.
WORDS = {
    Verdict.DEGRADED: VerdictWords(
        "Degraded",
        "On labelled rows the model is worse than its baseline, by more than the tolerance and by more "
        "than chance explains.",
        "bad",
        4,
    ),
    Verdict.DRIFT: VerdictWords(
        "Data drift", "The inputs or the predictions differ from the reference.", "warn", 3
    ),
    Verdict.ERROR: VerdictWords("Not made", "The report could not be made.", "bad", 2),
    Verdict.WORSE: VerdictWords(
        "Worse once",
        "A metric is worse than its baseline, but one window is not enough to call the model degraded.",
        "warn",
    ),
    Verdict.NO_REFERENCE: VerdictWords(
        "No reference",
        "There is no reference data to compare the inputs with, and no baseline to compare metrics with.",
        "info",
    ),
    Verdict.INSUFFICIENT_DATA: VerdictWords(
        "Too little data",
        "There are too few rows, labels or comparable columns to decide.",
        "info",
    ),
    Verdict.OK: VerdictWords("Unchanged", "Nothing that could be compared has changed.", "good", 1),
}
#: Verdicts on single metrics only.
OF_METRICS = frozenset({Verdict.WORSE})


def words(verdict: str) -> VerdictWords:
    """The words for a verdict; an unknown verdict is its own name."""
    known = WORDS.get(Verdict(verdict)) if verdict in set(Verdict) else None
    return known or VerdictWords(verdict, "", "info")


def rank(verdict: str) -> int:
    """Place in the order of urgency, the most urgent first; unknown verdicts are last."""
    order = [str(one) for one in WORDS]
    return order.index(verdict) if verdict in order else len(order)


def table() -> str:
    """The verdicts on reports as a Markdown table."""
    rows = ["| verdict | is called | meaning |", "| --- | --- | --- |"]
    rows += [
        f"| `{verdict}` | {one.name} | {one.meaning} |"
        for verdict, one in WORDS.items()
        if verdict not in OF_METRICS
    ]
    return "\n".join(rows)
