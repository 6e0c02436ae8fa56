"""The names and labels of metrics, which are a promise, and the values that labels can have."""

from prometheus_client.parser import text_string_to_metric_families as read_text

from model_deployment.core.devices import Presence, UpdateState
from model_deployment.core.domain import LaunchRole, State
from model_deployment.core.endpoints import RolloutState
from model_deployment.core.releases import ReleaseState
from model_deployment.flows.base import FlowState, FlowType
from model_deployment.gate import ViolationKind
from model_deployment.recording.error_kinds import KINDS
from tests.support.metric_snapshots import FULL, page, samples

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
        for family in read_text(page(FULL))
    }
    assert found == NAMES
    assert all(family.documentation.endswith(".") for family in read_text(page(FULL)))


def test_values_of_labels_are_from_closed_sets() -> None:
    values: dict[str, set[str]] = {}
    for _, labels in samples(page(FULL)):
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
