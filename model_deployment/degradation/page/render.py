"""Renders the report as an HTML page that loads nothing from anywhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from model_deployment.degradation.job import moment
from model_deployment.degradation.metric_names import HIGHER, normalised
from model_deployment.degradation.wording.verdict_words import Verdict, words
from model_deployment.rendering import svg
from model_deployment.rendering.numbers import number, percent

_TEMPLATE = "template.html.jinja"
#: Columns whose chart is shown; the others can be unfolded.
_OPEN = 6
#: Codes of findings that have a section of their own.
_OF_CALLERS = ("refused", "violations")
METHODS = {"ks": "Kolmogorov-Smirnov", "chi_square": "chi-square", "psi": "PSI"}

#: Stands for no value.
_NONE = "\u2013"

Report = Mapping[str, Any]


def render(report: Report, history: Sequence[Report], evidently: str | None, why_not: str) -> str:
    """The page as HTML.

    Args:
        report: as in ``report.json``.
        history: metrics of earlier windows, oldest first.
        evidently: the HTML of Evidently's page; None if there is none.
        why_not: why there is none.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": _figure,
        "share": _share,
        "day": _day,
        "method": _method,
        "metric_verdict": _metric_verdict,
    }
    environment.globals |= {"picture": svg.column, "words": words}
    pictured = [one for one in report["columns"] if svg.column(one)]
    callers = [one for one in report["reasons"] if one["code"] in _OF_CALLERS]
    worst, rest = _worst([one for one in report["reasons"] if one not in callers])
    return environment.get_template(_TEMPLATE).render(
        report=report,
        worst=worst,
        rest=rest,
        callers=callers,
        trends=_trends(report, history),
        pictured=pictured,
        opened=_OPEN,
        evidently=None if evidently is None else embedded(evidently),
        why_not=why_not,
    )


def _worst(reasons: Sequence[Report]) -> tuple[list[Report], list[Report]]:
    """The worst three findings, each with another code, and the others."""
    first: dict[str, Report] = {}
    for one in reasons:
        first.setdefault(one["code"], one)
    worst = list(first.values())[:3]
    return worst, _grouped([one for one in reasons if one not in worst])


def _grouped(reasons: Sequence[Report]) -> list[Report]:
    """Findings with the same code together, so that their advice is shown once."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for one in reasons:
        key = (one["severity"], one["code"])
        group = groups.setdefault(
            key, {"severity": one["severity"], "advice": one["advice"], "messages": []}
        )
        group["messages"].append(one["message"])
    return list(groups.values())


def _trends(report: Report, history: Sequence[Report]) -> list[dict[str, Any]]:
    """A chart for each metric with earlier values or a baseline; worse metrics first."""
    found = []
    for metric in report["metrics"]:
        points = [
            (_day(past["ts"]), value)
            for past in history
            for name, value in past["metrics"].items()
            if normalised(name)[0] == metric["name"]
        ]
        if metric["current"] is not None:
            points.append(("now", metric["current"]))
        if points and (metric["baseline"] is not None or len(points) > 1):
            # Metrics of which higher is better, R² and shares, are at most 1.
            most = 1.0 if metric["direction"] == HIGHER else None
            picture = svg.trend(points, metric["baseline"], most)
            found.append({**metric, "picture": picture, "points": len(points)})
    return sorted(found, key=lambda one: (not one["degraded"], not one["worse"]))


def embedded(html: str) -> Markup:
    """A page for a ``srcdoc`` in single quotes: ``"`` is frequent and need not be escaped."""
    return Markup(html.replace("&", "&amp;").replace("'", "&#39;"))  # noqa: S704 - escaped here


def _figure(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return _NONE
    return number(value) if isinstance(value, int | float) else str(value)


def _share(value: float | None) -> str:
    return _NONE if value is None else percent(value)


def _day(value: Any) -> str:
    when = None if value is None else moment(value)
    return f"{when:%Y-%m-%d %H:%M}" if when else _NONE


def _metric_verdict(metric: Report) -> str:
    verdict = metric["verdict"]
    return _NONE if verdict == Verdict.NO_REFERENCE else words(verdict).name


def _method(name: str | None) -> str:
    return METHODS.get(name or "", _NONE)
