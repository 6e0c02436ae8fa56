"""SIGKILL of the agent at every step of an update: what is on the disk is whole, and the update ends."""

import hashlib
import json
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.edge_controller import EdgeController
from tests.support.edge_device import EdgeDevice
from tests.support.edge_models import one_row_only
from tests.support.waiting import until_sync

#: So much that checking it takes a moment.
LARGE = 24 * 1024 * 1024


def _link(device: EdgeDevice, name: str) -> str:
    try:
        return (device.folder / name).readlink().name
    except OSError:
        return ""


def _at_stage(stage: str) -> Callable[[EdgeDevice, int], bool]:
    return lambda device, number: device.stage() == (number, stage)


def _kill_when(device: EdgeDevice, seen: Callable[[], bool]) -> None:
    """Kill the agent in the moment in which something can be seen; watched without a pause."""
    end = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < end, f"not seen in time; {device.stage()} {device.log()[-1000:]}"
    device.kill()


def _assert_whole(device: EdgeDevice) -> int:
    """What ``current`` names is a release, each byte as signed; its number."""
    folder = (device.folder / "current").resolve(strict=True)
    manifest = json.loads(json.loads((folder / "release.json").read_text())["manifest"])
    for file in manifest["files"]:
        content = (folder / file["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
    return int(manifest["number"])


POINTS: dict[str, Callable[[EdgeDevice, int], bool]] = {
    "downloading": _at_stage("downloading"),
    "verifying": _at_stage("verifying"),
    "trying": _at_stage("trying"),
    "switching": _at_stage("switching"),
    "previous moved": lambda device, number: _link(device, "previous").startswith(f"{number - 1}-"),
    "current moved": lambda device, number: _link(device, "current").startswith(f"{number}-"),
    "watching": _at_stage("watching"),
    "running": _at_stage("running"),
}


def test_an_update_survives_a_kill_at_each_step(edge: EdgeController, device: EdgeDevice) -> None:
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.3)
    device.until_running(1)
    for number, (point, seen) in enumerate(POINTS.items(), start=2):
        large = {"model/large.bin": bytes([number]) * LARGE} if point == "verifying" else {}
        edge.hold.set()
        edge.want(edge.signer.release(number, files=large))
        device.until_stage(number, "downloading")
        if point != "downloading":
            edge.hold.clear()
        _kill_when(device, partial(seen, device, number))
        edge.hold.clear()
        assert _assert_whole(device) in {number - 1, number}, point
        device.start("--watch", 0.3)
        # It serves at once, the old one or the new one, and then the new one.
        until_sync(lambda: device.release() is not None, what=point)
        device.until_running(number)
        assert device.predict() == [number + 2.5]
        assert _assert_whole(device) == number
    for number in range(1, len(POINTS) + 2):
        edge.until_state(number, "running")
    _assert_exactly_once(edge)


def _assert_exactly_once(edge: EdgeController) -> None:
    """Numbers without gaps, in one stream."""
    assert len(edge.received) == 1
    numbers = [one["seq"] for one in edge.stored]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("point", ["returning", "current moved back"])
def test_going_back_survives_a_kill(edge: EdgeController, device: EdgeDevice, point: str) -> None:
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.3)
    device.until_running(1)
    device.stop()
    device.start("--watch", 60)
    edge.want(edge.signer.release(2, one_row_only(), predictions=[3.0]))
    device.until_stage(2, "watching")
    for _ in range(4):
        assert device.predict([1.0, 2.0], [3.0, 4.0]) == 500
    seen = {
        "returning": lambda: device.stage() == (2, "returning"),
        "current moved back": lambda: _link(device, "current").startswith("1-"),
    }[point]
    _last_bad_request(device)
    _kill_when(device, seen)
    assert _assert_whole(device) in {1, 2}
    device.start("--watch", 60)
    until_sync(lambda: device.release() == 1, timeout=60)
    edge.until_state(2, "failed")
    assert "5 predictions in a row failed" in edge.reason(2)
    assert device.predict([1.0, 2.0], [3.0, 4.0]) == [3.5, 7.5]
    _assert_exactly_once(edge)


def _last_bad_request(device: EdgeDevice) -> None:
    """Send it and do not wait for its answer."""
    body = b'{"inputs": {"a": [1, 2], "b": [1, 2]}}'
    with socket.create_connection(("127.0.0.1", device.port)) as connection:
        connection.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        # Closed without reading: the agent answers nobody.


def test_an_agent_that_dies_again_and_again_under_a_new_model_goes_back(
    edge: EdgeController, device: EdgeDevice
) -> None:
    """As where the kernel ends all of it for the memory that the new model takes."""
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.3)
    device.until_running(1)
    edge.want(edge.signer.release(2))
    device.stop()
    device.start("--watch", 60)
    device.until_stage(2, "watching")
    for _ in range(2):
        model = Path(f"/proc/{device.status()['serving']['pid']}/stat")
        device.kill()
        device.start("--watch", 60)
        until_sync(lambda: device.release() == 2, timeout=60)
        until_sync(partial(_is_gone, model), what="the model of the killed agent to end")
    device.kill()
    device.start("--watch", 60)
    until_sync(lambda: device.release() == 1, timeout=60)
    edge.until_state(2, "failed")
    assert "the agent ended 3 times since it runs" in edge.reason(2)


def _is_gone(process: Path) -> bool:
    """Whether a process ended; where nobody takes its status, it stays as a zombie."""
    try:
        return process.read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_stop_is_no_crash(edge: EdgeController, device: EdgeDevice, tmp_path: Path) -> None:
    edge.want(edge.signer.release(1))
    device.start("--watch", 0.3)
    device.until_running(1)
    edge.want(edge.signer.release(2))
    device.until_stage(2, "running")
    device.stop()
    device.start("--watch", 60)
    edge.want(edge.signer.release(3))
    device.until_stage(3, "watching")
    for _ in range(3):
        assert device.stop() == 0
        device.start("--watch", 60)
    until_sync(lambda: device.release() == 3, timeout=60)
    assert device.stage() == (3, "watching")
