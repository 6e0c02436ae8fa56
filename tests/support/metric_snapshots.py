"""What the page of metrics is made of, and the samples that Prometheus reads of it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as read_text

from model_deployment.core.device_figures import DeviceFigures, ProjectFigures, ReleaseFigures
from model_deployment.core.devices import Presence, UpdateState
from model_deployment.core.measures import BATCH_ROWS, HeldFigures, Memory, ProxyCounters
from model_deployment.core.names import ModelKey
from model_deployment.core.port_usage import BlockedPort, PortUsage
from model_deployment.core.releases import ReleaseState
from model_deployment.flows.figures import EndCounts
from model_deployment.flows.service_file import ServiceState
from model_deployment.recording.counters import RequestCounts
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.reports.last_reports import LastReport
from model_deployment.telemetry.page import MetricsPage
from model_deployment.telemetry.prometheus import DeploymentSnapshot, LaunchSnapshot, Snapshot
from tests.support import endpoint_views
from tests.support.flow_runs import record
from tests.support.launched import deployed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_COUNTERS = ProxyCounters(
    refused=2,
    violations={("age", "type"): 3, ("bmi", "type"): 4, ("", "form"): 1},
    batches=2,
    batched_rows=10,
    batch_sizes=(1, 0, 1, *(0 for _ in BATCH_ROWS[2:])),
    in_flight=5,
    waiting=3,
    held=100,
)


def served(key: ModelKey, **changes: Any) -> DeploymentSnapshot:
    """A deployment that serves, with some of everything counted."""
    row = replace(deployed("m-1", created_at=NOW, ready_at=NOW), key=key)
    total = RequestCounts(rows=7, seconds=0.75)
    total.buckets[2] = 2  # up to 5 ms
    total.errors["timeout"] = 1
    given: dict[str, Any] = {
        "row": row,
        "total": total,
        "counters": _COUNTERS,
        "restarts": 4,
        "launches": [LaunchSnapshot(one, Memory(1000, 900), 2) for one in row.launches],
        "last_report": LastReport("r1", "drift", "Data drift", NOW, NOW),
    }
    return DeploymentSnapshot(**{**given, **changes})


def seen(*deployments: DeploymentSnapshot, **changes: Any) -> Snapshot:
    """A controller with these deployments."""
    given: dict[str, Any] = {
        "deployments": deployments,
        "ports": PortUsage(8001, 8010, 2, 1, (BlockedPort(8003, "x"),)),
        "captures": CaptureStatus(10, 1, 2, 3, ""),
        "idle": 0.5,
        "database": True,
        "build": {"version": "1", "mlflow_version": "3", "python_version": "3.11"},
    }
    return Snapshot(**{**given, **changes})


def page(what: Snapshot, accept: str = "") -> str:
    content, _ = MetricsPage().write(what, [], accept)
    return content.decode()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Values by name and labels."""
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in read_text(text)
        for one in family.samples
    }


_STOPPED = ReleaseFigures(
    3, ModelKey("diabetes", 1), ReleaseState.STOPPED, "2 of 2 failed", NOW, None,
    {UpdateState.FAILED: 2, UpdateState.RUNNING: 1},
)  # fmt: skip
_BACK = replace(_STOPPED, number=4, state=ReleaseState.COMPLETE, reverts=3, updates={})
#: A project whose newest release takes a stopped one back, and one without devices.
DEVICES = DeviceFigures(
    [
        ProjectFigures(
            "hall", {Presence.ONLINE: 5, Presence.OFFLINE: 2}, {0: 1, 2: 6}, _BACK, _STOPPED
        ),
        ProjectFigures("mill"),
    ],
    received=812,
    waiting=7,
    sockets=5,
)
#: Something of everything that has metrics.
FULL = seen(
    served(ModelKey("diabetes", 1)),
    endpoints=(endpoint_views.view(),),
    flows=EndCounts().figures([record()], ServiceState.READY),
    devices=DEVICES,
    held=HeldFigures(1000, {"call": 5}, {"call": 2}),
)
