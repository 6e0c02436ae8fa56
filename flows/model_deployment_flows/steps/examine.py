"""What a run does with new data: analysis, and what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import get_run_logger

from model_deployment.core.errors import NotFound
from model_deployment.rendering.numbers import count
from model_deployment_flows import analysis_run
from model_deployment_flows.run_context import Data, RunContext
from model_deployment_flows.tasks import Leave, leave_page, local_task, registry_task, run_id

if TYPE_CHECKING:
    from model_deployment.degradation.analysis import Analysis


class DataRefused(ValueError):
    """The analysis says that no model should be trained on the data."""


def examine(
    context: RunContext, data: Data, *, force: bool, leave: Leave | None = None
) -> dict[str, Any]:
    """Analyse some data, keep the analysis, and say what was found.

    Raises:
        DataRefused: there are findings of severity *error*, and no ``force``.
    """
    log = get_run_logger()
    found = analyse_data(context, data)
    keep_analysis(context, data, found)
    log_analysis(context, data, found)
    summary = found.summary()
    counts = ", ".join(f"{number} {severity}" for severity, number in summary["counts"].items())
    log.info("%s: %s", data, counts)
    for one in found.findings[:20]:
        log.info("%s: %s %s", one.severity.name.lower(), one.message, one.advice)
    leave_page("analysis", analysis_run.markdown(data, summary), "Findings about the data")
    result = {"data_sha256": data.sha256, "findings": summary["counts"], "stops": found.stops}
    if leave is not None:
        leave(result)
    if found.stops and not force:
        worst = "; ".join(one.message.rstrip(".") for one in found.errors[:3])
        raise DataRefused(
            f"cannot train {context.name} on {data}: {count(len(found.errors), 'error')}: {worst}. "
            "Mend the data and upload them again, or run the flow with force: true"
        )
    return result


@local_task(name="analyse data")
def analyse_data(context: RunContext, data: Data) -> Analysis:
    """The analysis of some data beside the original data."""
    from model_deployment.degradation.analysis import analyse

    settings = context.settings
    return analyse(
        data.path,
        None if data.original else context.original().path,
        target=settings.target,
        task=str(settings.task),
        time_column=settings.time_column,
        missing_values=settings.missing_values,
    )


@local_task(name="keep analysis")
def keep_analysis(context: RunContext, data: Data, found: Analysis) -> None:
    """Keep the analysis beside the version; the original data are no version."""
    try:
        context.versions.keep_analysis(data.sha256, context.name, found.summary(), found.page())
    except NotFound:
        if not data.original:
            raise


@registry_task(name="log analysis")
def log_analysis(context: RunContext, data: Data, found: Analysis) -> None:
    """Log the analysis to MLflow, as ``report.html`` and ``analysis.json`` of a run."""
    analysis_run.log(context.name, data, found, {"flow_run_id": run_id()})
