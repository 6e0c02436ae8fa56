"""Renders the report as an HTML page that loads nothing from anywhere; the dashboard shows its parts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from model_deployment.core.metric_names import HIGHER, normalised
from model_deployment.degradation.job import moment
from model_deployment.degradation.wording.verdict_words import Verdict, words
from model_deployment.rendering import svg
from model_deployment.rendering.numbers import number, percent

#: The templates, and the style of what they show; the dashboard uses both.
FOLDER = Path(__file__).parent
STYLE = FOLDER / "report.css"
_TEMPLATE = "template.html.jinja"
#: Columns whose chart is shown; the others can be unfolded.
OPEN = 6
#: Codes of findings that have a section of their own.
_OF_CALLERS = ("refused", "violations")
METHODS = {"ks": "Kolmogorov-Smirnov", "chi_square": "chi-square", "psi": "PSI"}

#: Stands for no value.
_NONE = "\u2013"

Report = Mapping[str, Any]

#: What a report lacks that could not be made, or that an earlier release made.
_MISSING: Report = {
    "model": "",
    "version": "",
    "summary": "",
    "made_at": None,
    "reasons": [],
    "columns": [],
    "metrics": [],
    "violations": [],
    "prediction": None,
    "target": None,
    "share_drifted": None,
    "source": "servers",
    "reference_source": None,
    "refused": {"many": False},
    "window": {"since": None, "until": None},
    "rows": {"reference": None, "current": 0, "labelled": 0, "unmeasured": 0},
}


def render(
    report: Report, history: Sequence[Report], *, evidently: bool, why_not: str, id: str = ""
) -> str:
    """The page as HTML.

    Args:
        report: as in ``report.json``.
        history: metrics of earlier windows, oldest first.
        evidently: whether there is a page by Evidently too.
        why_not: why there is none.
        id: of the stored report, for the link to that page; empty if unknown.
    """
    values = page_values(report, history)
    return whole_page(_TEMPLATE, values | {"evidently": evidently, "why_not": why_not, "id": id})


def whole_page(template: str, values: Mapping[str, Any]) -> str:
    """A page of a template of this folder, with the style in it."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    install(environment)
    style = Markup(STYLE.read_text(encoding="utf-8"))  # noqa: S704 - our own file
    return environment.get_template(template).render(values, style=style)


def install(environment: Environment) -> None:
    """Add what the templates of this folder need to an environment."""
    environment.filters |= {
        "figure": _figure,
        "share": _share,
        "day": _day,
        "method": _method,
        "metric_verdict": _metric_verdict,
    }
    environment.globals |= {"picture": svg.column, "words": words}


def page_values(report: Report, history: Sequence[Report]) -> dict[str, Any]:
    """What ``report_top`` and ``report_rest`` show.

    Args:
        report: as in ``report.json``, perhaps of an earlier release.
        history: metrics of earlier windows, oldest first.
    """
    report = {**_MISSING, "headline": words(report["verdict"]).name, **report}
    pictured = [one for one in report["columns"] if svg.column(one)]
    callers = [one for one in report["reasons"] if one["code"] in _OF_CALLERS]
    worst, rest = _worst([one for one in report["reasons"] if one not in callers])
    return {
        "report": report,
        "worst": worst,
        "rest": rest,
        "callers": callers,
        "trends": _trends(report, history),
        "pictured": pictured,
        "opened": OPEN,
    }


def _worst(reasons: Sequence[Report]) -> tuple[list[Report], list[Report]]:
    """The worst three findings, each with another code, and the others."""
    first: dict[str, Report] = {}
    for one in reasons:
        first.setdefault(one["code"], one)
    worst = list(first.values())[:3]
    return worst, grouped([one for one in reasons if one not in worst])


def grouped(reasons: Sequence[Report]) -> list[Report]:
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
