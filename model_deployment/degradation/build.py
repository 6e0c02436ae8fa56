"""Builds the files of a report from the tables in a folder."""

from functools import partial
from pathlib import Path

from model_deployment.degradation import report_files
from model_deployment.degradation.data.collect import Collected
from model_deployment.degradation.data.columns import ColumnPair
from model_deployment.degradation.data.tables import read, read_labelled
from model_deployment.degradation.job import ReportJob
from model_deployment.degradation.page import evidently_page
from model_deployment.degradation.page.render import render
from model_deployment.degradation.report import ReportInputs, make_report

#: Bytes of Evidently's page above which the report does without.
_MAX_EVIDENTLY_BYTES = 8_000_000


def build(folder: Path, job: ReportJob, collected: Collected) -> None:
    """Write the page and the report, then Evidently's page, and the page again with a link to it."""
    current, reference = folder / "current.parquet", folder / "reference.parquet"
    earlier = folder / "predictions.parquet"
    inputs = ReportInputs(
        current=read(current, job.max_rows, job.seed),
        reference=read(reference, job.max_rows, job.seed) if reference.exists() else None,
        labelled=read_labelled(current),
        earlier=read(earlier, job.max_rows, job.seed) if earlier.exists() else None,
        collected=collected,
    )
    report, columns = make_report(job, inputs)
    history = [
        {"ts": one.ts.isoformat() if one.ts else None, "metrics": dict(one.metrics), "n": one.n}
        for one in job.history
    ]
    page = partial(render, report, history, id=job.id)
    report_files.write_page(folder, page(evidently=False, why_not="not finished"))
    report_files.write_report(folder, report)
    del inputs
    html, why_not = _evidently(columns, job) if job.deep else (None, "not requested")
    if html is not None:
        report_files.write_evidently(folder, html)
    report_files.write_page(folder, page(evidently=html is not None, why_not=why_not))


def _evidently(columns: list[ColumnPair], job: ReportJob) -> tuple[str | None, str]:
    """Evidently's page, or why there is none. A failure in Evidently never loses the report."""
    try:
        html = evidently_page.page(columns, job)
    except BaseException as error:
        return None, f"{type(error).__name__}: {error}"[:300]
    if html is None:
        return None, "no column could be compared"
    if len(html) > _MAX_EVIDENTLY_BYTES:
        return None, "too large"
    return html, ""
