"""The bodies of answers about traffic, metrics and ground truth."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from model_deployment.api.examples import example
from model_deployment.api.schemas import ViolationsOut

#: An example.
TRAFFIC = {
    "requests": 1200, "rows": 1300, "errors": {"refused": 4}, "caller_errors": 4, "model_errors": 0,
    "p50_ms": 2.1, "p95_ms": 4.8, "p99_ms": 9.0,
    "violations": [{"column": "age", "kind": "type", "count": 4}], "let_through": 0,
}  # fmt: skip
_ENTRY = {
    "at": "2026-01-31T12:00:00Z", "metrics": {"rmse": 61.2}, "window": "2026-01-24/2026-01-31", "n": 500,
    "note": None, "source": "set", "version": None,
}  # fmt: skip
_COMPARED = {
    "metric": "rmse", "baseline": 55.0, "baseline_source": "run", "current": 61.2, "change": 0.113,
    "direction": "lower", "verdict": "ok", "worse": False, "degraded": False,
}  # fmt: skip
_FEEDBACK = {
    "matched": 2, "waiting": 0, "unmatched": 0, "ambiguous": 0, "duplicate": 0, "coverage": 0.25,
    "labelled_rows": 300, "metrics": {"rmse": 61.2}, "versions": None, "note": None,
}  # fmt: skip


class TrafficOut(BaseModel):
    """Requests for predictions in a stretch of time."""

    requests: int = Field(description="All requests, answered or not.")
    rows: int = Field(description="Rows of answered requests, as far as the gate knows them.")
    errors: dict[str, int] = Field(description="Requests without a prediction, by kind of error.")
    caller_errors: int = Field(description="Those with a status of 400 to 499.")
    model_errors: int = Field(description="Those with a status of 500 or more.")
    p50_ms: float | None = Field(description="Median latency of answered requests.")
    p95_ms: float | None
    p99_ms: float | None
    violations: list[ViolationsOut]
    let_through: int = Field(
        description="Answered requests that did not fit the signature (`validation=observe`)."
    )


class MinuteOut(TrafficOut):
    """The requests of one minute."""

    at: datetime = Field(validation_alias="ts", description="Start of the minute.")


class ServingTrafficOut(BaseModel):
    """Requests for predictions, in total and by the minute."""

    since: datetime
    until: datetime
    total: TrafficOut
    windows: list[MinuteOut] = Field(
        description="Minutes with requests, oldest first; at most the last day."
    )


class MetricsEntryOut(BaseModel):
    """Metrics that were set, or computed from ground truth."""

    at: datetime = Field(validation_alias="ts")
    metrics: dict[str, float]
    window: str | None = Field(description="The data that they were measured on.")
    n: int | None = Field(description="Rows that they were measured on.")
    note: str | None
    source: str = Field(description="`set` by a caller, or computed from `feedback`.")
    version: int | None = Field(
        None, description="Of an endpoint: the version that they belong to."
    )


class ComparedMetricOut(BaseModel):
    """A metric beside its baseline."""

    metric: str
    baseline: float | None
    baseline_source: str | None
    current: float | None
    change: float | None = Field(description="Relative to the baseline; 0.1 is ten percent more.")
    direction: Literal["higher", "lower"] | None = Field(
        description="Which values are better; null if unknown."
    )
    verdict: str
    worse: bool | None = Field(description="Worse in this window; null if undecided.")
    degraded: bool | None = Field(description="Worse in two windows in a row; null if undecided.")


class MetricsOut(BaseModel):
    """Baseline, current metrics, their history, and traffic."""

    model_config = example({
        "name": "diabetes-1", "version": None, "baseline": {"rmse": 55.0}, "baseline_error": None,
        "baseline_as_of": None, "current": {"rmse": 61.2}, "history": [_ENTRY], "comparison": [_COMPARED],
        "serving": {
            "since": "2026-01-30T12:00:00Z", "until": "2026-01-31T12:00:00Z", "total": TRAFFIC,
            "windows": [{"at": "2026-01-31T11:59:00Z", **TRAFFIC}],
        },
        "versions": None,
    })  # fmt: skip

    name: str
    version: int | None = Field(None, description="Of an endpoint: the version that serves now.")
    baseline: dict[str, float]
    baseline_error: str | None = Field(
        description="Why the baseline is not known; null if it is, or if there is none."
    )
    baseline_as_of: datetime | None = Field(
        description="When it was read, if the registry does not answer now."
    )
    current: dict[str, float]
    history: list[MetricsEntryOut] = Field(description="Newest first.")
    comparison: list[ComparedMetricOut]
    serving: ServingTrafficOut
    versions: dict[str, "MetricsOut"] | None = Field(
        None, description="Of an endpoint: the answer for each version that it has served."
    )


class SetMetricsOut(MetricsEntryOut):
    """The metrics as they were stored."""

    model_config = example(
        {**_ENTRY, "comparison": [_COMPARED], "baseline_error": None, "written_to": "run 6f1c…"}
    )

    comparison: list[ComparedMetricOut]
    baseline_error: str | None
    written_to: str = Field(description="Where in MLflow they were written too, in words.")


class FeedbackOut(BaseModel):
    """What became of the labels of a call. Each is counted once."""

    model_config = example(_FEEDBACK)

    matched: int = Field(description="Labels whose row is captured.")
    waiting: int = Field(description="Labels whose capture may still be on its way to the store.")
    unmatched: int = Field(description="Labels without a captured row.")
    ambiguous: int = Field(description="Labels whose id several requests had.")
    duplicate: int = Field(description="Labels that were known already.")
    coverage: float | None = Field(
        None, description="Share of the captured rows that have a label; null of an endpoint."
    )
    labelled_rows: int
    metrics: dict[str, float] | None = Field(
        None, description="Computed from all labels so far; null of an endpoint."
    )
    versions: dict[str, "FeedbackOut"] | None = Field(
        None, description="Of an endpoint: the answer for each version."
    )
    note: str | None = Field(description="What to do about labels that were not matched.")


class ErasedOut(BaseModel):
    """How many captures were deleted."""

    model_config = example({"erased": 1})

    erased: int
