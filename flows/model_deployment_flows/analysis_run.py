"""What an analysis of data leaves in MLflow and for people."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow

from model_deployment_flows import training_run

if TYPE_CHECKING:
    from model_deployment.degradation.analysis import Analysis
    from model_deployment_flows.run_context import Data

#: Artifact folder of the run.
_FOLDER = "analysis"
#: Findings in a table for people; the page has all.
_SHOWN = 100


def log(experiment: str, data: Data, found: Analysis, tags: Mapping[str, str]) -> None:
    """Log ``analysis/report.html`` and ``analysis/analysis.json`` to the run about these data."""
    summary = found.summary()
    key = f"data-{data.sha256[:16]}"
    about = {**tags, "experiment": experiment, "data_sha256": data.sha256}
    run = training_run.open_run(experiment, key, f"data {data.sha256[:8]}", about)
    client = mlflow.MlflowClient()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(found.page(), encoding="utf-8")
        client.log_artifact(run.run_id, str(page), _FOLDER)
    client.log_dict(run.run_id, summary, f"{_FOLDER}/analysis.json")
    counts = {f"findings_{severity}": float(n) for severity, n in summary["counts"].items()}
    training_run.log_results(run, {}, counts)
    training_run.finish(run)


def markdown(data: Data, summary: Mapping[str, Any]) -> str:
    """The findings as a page for people."""
    lines = [
        f"# Findings about {data}",
        "",
        "| severity | column | finding | advice |",
        "| --- " * 4 + "|",
    ]
    findings = summary["findings"]
    for one in findings[:_SHOWN]:
        cells = (one["severity"], one["column"] or "", one["message"], one["advice"])
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    if not findings:
        lines = [f"# Findings about {data}", "", "There are none."]
    if len(findings) > _SHOWN:
        lines.append(f"\n{len(findings) - _SHOWN} further findings are in the report.")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text of a table: names of columns are whatever somebody uploaded."""
    shown = " ".join(text.split())
    for mark in "\\`*_[]<>|":
        shown = shown.replace(mark, f"\\{mark}" if mark not in "<>" else f"&#{ord(mark)};")
    return shown
