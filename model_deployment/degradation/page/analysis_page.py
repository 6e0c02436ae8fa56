"""Renders an analysis of training data as an HTML page that loads nothing from anywhere.

Without pandas: the dashboard shows an analysis from its JSON.
"""

from collections.abc import Mapping
from typing import Any

from model_deployment.degradation.page.render import OPEN, grouped, whole_page
from model_deployment.rendering import svg

_TEMPLATE = "analysis.html.jinja"
#: Rows of a table of associations.
_MAX_ROWS = 30

Summary = Mapping[str, Any]


def render(summary: Summary) -> str:
    """The page of ``Analysis.summary()``."""
    return whole_page(_TEMPLATE, page_values(summary))


def page_values(summary: Summary) -> dict[str, Any]:
    """What ``analysis_body.html.jinja`` shows."""
    findings = summary["findings"]
    serious = [one for one in findings if one["severity"] == "error"]
    with_target = summary["associations"]["target"]
    return {
        # The parts shared with reports read it.
        "report": {"rows": {"reference": summary["rows"]["original"]}},
        "analysis": summary,
        "tone": _tone(summary),
        "errors": grouped(serious),
        "others": grouped([one for one in findings if one not in serious]),
        "pictured": [one for one in summary["columns"] if svg.column(one)],
        "opened": OPEN,
        "with_target": with_target[:_MAX_ROWS],
        "pairs": summary["associations"]["pairs"][:_MAX_ROWS],
    }


def _tone(summary: Summary) -> str:
    if summary["stops"]:
        return "error"
    return "warning" if summary["counts"]["warning"] else "good"
