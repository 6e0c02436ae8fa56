"""Makes the files of a report from the files of a folder."""

from pathlib import Path
from typing import Any

from model_deployment.degradation import engine, evidently_page, files, page
from model_deployment.degradation.collect import Collected
from model_deployment.degradation.columns import Column
from model_deployment.degradation.engine import Inputs
from model_deployment.degradation.job import Job
from model_deployment.degradation.tables import read, read_labelled

_MOST_BYTES = 8_000_000


def make(folder: Path, job: Job, collected: Collected) -> None:
    """Write the report, then the page, then the page again with Evidently's.

    Args:
        folder: where the tables are, and the files go.
        job: what to make.
        collected: what is not in the tables.
    """
    current, reference = folder / "current.parquet", folder / "reference.parquet"
    earlier = folder / "predictions.parquet"
    inputs = Inputs(
        current=read(current, job.max_rows, job.seed),
        reference=read(reference, job.max_rows, job.seed) if reference.exists() else None,
        labelled=read_labelled(current),
        earlier=read(earlier, job.max_rows, job.seed) if earlier.exists() else None,
        ambiguous=collected.ambiguous,
        left_out=collected.left_out,
        guessed=collected.guessed,
        two_digests=collected.two_digests,
    )
    report, columns = engine.make(job, inputs)
    history = [
        {"ts": past.ts.isoformat() if past.ts else None, "metrics": dict(past.metrics), "n": past.n}
        for past in job.history
    ]
    files.page(folder, page.render(report, history, None, "it was not finished"))
    files.report(folder, report)
    del inputs
    if job.deep:
        html, why_not = _deep(report, columns, job)
        files.page(folder, page.render(report, history, html, why_not))
    else:
        files.page(folder, page.render(report, history, None, "it was not asked for"))


def _deep(report: dict[str, Any], columns: list[Column], job: Job) -> tuple[str | None, str]:
    """Evidently's page, or why there is none. Nothing that happens in it loses the report."""
    try:
        html = evidently_page.page(columns, job)
    except BaseException as error:
        return None, f"{type(error).__name__}: {error}"[:300]
    if html is None:
        return None, "there was nothing that it could compare"
    if len(page.embedded(html)) > _MOST_BYTES:
        return None, "it was too large"
    return html, ""
