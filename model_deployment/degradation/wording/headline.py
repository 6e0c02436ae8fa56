"""The headline of a report and the sentence or two below it: labels first, then drift. Pure."""

from collections.abc import Sequence

from model_deployment.degradation.comparison import ComparedMetric
from model_deployment.degradation.verdict import Evidence, drifted, many_refused
from model_deployment.degradation.wording.verdict_words import WORDS, Verdict
from model_deployment.rendering.numbers import number, percent

_LABELS_WANTED = "Only labels can show whether the predictions are still right."


def headline(
    verdict: Verdict,
    evidence: Evidence,
    metrics: Sequence[ComparedMetric],
    *,
    by_labels: bool,
    fell: bool = False,
) -> tuple[str, str]:
    """A headline and what it means.

    Args:
        by_labels: the metrics were measured with labels here, not set by a caller.
        fell: a metric fell by more than the tolerance, but not significantly.
    """
    line, sentence = _headline(verdict, evidence, _rows(metrics, by_labels), fell)
    if many_refused(evidence):
        share = percent(evidence.refused / evidence.requests)
        line += "; callers send wrong requests"
        sentence += f" {share} of the requests were refused; the model never saw them."
    return line, sentence


def as_good(metrics: Sequence[ComparedMetric], by_labels: bool) -> str | None:
    """The metrics that are as good as their baseline; None if one is worse or none is conclusive."""
    conclusive = [one for one in metrics if one.judged.conclusive]
    if not conclusive or any(one.judged.worse for one in metrics):
        return None
    figures = ", ".join(
        f"{one.name} {number(one.now.value)} (baseline {number(one.baseline.value)})"
        for one in conclusive
        if one.now and one.baseline
    )
    return f"On {_rows(metrics, by_labels)} the model is as good as its baseline: {figures}."


def _rows(metrics: Sequence[ComparedMetric], by_labels: bool) -> str:
    """The number of rows that decide about the metrics, in words; empty if there are none."""
    conclusive = [one for one in metrics if one.judged.conclusive and one.now]
    worse = [one for one in conclusive if one.judged.worse]
    rows = max((one.now.n for one in worse or conclusive if one.now), default=0)
    return f"{rows:,} {'labelled' if by_labels else 'measured'} rows" if rows else ""


def _headline(verdict: Verdict, evidence: Evidence, rows: str, fell: bool) -> tuple[str, str]:
    words = WORDS[verdict]
    worse = any(one.worse for one in evidence.metrics)
    good = "not significantly worse than its baseline" if fell else "as good as its baseline"
    match verdict:
        case Verdict.DEGRADED:
            more = evidence.comparable and drifted(evidence)
            sentence = words.meaning + (" Its data has drifted as well." if more else "")
            return f"{words.name}: worse than its baseline on {rows}", sentence
        case Verdict.DRIFT if worse:
            once = WORDS[Verdict.WORSE]
            return f"{words.name}, and worse once on {rows}", f"{words.meaning} {once.meaning}"
        case Verdict.DRIFT if rows:
            return f"{good.capitalize()} on {rows}, but the data has drifted", words.meaning
        case Verdict.OK if rows and evidence.comparable:
            return f"{words.name}: {good} on {rows}", words.meaning
        case Verdict.OK if rows:
            return f"{words.name}: {good} on {rows}", "The inputs could not be compared."
        case Verdict.DRIFT | Verdict.OK:
            return words.name, f"{words.meaning} {_LABELS_WANTED}"
        case Verdict.INSUFFICIENT_DATA if worse:
            return f"{words.name}: worse once on {rows}", WORDS[Verdict.WORSE].meaning
        case _:
            return words.name, words.meaning
