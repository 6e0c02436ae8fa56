"""The report in a line, and in a sentence or two: what labels say first, then what moved. Pure."""

from collections.abc import Sequence

from model_deployment.degradation.comparison import Compared
from model_deployment.degradation.verdict import Evidence, drifted, many_refused
from model_deployment.degradation.verdict_words import WORDS, Verdict
from model_deployment.rendering.numbers import number, percent

_LABELS_WANTED = "Only labels can tell whether it is still right."


def headline(
    verdict: Verdict,
    evidence: Evidence,
    metrics: Sequence[Compared],
    *,
    labelled: bool,
    fell: bool = False,
) -> tuple[str, str]:
    """A headline and what it means.

    Args:
        labelled: whether labels tell the metrics, and not somebody who set them.
        fell: whether a metric is worse by more than the tolerance, which may be chance.
    """
    line, sentence = _told(verdict, evidence, _rows(metrics, labelled), fell)
    if many_refused(evidence):
        share = percent(evidence.refused / evidence.requests)
        line += "; callers send wrong requests"
        sentence += f" {share} of the requests were refused; the model never saw them."
    return line, sentence


def as_good(metrics: Sequence[Compared], labelled: bool) -> str | None:
    """That labels say that the model is as good as it was, in figures; None if they do not."""
    judged = [one.judged for one in metrics]
    if any(one.worse for one in judged) or not any(one.told for one in judged):
        return None
    figures = ", ".join(
        f"{one.name} {number(one.now.value)} (baseline {number(one.baseline.value)})"
        for one in metrics
        if one.judged.told and one.now and one.baseline
    )
    return f"On {_rows(metrics, labelled)} the model is as good as it was: {figures}."


def _rows(metrics: Sequence[Compared], labelled: bool) -> str:
    """How many rows with known truth tell that; empty if none do."""
    told = [one for one in metrics if one.judged.told and one.now]
    worse = [one for one in told if one.judged.worse]
    most = max((one.now.n for one in worse or told if one.now), default=0)
    return f"{most:,} {'labelled' if labelled else 'measured'} rows" if most else ""


def _told(verdict: Verdict, evidence: Evidence, rows: str, fell: bool) -> tuple[str, str]:
    words = WORDS[verdict]
    moved = evidence.comparable and drifted(evidence)
    worse = any(one.worse for one in evidence.metrics)
    well = f"no worse than chance explains on {rows}" if fell else f"as good as it was on {rows}"
    match verdict:
        case Verdict.DEGRADED:
            more = " Its data has moved as well." if moved else ""
            return f"{words.name}: worse than it was on {rows}", words.meaning + more
        case Verdict.DRIFT if worse:
            once = WORDS[Verdict.WORSE]
            return f"{words.name}, and worse once on {rows}", f"{words.meaning} {once.meaning}"
        case Verdict.DRIFT if rows:
            return f"{well[:1].upper()}{well[1:]}, but the data has moved", words.meaning
        case Verdict.DRIFT:
            return words.name, f"{words.meaning} {_LABELS_WANTED}"
        case Verdict.OK if rows:
            line = f"{words.name}: {well}"
            return (
                line,
                words.meaning if evidence.comparable else "Its inputs could not be compared.",
            )
        case Verdict.OK:
            return words.name, f"{words.meaning} {_LABELS_WANTED}"
        case Verdict.INSUFFICIENT_DATA if worse:
            return f"{words.name}: worse once on {rows}", WORDS[Verdict.WORSE].meaning
        case _:
            return words.name, words.meaning
