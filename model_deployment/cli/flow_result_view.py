"""The result of a run of a flow, as lines of text."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from model_deployment.cli.output import table
from model_deployment.rendering import flow_results
from model_deployment.rendering.flow_results import EvaluationPart, TrainingPart

#: Digits of a SHA-256 that people see.
_SHORT = 12


def result_lines(flow: str, result: Mapping[str, Any] | None) -> Iterator[str]:
    """The parts of a result, each with a blank line before it; one that has none as JSON."""
    if not result:
        return
    found = flow_results.read(flow, result)
    if not found.known:
        yield from ("", "result:", json.dumps(result, indent=2, ensure_ascii=False))
        return
    if found.data:
        of = f" in {found.data.sha256[:_SHORT]}" if found.data.sha256 else ""
        yield from ("", f"data: {found.data.words}{of}")
    if found.training:
        yield from ("", *_training(found.training))
    if found.evaluation:
        yield from ("", *_evaluation(found.evaluation))
    if found.deployment:
        part = found.deployment
        reason = f" ({part.reason})" if part.reason else ""
        yield from (
            "",
            f"deployment: version {part.version} at {part.endpoint}: {part.outcome}{reason}",
        )


def _training(part: TrainingPart) -> Iterator[str]:
    what = f"version {part.version}" + (f" of {part.model}" if part.model else "")
    if not part.trained:
        yield f"training: {what} was trained before, with the same data, settings and code"
        return
    kind = f", {part.model_type}" if part.model_type else ""
    best = f", the best of {part.trials}" if part.trials else ""
    yield f"training: {what}{kind}{best}"
    yield from (f"  {line}" for line in table(("PARAMETER", "VALUE"), part.params))
    yield from (f"  {line}" for line in table(("METRIC", "HELD OUT"), part.metrics))


def _evaluation(part: EvaluationPart) -> Iterator[str]:
    yield f"evaluation: version {part.candidate} {part.verdict}"
    yield from (f"  - {reason}" for reason in part.reasons)
    columns = (
        "METRIC",
        "DATA",
        "ROWS",
        f"VERSION {part.candidate}",
        f"CHAMPION {part.champion or '-'}",
    )
    rows = ((one.metric, one.data, one.rows, one.candidate, one.champion) for one in part.scores)
    yield from (f"  {line}" for line in table(columns, rows))
