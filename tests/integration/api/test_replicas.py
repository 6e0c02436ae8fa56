"""Several launches of a deployment, as the API, the command line and the metrics of a controller tell."""

import os
import signal
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.support.command_line import run_here
from tests.support.harness import Controller
from tests.support.waiting import until_sync

KEY = "stub-1"


def served(controller: Controller, count: int, *, timeout: float = 60) -> Any:
    """The deployment, once so many replicas serve, and nothing else is there."""

    def arrived() -> Any:
        row = controller.row(KEY)
        assert row["replicas"] == {"wanted": count, "ready": count}, row["launches"]
        assert len(row["launches"]) == count, row["launches"]
        return row

    return until_sync(arrived, timeout=timeout, what=f"{count} replicas")


def samples(controller: Controller, name: str) -> dict[str, float]:
    """Of the deployment, by replica and role."""
    text = controller.call("GET", "/metrics").text
    return {
        " ".join(
            one.labels[label] for label in ("replica", "role") if label in one.labels
        ): one.value
        for family in read_text(text)
        for one in family.samples
        if one.name == f"model_deployment_{name}" and one.labels["model"] == "stub"
    }


def test_replicas_are_told_apart_wherever_they_are_told_of(controller: Controller) -> None:
    controller.deploy(KEY, replicas=3)
    row = served(controller, 3)
    launches = row["launches"]
    assert [(one["replica"], one["role"], one["state"]) for one in launches] == [
        (0, "serving", "ready"), (1, "serving", "ready"), (2, "serving", "ready"),
    ]  # fmt: skip
    for member in ("launch_id", "port", "pid", "address"):
        assert len({one[member] for one in launches}) == 3, member
    assert (row["pid"], row["port"]) == (launches[0]["pid"], launches[0]["port"])
    assert all(one["memory"] > 1_000_000 and one["in_flight"] == 0 for one in launches)
    assert row["rss"] >= row["pss"] >= max(one["memory"] for one in launches)
    assert row["restarts"] == 0  # a further replica is no restart
    (listed,) = controller.get("/get_deployed_models")
    assert listed["replicas"] == {"wanted": 3, "ready": 3}
    assert [one["memory"] for one in listed["launches"]] == [None] * 3

    by_launch = {one["launch_id"]: one["replica"] for one in launches}
    # Other tests may have deployed it before.
    events = [one for one in controller.events(KEY) if one["launch_id"] in by_launch]
    assert {one["launch_id"]: one["replica"] for one in events} == by_launch
    kept = [one for one in controller.get(f"/model/{KEY}/launches") if not one["ended_at"]]
    assert {one["launch_id"]: one["replica"] for one in kept} == by_launch
    for one in launches:
        path = f"/model/{KEY}/logs"
        answer = controller.call("GET", path, params={"replica": one["replica"]})
        assert answer.headers["x-launch-id"] == one["launch_id"]
    assert controller.call("GET", path).headers["x-launch-id"] == launches[0]["launch_id"]
    # No test has ever had so many.
    assert controller.call("GET", path, params={"replica": 63}).status_code == 404

    until_sync(
        lambda: len(samples(controller, "launch_resident_memory_bytes")) == 3,
        what="the memory of each launch",
    )
    assert samples(controller, "replicas_wanted") == {"": 3}
    assert samples(controller, "replicas_ready") == {"": 3}
    assert samples(controller, "launch_requests_in_flight").keys() == {
        "0 serving", "1 serving", "2 serving",
    }  # fmt: skip

    shown = run_here(controller, "list").stdout.splitlines()[1].split()
    assert shown[:3] == [KEY, "ready", "3/3"]
    described = run_here(controller, "describe", KEY).stdout
    assert "Replicas" in described
    assert all(str(one["pid"]) in described for one in launches)
    assert run_here(controller, "logs", KEY, "--replica", "2").exit_code == 0


def test_a_replica_that_ends_is_named_while_the_others_serve(controller: Controller) -> None:
    controller.deploy(KEY, replicas=2)
    row = served(controller, 2)
    first, second = row["launches"]
    os.kill(second["pid"], signal.SIGKILL)

    def restarted() -> Any:
        found = controller.row(KEY)
        assert found["state"] == "ready"
        assert found["launches"][0]["pid"] == first["pid"]
        assert found["launches"][1]["pid"] not in (None, second["pid"])
        return found

    until_sync(restarted, timeout=30, what="the replica to be started again")
    row = served(controller, 2)
    assert (row["restarts"], row["launches"][1]["replica"]) == (1, 1)
    ended = next(
        one
        for one in controller.get(f"/model/{KEY}/launches")
        if one["launch_id"] == second["launch_id"]
    )
    assert ended["replica"] == 1
    assert "SIGKILL" in ended["reason"]
    assert ended["ended_at"] is not None
    until_sync(lambda: samples(controller, "restarts_total") == {"": 1}, what="the restart")


def test_scale_adds_and_retires_replicas(controller: Controller) -> None:
    pid = controller.deploy(KEY)["pid"]
    done = run_here(controller, "scale", KEY, "3")
    assert done.exit_code == 0, done.output
    assert f"{KEY} is ready: 3 of 3 replicas serve" in done.stdout
    assert served(controller, 3)["launches"][0]["pid"] == pid
    done = run_here(controller, "scale", KEY, "1", "--json")
    assert done.exit_code == 0, done.output
    row = served(controller, 1)
    assert (row["launches"][0]["pid"], row["restarts"]) == (pid, 0)
    done = run_here(controller, "scale", KEY, "4-2")
    assert done.exit_code == 1
    assert "--replicas" in done.stderr
    assert controller.row(KEY)["options"]["replicas"] == 1


def test_change_of_replicas_one_after_another_says_how_far_it_is(controller: Controller) -> None:
    controller.deploy(KEY, replicas=3)
    before = {one["launch_id"] for one in served(controller, 3)["launches"]}
    row = controller.post(f"/model/{KEY}/restart", 200, wait=60)
    seen = []

    def rolled() -> Any:
        found = controller.row(KEY)
        # Never fewer than before.
        assert found["replicas"]["ready"] >= 3, found["launches"]
        if found["replacement"]:
            seen.append((found["replacement"]["state"], found["replacement"]["launches_before"]))
        return found["replacement"] is None and found

    row = until_sync(rolled, timeout=60, what="the change to end")
    assert {state for state, _ in seen} <= {"retiring"}
    counts = [count for _, count in seen]
    assert counts == sorted(counts, reverse=True)
    assert not before & {one["launch_id"] for one in row["launches"]}
    assert all(one["current"] for one in served(controller, 3)["launches"])
