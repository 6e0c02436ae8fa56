"""The bodies of answers about degradation reports."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from model_deployment.api.examples import example
from model_deployment.degradation.wording.verdict_words import words
from model_deployment.documents.base import CapturedOn

_SUMMARY = {
    "id": "20260131T120000-0a1b2c3d", "at": "2026-01-31T12:00:20Z", "verdict": "drift",
    "verdict_name": "Data drift",
    "headline": "As good as its baseline on 700 labelled rows, but the data has drifted",
    "source": "servers", "since": "2026-01-24T12:00:00Z", "until": "2026-01-31T12:00:00Z",
    "reference": "dataset/train.parquet of run 0b5f6c9e",
    "rows": {"reference": 265, "current": 400, "labelled": 400},
    "page": "/dashboard/reports/diabetes-1/20260131T120000-0a1b2c3d",
}  # fmt: skip


class ReportSummaryOut(BaseModel):
    """A stored report."""

    model_config = example(_SUMMARY)

    id: str
    at: datetime = Field(description="When it was made.")
    verdict: str
    verdict_name: str = Field(description="The verdict as people read it.")
    headline: str
    source: CapturedOn = Field(description="Whose predictions it is about.")
    since: datetime = Field(description="Start of the window that it is about.")
    until: datetime
    reference: str = Field(description="What the captures were compared with.")
    rows: dict[str, int | None]
    page: str = Field(description="Path of its page in the dashboard.")

    @classmethod
    def members(cls, made: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The fields, for this class and its subclass. ``path`` is that of the deployment."""
        names = ("verdict", "headline", "since", "until", "reference", "rows")
        return {
            "id": made["_id"],
            "at": made["ts"],
            "source": made.get("source", CapturedOn.SERVERS),
            "verdict_name": words(made["verdict"]).name,
            "page": f"/dashboard/reports{path}/{made['_id']}",
            **{name: made[name] for name in names},
        }


class ReportOut(ReportSummaryOut):
    """A stored report with all that it says."""

    model_config = example({
        **_SUMMARY,
        "model": "diabetes",
        "version": 1,
        "report": {"verdict": "drift", "headline": "Data drift", "reasons": [{
            "severity": "error", "code": "drift", "column": "bmi",
            "message": "Column “bmi” has drifted: its mean rose from 23.6 to 30.8, by 2.9 standard …",
            "advice": "Find out what changed at the source of this column.",
        }]},
    })  # fmt: skip

    model: str
    version: int
    report: dict[str, Any] = Field(
        description="Reasons, metrics, and columns with their drift and histograms; docs/verdicts.md "
        "explains them."
    )


class ReportRunningOut(BaseModel):
    """A report that is not finished yet."""

    model_config = example({
        "id": "20260131T120000-0a1b2c3d", "status": "running",
        "url": "http://127.0.0.1:8000/model/diabetes-1/degradation_report?id=20260131T120000-0a1b2c3d",
    })  # fmt: skip

    id: str
    status: str
    url: str = Field(description="Where it will be.")
