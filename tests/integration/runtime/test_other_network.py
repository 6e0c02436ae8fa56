"""A whole controller whose models are on another machine: a node in a network namespace of its own.

Nothing above the runtime may assume that a model is a process of this machine, or listens on its loopback.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import audit
from tests.support.harness import Controller, Controllers
from tests.support.listening import listeners
from tests.support.network_node import NetworkNode, network_node
from tests.support.node_bench import NodeProgram
from tests.support.waiting import until_sync

KEY = "stub-1"


@pytest.fixture
def network() -> Iterator[NetworkNode]:
    with network_node() as it:
        yield it


@pytest.fixture
def node(network: NetworkNode, tmp_path: Path) -> Iterator[NodeProgram]:
    """A node that runs."""
    it = NodeProgram(network, f"node-{os.getpid()}-{tmp_path.name}", tmp_path / "node")
    it.start()
    yield it
    it.kill()
    audit.kill_all(it.instance)


@pytest.fixture
def controller(controllers: Controllers, node: NodeProgram) -> Iterator[Controller]:
    """A controller of that node, with a proxy of its own."""
    made = controllers(PROXIES=1, RECOVERY_TIMEOUT=20)
    made.variables["NODE"] = node.address.host
    yield made.up()
    if made.running:
        # Before it is looked at as one whose models are processes of this machine.
        assert made.terminate() == 0


def launches(node: NodeProgram) -> list[audit.Marked]:
    return audit.marked_processes(node.instance)


def predicted(controller: Controller) -> bool:
    return controller.predict(KEY).status_code == 200


def test_model_of_another_machine_is_deployed_predicts_and_its_node_may_crash(
    controller: Controller, node: NodeProgram
) -> None:
    row = controller.deploy(KEY)
    assert row["state"] == "ready", row
    answer = controller.predict(KEY, 3)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == [3]
    assert [one.pid for one in launches(node)] == [answer.json()["pid"]]
    # Its port is one of the pool, and nothing listens on it here.
    assert controller.ports[0] <= row["port"] <= controller.ports[1]
    assert listeners(*controller.ports) == {}
    shown = controller.row(KEY)
    assert shown["pid"] is None
    assert shown["rss"] > 1_000_000, shown
    assert [one["address"] for one in shown["launches"]] == [f"{node.address.host}:{row['port']}"]
    assert "stub: listening" in controller.call("GET", f"/model/{KEY}/logs").text
    assert controller.call("GET", "/metrics").status_code == 200
    assert controller.call("GET", f"/dashboard/deployments/{KEY}").status_code == 200
    # A node that crashes leaves its launches to the next one.
    before = launches(node)
    node.kill()
    assert predicted(controller)
    node.start()
    controller.wait_for(KEY, "ready")
    assert launches(node) == before
    controller.undeploy(KEY)
    assert launches(node) == []


def test_next_controller_adopts_the_launches_and_starts_them_again(
    controller: Controller, node: NodeProgram
) -> None:
    controller.deploy(KEY)
    (first,) = launches(node)
    controller.kill()
    assert predicted(controller), "the proxy did not go on"
    controller.up()
    assert controller.wait_for(KEY, "ready")["launches"][0]["launch_id"] == first.launch_id
    assert launches(node) == [first]
    assert predicted(controller)
    os.kill(first.pid, signal.SIGKILL)
    until_sync(lambda: launches(node) and launches(node)[0].pid != first.pid, timeout=20)
    until_sync(lambda: predicted(controller), timeout=20)
    assert any("SIGKILL" in one["reason"] for one in controller.events(KEY)), controller.events(KEY)


def test_silent_node_is_unknown_and_not_gone(
    controller: Controller, node: NodeProgram, network: NetworkNode
) -> None:
    """No second launch may be started while the first one may live: two would answer later."""
    controller.deploy(KEY)
    (first,) = launches(node)
    with network.unplugged():
        # Health checks fail, so the launch is to end; but nobody knows whether it has.
        controller.wait_for(KEY, "stopping", timeout=40)
        assert controller.call("GET", "/get_deployed_models").status_code == 200
        assert [one.launch_id for one in launches(node)] == [first.launch_id]
    controller.wait_for(KEY, "ready", timeout=60)
    until_sync(lambda: len(launches(node)) == 1, timeout=20)
    assert launches(node)[0].launch_id != first.launch_id
    until_sync(lambda: predicted(controller), timeout=20)
