"""All of monitoring on a store, with the rows, the labels and the run of a real model."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from model_deployment.alerts.alert import Alert
from model_deployment.alerts.formats import WebhookFormat, body
from model_deployment.alerts.webhook import Webhook
from model_deployment.core.names import ModelKey
from model_deployment.documents.base import CapturedOn, Collection, Documents
from model_deployment.documents.owner_view import OwnerView
from model_deployment.metrics.feedback import Feedback, Label
from model_deployment.metrics.service import Monitoring
from model_deployment.recording.upkeep import Upkeep
from model_deployment.reports.alarm import Alarm
from model_deployment.reports.inputs import InputWriter, Reference, ReportWindow
from model_deployment.reports.service import Reporter
from tests.support.counting import LocalCounts

KEY = ModelKey("diabetes", 1)
X, Y = load_diabetes(return_X_y=True, as_frame=True)
TRAIN, TEST, LIVE = slice(0, 150), slice(150, 220), slice(220, 442)
MODEL = Ridge(alpha=0.1).fit(X[TRAIN], Y[TRAIN])
SAID = MODEL.predict(X)
RUN = {
    "test_rmse": float(root_mean_squared_error(Y[TEST], SAID[TEST])),
    "test_mae": float(mean_absolute_error(Y[TEST], SAID[TEST])),
}


class Quick(InputWriter):
    """Leaves Evidently's pages out: they take most of the time, and no part in the verdict."""

    async def write(self, documents: Documents, window: ReportWindow, folder: Path) -> Reference:
        laid = await super().write(documents, window, folder)
        path = folder / "job.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), "deep": False}))
        return laid


@dataclass
class ReportDesk:
    """All of monitoring on a store, with a real model's rows in it."""

    upkeep: Upkeep
    store: OwnerView
    local: LocalCounts
    documents: Documents
    work: Path
    baseline: dict[str, float] | Exception = field(default_factory=dict)
    reference: Path | None = None
    notes: list[str] = field(default_factory=list)
    calls: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def monitoring(self) -> Monitoring:
        return Monitoring(self.store, self.local.reported, baseline=self._metrics, write_back=None)

    async def _metrics(self, key: ModelKey) -> dict[str, float]:
        if isinstance(self.baseline, Exception):
            raise self.baseline
        return self.baseline

    async def _training(self, key: ModelKey) -> Any:
        if self.reference is None:
            return None
        return SimpleNamespace(path=self.reference, origin="the run", target="target")

    async def _options(self, key: ModelKey) -> None:
        return None

    async def _signature(self, key: ModelKey) -> dict[str, Any]:
        inputs = [{"name": name, "type": "double", "required": True} for name in X.columns]
        return {"inputs": inputs}

    async def call(self, alert: Alert) -> None:
        self.calls.append(body(alert, WebhookFormat.JSON))

    def logged(self) -> None:
        """The run has a reference."""
        self.reference = self.work / "logged.parquet"
        X[:220].assign(target=Y[:220]).to_parquet(self.reference)

    async def served(self, frame: pd.DataFrame = X[LIVE]) -> list[str]:
        """Rows are asked for, answered, captured and counted; the ids of the requests."""
        now = datetime.now(UTC) - timedelta(minutes=5)
        said = MODEL.predict(frame)
        captures: list[dict[str, Any]] = [
            {
                "_id": f"c{place:04}", "model": KEY.model, "version": KEY.version,
                "ts": now + place * timedelta(milliseconds=50), "request_id": f"r{place}",
                "launch_id": "launch", "latency_ms": 2.5, "columns": list(frame.columns),
                "data": [[float(one) for one in row]], "predictions": [float(said[place])],
                "rows": 1, "truncated": False, "note": "",
            }
            for place, row in enumerate(frame.to_numpy())
        ]  # fmt: skip
        await self.documents.insert(Collection.CAPTURES, captures)
        for _ in captures:
            self.local.traffic.answered(KEY, now.timestamp(), 2.5, 1)
        return [one["request_id"] for one in captures]

    def refused(self, requests: int) -> None:
        """So many requests lack all of their columns."""
        now = (datetime.now(UTC) - timedelta(minutes=4)).timestamp()
        for _ in range(requests):
            self.local.traffic.violated(KEY, now, {(name, "missing"): 1 for name in X.columns})
            self.local.traffic.failed(KEY, now, 422)

    async def labelled(self, ids: list[str], truth: Any) -> dict[str, Any]:
        items = [Label(id, 0, float(one)) for id, one in zip(ids, truth, strict=True)]
        return await Feedback(self.store).add(KEY, items)

    async def report(self, source: CapturedOn = CapturedOn.SERVERS) -> tuple[dict[str, Any], str]:
        """What it says, and its page."""
        gather = Quick(
            self.monitoring,
            training=self._training,
            signature=self._signature,
            options=self._options,
        )
        alarm = Alarm(lambda key, text: self.notes.append(text), cast(Webhook, self))
        reporter = Reporter(self.store, gather, work=self.work / "reports", on_report=alarm)
        reporter.open()
        now = datetime.now(UTC)
        id = reporter.begin(KEY, now - timedelta(days=1), now, source)
        made = await reporter.wait(KEY, id, 120)
        assert made is not None
        page = await reporter.page(id)
        assert page is not None, made
        (listed,) = await reporter.list(KEY, 1, source)
        assert (listed["headline"], listed["source"]) == (made["headline"], source)
        return made["report"], gzip.decompress(page).decode()

    async def compared(self) -> dict[str, dict[str, Any]]:
        """What the API says of the metrics."""
        now = datetime.now(UTC)
        found = await self.monitoring.metrics(KEY, now - timedelta(days=1), now)
        return {row["metric"]: row for row in found["comparison"]}
