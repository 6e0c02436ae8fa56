"""The metrics in docs/reference/metrics.md, from the page that Prometheus reads."""

from typing import Any
from unittest.mock import MagicMock

from model_deployment.telemetry.prometheus import families
from scripts.generators.markdown import table


def metrics() -> str:
    # The families are the same whatever is looked at: a stand-in has no deployment.
    rows = (
        (f"`{_exposed(family)}`", family.type, _labels(family), family.documentation)
        for family in families(MagicMock())
    )
    return table(("metric", "type", "labels", "meaning"), rows)


def _exposed(family: Any) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return str(family.name) + suffix


def _labels(family: Any) -> str:
    if family.type == "info":
        return "`version`, `mlflow_version`, `python_version`"
    return ", ".join(f"`{name}`" for name in family._labelnames)
