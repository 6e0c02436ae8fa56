"""The calls for metrics, ground truth, reports and data sets."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from model_deployment.client.answers import (
    Erased,
    Feedback,
    LabelIn,
    Metrics,
    ReportSummary,
    SetMetrics,
    VersionsCompared,
)
from model_deployment.client.errors import ApiError, Unfinished
from model_deployment.client.exchange import data_of, path
from model_deployment.client.reports import Report, with_links
from model_deployment.client.retries import Resend
from model_deployment.client.sync.connection import Connection

Moment = str | datetime
DataSource = Literal["training", "captured", "devices"]
Format = Literal["csv", "parquet", "jsonl"]
#: Labels that one call takes.
LABELS_PER_CALL = 10_000


class Monitoring(Connection):
    """Monitoring. ``name`` is ``<model>-<version>``, or an endpoint's ``<model>@<alias>``; ``since`` and
    ``until`` are times, or spans before now such as ``24h`` and ``7d``.
    """

    def metrics(
        self, name: str, *, since: Moment | None = None, until: Moment | None = None
    ) -> Metrics:
        """Baseline, current metrics and request counters; by default of the last 24 hours."""
        found: Metrics = self.data(
            "GET", path("/model/{}/metrics", name), params={"since": since, "until": until}
        )
        return found

    def set_metrics(
        self,
        name: str,
        metrics: Mapping[str, float],
        *,
        n: int | None = None,
        window: str | None = None,
        note: str | None = None,
    ) -> SetMetrics:
        """Store metrics that you measured on ``n`` rows, and compare them with the baseline."""
        given = {"metrics": dict(metrics), "n": n, "window": window, "note": note}
        body = {key: value for key, value in given.items() if value is not None}
        found: SetMetrics = self.data("POST", path("/model/{}/set_new_metrics", name), json=body)
        return found

    def send_labels(self, name: str, labels: Iterable[LabelIn]) -> Feedback:
        """Store the ground truth of predictions, at most 10,000 rows; again is the same as once.

        The answer counts what became of the labels.
        """
        found: Feedback = self.data(
            "POST",
            path("/model/{}/feedback", name),
            json={"items": list(labels)},
            resend=Resend.REFUSED,
        )
        return found

    def erase(self, name: str, request_id: str) -> int:
        """Delete the capture of a request; the number of captures that were deleted."""
        found: Erased = self.data(
            "DELETE", path("/model/{}/captures", name), params={"request_id": request_id}
        )
        return found["erased"]

    def compare(self, model: str, versions: Iterable[int | str]) -> VersionsCompared:
        """Up to ten versions side by side, deployed or not: metrics, what differs, and which is better."""
        params = {"versions": [str(version) for version in versions]}
        found: VersionsCompared = self.data("GET", path("/compare/{}", model), params=params)
        return found

    def report(
        self,
        name: str,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        id: str | None = None,
        wait: float = 300.0,
        source: Literal["servers", "devices"] | None = None,
    ) -> Report:
        """Make a degradation report, by default of the last 30 days, or fetch the stored one with an id.

        Args:
            source: whose predictions it is about; servers if None.

        Raises:
            Unfinished: it is not finished within ``wait`` seconds (at most 600).
            ApiError: 404 there is no such deployment or report.
        """
        where = path("/model/{}/degradation_report", name)
        asked = {"since": since, "until": until, "id": id, "wait": wait, "source": source}
        params = {"format": "json", **asked}
        # Without an id the call begins a report, and a second one would begin another.
        resend = Resend.REFUSED if id is None else Resend.LOST
        answer = self.request("GET", where, params=params, wait=wait, resend=resend)
        facts = data_of(answer)
        if answer.status_code == 202:
            raise Unfinished(name, facts["id"])
        shown = {"format": "html", "id": facts["id"], "source": source}
        try:
            page = (self.request("GET", where, params=shown)).text
        except ApiError as error:
            if error.status != 404:
                raise
            page = ""  # a report without data has none
        return Report(name, facts, with_links(page, self.url + where))

    def reports(self, name: str, *, limit: int = 100) -> list[ReportSummary]:
        """Stored reports, newest first, with verdict and headline."""
        found: list[ReportSummary] = self.data(
            "GET", path("/model/{}/reports", name), params={"limit": limit}
        )
        return found

    def dataset(
        self,
        name: str,
        *,
        source: DataSource | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Training data, or captured requests with predictions and labels, as rows.

        ``pandas.DataFrame(rows)`` makes a table of them; :meth:`save_dataset` holds none of them in memory.
        """
        params = self._selection(source, "jsonl", since, until, limit)
        rows: list[dict[str, Any]] = []
        rest = b""
        with self.open("GET", path("/model/{}/dataset", name), params=params) as answer:
            for part in answer.iter_bytes():
                *lines, rest = (rest + part).split(b"\n")
                rows += (json.loads(line) for line in lines if line)
        return rows + ([json.loads(rest)] if rest else [])

    def save_dataset(
        self,
        name: str,
        file: str | Path,
        *,
        source: DataSource | None = None,
        format: Format | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = None,
    ) -> Path:
        """Training data or captured requests as a file, whose suffix or ``format`` chooses the format.

        A file that could not be written whole is removed.
        """
        target = Path(file)
        suffix = target.suffix.lstrip(".").lower()
        chosen = format or (suffix if suffix in ("csv", "parquet", "jsonl") else "csv")
        params = self._selection(source, chosen, since, until, limit)
        return self._save(target, path("/model/{}/dataset", name), params)

    def save_drifted_rows(self, name: str, report: str, file: str | Path) -> Path:
        """The captured rows that the drift of a report comes from, as a CSV file.

        Raises:
            ApiError: 404 there is no such report, or no column has drifted.
        """
        return self._save(Path(file), path("/model/{}/drifted_rows", name), {"id": report})

    def _selection(
        self,
        source: DataSource | None,
        format: str,
        since: Moment | None,
        until: Moment | None,
        limit: int | None,
    ) -> dict[str, Any]:
        return {
            "source": source,
            "format": format,
            "since": since,
            "until": until,
            "limit": limit,
        }
