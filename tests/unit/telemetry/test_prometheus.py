"""The values of metrics: what Prometheus is told of deployments, launches, endpoints and devices."""

import re
from typing import Any

import pytest

from model_deployment.core.domain import Deployment, Desired, LaunchRole, LaunchState, State
from model_deployment.core.endpoints import RolloutState
from model_deployment.core.measures import BATCH_ROWS, Memory
from model_deployment.core.releases import ReleaseState
from model_deployment.endpoints.views import EndpointView
from model_deployment.recording.counters import LATENCIES
from model_deployment.recording.upkeep import CaptureStatus
from model_deployment.telemetry.prometheus import LaunchSnapshot
from tests.support import endpoint_views
from tests.support.launched import deployed, launch
from tests.support.metric_snapshots import DEVICES, FULL, NOW, page, samples, seen, served


def value(name: str, **labels: str) -> float:
    key = frozenset({"model": "diabetes", "version": "1", **labels}.items())
    return samples(page(FULL))[f"model_deployment_{name}", key]


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
