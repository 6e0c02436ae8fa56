"""The page of metrics: what Prometheus reads of it, and the names and labels that are a promise."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.registry import Collector

from model_deployment.core.device_figures import DeviceFigures, ProjectFigures, ReleaseFigures
from model_deployment.core.devices import Presence, UpdateState
from model_deployment.core.domain import Deployment, Desired, LaunchRole, LaunchState, State
from model_deployment.core.endpoints import EndpointName, RolloutState
from model_deployment.core.measures import BATCH_ROWS, HeldFigures, Memory, ProxyCounters
from model_deployment.core.names import ModelKey
from model_deployment.core.port_usage import BlockedPort, PortUsage
from model_deployment.core.releases import ReleaseState
from model_deployment.endpoints.views import EndpointView
from model_deployment.flows.base import FlowState, FlowType
from model_deployment.flows.figures import EndCounts
from model_deployment.flows.service_file import ServiceState
from model_deployment.gate import ViolationKind
from model_deployment.recording.counters import LATENCIES, RequestCounts
from model_deployment.recording.error_kinds import KINDS
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.reports.last_reports import LastReport
from model_deployment.telemetry.page import MetricsPage
from model_deployment.telemetry.prometheus import (
    DeploymentSnapshot,
    LaunchSnapshot,
    Snapshot,
    families,
)
from tests.support import endpoint_views
from tests.support.flow_runs import record
from tests.support.launched import deployed, launch

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
COUNTERS = ProxyCounters(
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
    row = replace(deployed("m-1", created_at=NOW, ready_at=NOW), key=key)
    total = RequestCounts(rows=7, seconds=0.75)
    total.buckets[2] = 2  # up to 5 ms
    total.errors["timeout"] = 1
    given: dict[str, Any] = {
        "row": row,
        "total": total,
        "counters": COUNTERS,
        "restarts": 4,
        "launches": [LaunchSnapshot(one, Memory(1000, 900), 2) for one in row.launches],
        "last_report": LastReport("r1", "drift", "Data drift", NOW, NOW),
    }
    return DeploymentSnapshot(**{**given, **changes})


def seen(*deployments: DeploymentSnapshot, **changes: Any) -> Snapshot:
    given: dict[str, Any] = {
        "deployments": deployments,
        "ports": PortUsage(8001, 8010, 2, 1, (BlockedPort(8003, "x"),)),
        "captures": CaptureStatus(10, 1, 2, 3, ""),
        "idle": 0.5,
        "database": True,
        "build": {"version": "1", "mlflow_version": "3", "python_version": "3.11"},
    }
    return Snapshot(**{**given, **changes})


class SnapshotCollector(Collector):
    def __init__(self, what: Snapshot) -> None:
        self._what = what

    def collect(self) -> Any:
        return families(self._what)


def page(what: Snapshot, accept: str = "") -> str:
    content, _ = MetricsPage().write(what, [], accept)
    return content.decode()


def page_by_library(what: Snapshot, accept: str) -> str:
    """Written at once, and nothing remembered."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(what))
    encode, _ = choose_encoder(accept)
    return encode(registry).decode()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in read_text(text)
        for one in family.samples
    }


STOPPED = ReleaseFigures(
    3, ModelKey("diabetes", 1), ReleaseState.STOPPED, "2 of 2 failed", NOW, None,
    {UpdateState.FAILED: 2, UpdateState.RUNNING: 1},
)  # fmt: skip
BACK = replace(STOPPED, number=4, state=ReleaseState.COMPLETE, reverts=3, updates={})
DEVICES = DeviceFigures(
    [
        ProjectFigures(
            "hall", {Presence.ONLINE: 5, Presence.OFFLINE: 2}, {0: 1, 2: 6}, BACK, STOPPED
        ),
        ProjectFigures("mill"),
    ],
    received=812,
    waiting=7,
    sockets=5,
)
ONE = seen(
    served(ModelKey("diabetes", 1)),
    endpoints=(endpoint_views.view(),),
    flows=EndCounts().figures([record()], ServiceState.READY),
    devices=DEVICES,
    held=HeldFigures(1000, {"call": 5}, {"call": 2}),
)

#: What dashboards and alerts are made of: a change here breaks them.
NAMES = {
    "build_info": ("gauge", {"version", "mlflow_version", "python_version"}),
    "report_verdict": ("gauge", {"model", "version", "verdict"}),
    "report_timestamp_seconds": ("gauge", {"model", "version"}),
    "machine_memory_total_bytes": ("gauge", set()),
    "machine_memory_available_bytes": ("gauge", set()),
    "flow_runs_active": ("gauge", {"flow", "state"}),
    "flow_runs": ("counter", {"flow", "state"}),
    "flow_duration_seconds": ("gauge", {"flow"}),
    "flow_completed_timestamp_seconds": ("gauge", {"flow"}),
    "flow_service_up": ("gauge", set()),
    "devices": ("gauge", {"project", "presence"}),
    "devices_running": ("gauge", {"project", "release"}),
    "release_number": ("gauge", {"project"}),
    "release_state": ("gauge", {"project", "state"}),
    "release_since_timestamp_seconds": ("gauge", {"project"}),
    "release_devices": ("gauge", {"project", "state"}),
    "device_messages": ("counter", set()),
    "device_messages_waiting": ("gauge", set()),
    "device_sockets": ("gauge", set()),
    "requests": ("counter", {"model", "version", "outcome"}),
    "request_duration_seconds": ("histogram", {"model", "version", "le"}),
    "rows": ("counter", {"model", "version"}),
    "requests_in_flight": ("gauge", {"model", "version"}),
    "queue_requests": ("gauge", {"model", "version"}),
    "queue_bytes": ("gauge", {"model", "version"}),
    "batch_rows": ("histogram", {"model", "version", "le"}),
    "violations": ("counter", {"model", "version", "kind"}),
    "refused_requests": ("counter", {"model", "version"}),
    "caller_errors": ("counter", {"model", "version"}),
    "model_errors": ("counter", {"model", "version"}),
    "state": ("gauge", {"model", "version", "state"}),
    "restarts": ("counter", {"model", "version"}),
    "deployed_timestamp_seconds": ("gauge", {"model", "version"}),
    "ready_timestamp_seconds": ("gauge", {"model", "version"}),
    "resident_memory_bytes": ("gauge", {"model", "version"}),
    "proportional_memory_bytes": ("gauge", {"model", "version"}),
    "replicas_wanted": ("gauge", {"model", "version"}),
    "replicas_ready": ("gauge", {"model", "version"}),
    "launch_resident_memory_bytes": ("gauge", {"model", "version", "replica", "role"}),
    "launch_proportional_memory_bytes": ("gauge", {"model", "version", "replica", "role"}),
    "launch_requests_in_flight": ("gauge", {"model", "version", "replica", "role"}),
    "endpoint_champion": ("gauge", {"endpoint", "model"}),
    "endpoint_share": ("gauge", {"endpoint", "model", "version"}),
    "rollout_state": ("gauge", {"endpoint", "model", "version", "state"}),
    "rollout_since_timestamp_seconds": ("gauge", {"endpoint", "model", "version"}),
    "rollout_evidence": ("gauge", {"endpoint", "model", "version", "guard"}),
    "ports": ("gauge", {"state"}),
    "spool_bytes": ("gauge", set()),
    "store_up": ("gauge", set()),
    "state_database_up": ("gauge", set()),
    "reconciler_idle_seconds": ("gauge", set()),
    "captures_written": ("counter", set()),
    "captures_dropped": ("counter", set()),
    "captures_dead": ("counter", set()),
    "proxies": ("gauge", set()),
    "warm_parent_memory_bytes": ("gauge", set()),
    "warm_parent_models": ("gauge", set()),
    "environment_size_bytes": ("gauge", set()),
    "held_bytes": ("gauge", {"use"}),
    "held_limit_bytes": ("gauge", set()),
    "held_refused": ("counter", {"use"}),
    "proxy_restarts": ("counter", set()),
}


def test_names_types_and_labels_are_the_ones_that_were_promised() -> None:
    found = {
        family.name.removeprefix("model_deployment_"): (
            family.type,
            {label for one in family.samples for label in one.labels},
        )
        for family in read_text(page(ONE))
    }
    assert found == NAMES
    assert all(family.documentation.endswith(".") for family in read_text(page(ONE)))


def test_values_of_labels_are_from_closed_sets() -> None:
    values: dict[str, set[str]] = {}
    for _, labels in samples(page(ONE)):
        for name, value in labels:
            values.setdefault(name, set()).add(value)
    assert values["outcome"] == {"answered", *KINDS}
    assert values["kind"] == set(ViolationKind)
    ports = {"free", "leased", "quarantined", "blocked"}
    releases = {*ReleaseState, *UpdateState}
    assert values["state"] == {*State, *RolloutState, *ports, *FlowState, *releases}
    assert values["presence"] == {*Presence}
    assert values["flow"] == {*FlowType}
    assert values["role"] <= {*LaunchRole}
    assert values["guard"] == {"errors", "latency"}
    # No column, whatever callers sent.
    assert values["model"] == {"diabetes"}


def value(name: str, **labels: str) -> float:
    key = frozenset({"model": "diabetes", "version": "1", **labels}.items())
    return samples(page(ONE))[f"model_deployment_{name}", key]


def test_deployment_metrics_have_its_values() -> None:
    assert value("requests_total", outcome="answered") == 2
    assert value("requests_total", outcome="timeout") == 1
    assert value("requests_total", outcome="refused") == 0
    assert value("rows_total") == 7
    assert (value("requests_in_flight"), value("queue_requests"), value("queue_bytes")) == (
        5,
        3,
        100,
    )
    assert value("violations_total", kind="type") == 7
    assert value("violations_total", kind="form") == 1
    assert value("refused_requests_total") == 2
    assert (value("state", state="ready"), value("state", state="failed")) == (1, 0)
    assert value("restarts_total") == 4
    assert (value("resident_memory_bytes"), value("proportional_memory_bytes")) == (1000, 900)
    assert value("ready_timestamp_seconds") == NOW.timestamp()


def of_devices() -> dict[str, float]:
    """By name and values of labels, in the order of the labels' names."""
    return {
        " ".join(
            [name.removeprefix("model_deployment_"), *(text for _, text in sorted(labels))]
        ): sample
        for (name, labels), sample in samples(page(seen(devices=DEVICES))).items()
        if re.search("device|release", name)
    }


def test_device_metrics_have_each_project_and_its_newest_release() -> None:
    found = of_devices()
    assert {name: found[name] for name in found if name.startswith("devices online")} == {
        "devices online hall": 5, "devices online mill": 0,
    }  # fmt: skip
    assert (found["devices offline hall"], found["devices never hall"]) == (2, 0)
    running = {name: count for name, count in found.items() if name.startswith("devices_running")}
    assert running == {"devices_running hall 0": 1, "devices_running hall 2": 6}
    # The number is of the newest one, which takes the stopped one back; the state tells of the stopped one.
    assert (found["release_number hall"], found["release_number mill"]) == (4, 0)
    states = {state: found[f"release_state hall {state}"] for state in ReleaseState}
    assert states == {state: state is ReleaseState.STOPPED for state in ReleaseState}
    assert not [name for name in found if name.startswith("release_state mill")]
    assert found["release_since_timestamp_seconds hall"] == NOW.timestamp()
    assert (found["release_devices hall failed"], found["release_devices hall offered"]) == (2, 0)
    assert (found["device_messages_total"], found["device_messages_waiting"]) == (812, 7)
    assert found["device_sockets"] == 5


def of_endpoints(*views: EndpointView) -> dict[str, float]:
    """By name and the label that is not the name of an endpoint or a version."""
    return {
        " ".join([name.removeprefix("model_deployment_"), *more]): sample
        for (name, labels), sample in samples(page(seen(endpoints=views))).items()
        if (found := dict(labels)).get("endpoint") == "diabetes@champion"
        for more in [[found[key] for key in ("version", "state", "guard") if key in found]]
    }


def test_endpoint_metrics_have_its_shares_and_its_newest_rollout() -> None:
    found = of_endpoints(endpoint_views.view())
    assert (found["endpoint_champion"], found["endpoint_share 1"]) == (1, 0.75)
    states = {state: found[f"rollout_state 2 {state}"] for state in RolloutState}
    assert states == {state: state is RolloutState.CANARY for state in RolloutState}
    assert found["rollout_since_timestamp_seconds 2"] == endpoint_views.ago(3).timestamp()
    # A guard without a limit yet has no share of it.
    assert {name: found[name] for name in found if "evidence" in name} == {
        "rollout_evidence 2 errors": 0.002,
        "rollout_evidence 2 latency": 0.25,
    }
    # Nothing serves, and nothing is on its way.
    empty = endpoint_views.steady(
        endpoint=endpoint_views.endpoint(champion=None, champion_since=None), versions=()
    )
    assert of_endpoints(empty) == {"endpoint_champion": 0}


def test_buckets_hold_all_smaller_ones() -> None:
    name = "request_duration_seconds"
    counted = [value(f"{name}_bucket", le=str(bound)) for bound in LATENCIES]
    assert counted == [0, 0, *(2 for _ in LATENCIES[2:])]
    assert value(f"{name}_bucket", le="+Inf") == value(f"{name}_count") == 2
    assert value(f"{name}_sum") == 0.75
    assert (LATENCIES[0], LATENCIES[-1]) == (0.001, 60)
    rows = [value("batch_rows_bucket", le=f"{bound}.0") for bound in BATCH_ROWS]
    assert rows == [1, 1, *(2 for _ in BATCH_ROWS[2:])]
    assert (value("batch_rows_count"), value("batch_rows_sum")) == (2, 10)


def test_series_of_unknown_values_are_missing() -> None:
    row = deployed("m-1", State.PENDING)
    parts = [LaunchSnapshot(one) for one in row.launches]
    what = seen(served(row.key, row=row, launches=parts), ports=None)
    found = {name for name, _ in samples(page(what))}
    assert not {one for one in found if "memory" in one or "ready_" in one or "ports" in one}
    assert "model_deployment_launch_requests_in_flight" not in found
    ready = [LaunchSnapshot(launch(), Memory(1, None))]
    found = {name for name, _ in samples(page(seen(served(row.key, launches=ready))))}
    assert "model_deployment_resident_memory_bytes" in found
    assert "model_deployment_proportional_memory_bytes" not in found


def of_launches(*parts: LaunchSnapshot, **row: Any) -> dict[str, float]:
    """Samples of a deployment with these launches, by name, replica and role."""
    made = deployed("m-1", launches=[one.launch for one in parts], **row)
    found = samples(page(seen(served(made.key, row=made, launches=parts))))
    return {
        " ".join([name.removeprefix("model_deployment_"), *more]): sample
        for (name, labels), sample in found.items()
        for more in [[dict(labels)[key] for key in ("replica", "role") if key in dict(labels)]]
    }


def test_launches_have_memory_and_requests_of_their_own() -> None:
    coming, retiring = LaunchRole.COMING, LaunchRole.RETIRING
    stopping = LaunchState.STOPPING
    found = of_launches(
        LaunchSnapshot(launch(replica=0), Memory(1000, 900), 2),
        LaunchSnapshot(launch(replica=1), Memory(500, 400), 0),
        LaunchSnapshot(launch(LaunchState.PENDING, 2)),
        LaunchSnapshot(launch(LaunchState.STARTING, 3, coming), Memory(100, 90), 0),
        # Two launches that had the same number finish their requests.
        LaunchSnapshot(launch(stopping, 1, retiring), Memory(10, 9), 4),
        LaunchSnapshot(launch(stopping, 1, retiring, launch_id="r"), Memory(10, 9), 5),
        replicas=3,
    )
    assert {name: found[name] for name in found if name.startswith("launch_requests")} == {
        "launch_requests_in_flight 0 serving": 2,
        "launch_requests_in_flight 1 serving": 0,
        "launch_requests_in_flight 3 coming": 0,
        "launch_requests_in_flight 1 retiring": 9,
    }
    assert found["launch_resident_memory_bytes 0 serving"] == 1000
    assert found["launch_proportional_memory_bytes 1 retiring"] == 18
    assert (found["resident_memory_bytes"], found["proportional_memory_bytes"]) == (1620, 1408)
    assert (found["replicas_wanted"], found["replicas_ready"]) == (3, 2)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (deployed("m-1", State.PARKED, replicas=3), 0),
        (deployed("m-1", State.STOPPED, replicas=3), 0),
        (deployed("m-1", State.STOPPING, replicas=3, parking=True), 0),
        (deployed("m-1", State.FAILED, replicas=3), 3),
        (deployed("m-1", State.PENDING, replicas=3), 3),
        (deployed("m-1", State.READY, replicas=3, desired=Desired.STOPPED), 0),
    ],
)
def test_replicas_are_wanted_while_requests_are_to_be_answered(
    row: Deployment, wanted: int
) -> None:
    found = {
        name: sample for (name, _), sample in samples(page(seen(served(row.key, row=row)))).items()
    }
    assert found["model_deployment_replicas_wanted"] == wanted


def test_store_that_refuses_is_down() -> None:
    what = seen(captures=CaptureStatus(1, 2, 3, 4, "no"), database=False)
    found = {name: value for (name, _), value in samples(page(what)).items()}
    assert found["model_deployment_store_up"] == 0
    assert found["model_deployment_state_database_up"] == 0
    assert found["model_deployment_captures_dropped_total"] == 2


def endpoints_of(models: list[str]) -> tuple[EndpointView, ...]:
    names = [EndpointName(model, "champion") for model in models]
    return tuple(endpoint_views.view(endpoint=endpoint_views.endpoint(name)) for name in names)


@given(
    st.lists(st.text(max_size=20), max_size=3, unique=True), st.sampled_from(["", "openmetrics"])
)
def test_no_name_of_a_model_breaks_the_page(names: list[str], form: str) -> None:
    names = [name.encode(errors="replace").decode() for name in names]
    what = seen(*(served(ModelKey(name, 1)) for name in names), endpoints=endpoints_of(names))
    read = read_text
    accept = ""
    if form:
        read, accept = read_openmetrics, OPENMETRICS
    text = page(what, accept)
    found = [
        one.labels["model"]
        for family in read(text)
        if family.name == "model_deployment_restarts"
        for one in family.samples
    ]
    assert sorted(found) == sorted(names)
    # One line for each sample, and no more than for harmless names.
    others = [f"m{at}" for at in range(len(names))]
    harmless = seen(*(served(ModelKey(name, 1)) for name in others), endpoints=endpoints_of(others))
    assert text.count("\n") == page(harmless, accept).count("\n")


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_page_is_the_librarys_whatever_was_written_before(accept: str) -> None:
    keys = [ModelKey(name, 1) for name in ("a", "b", "# HELP \n # EOF")]
    it = MetricsPage()
    for what in (
        seen(),
        seen(*map(served, keys)),
        seen(*map(served, keys)),
        seen(*(served(key, restarts=5) for key in reversed(keys)), idle=2.0),
        seen(served(keys[1], launches=())),
    ):
        content, media_type = it.write(what, [], accept)
        assert content.decode() == page_by_library(what, accept)
        assert media_type == choose_encoder(accept)[1]


def test_unchanged_deployments_are_not_written_again() -> None:
    one, other = served(ModelKey("a", 1)), served(ModelKey("b", 1))
    it = MetricsPage()
    it.write(seen(one, other), [], "")
    known = it._written["text/plain; version=0.0.4; charset=utf-8"]
    it.write(seen(replace(one), replace(other, restarts=9)), [], "")
    (written,) = it._written.values()
    assert written[one.row.key] is known[one.row.key]
    assert written[other.row.key] is not known[other.row.key]
    it.write(seen(one), [], "")
    assert next(iter(it._written.values())).keys() == {one.row.key}


def test_fifty_deployments_are_written_in_no_time() -> None:
    what = seen(*(served(ModelKey(f"model-{at}", 1)) for at in range(50)))
    began = time.process_time()
    page(what)
    assert time.process_time() - began < 1  # a tenth of it as a rule
