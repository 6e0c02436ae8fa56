"""A real agent at a real controller: each understands what the other says."""

import json
from pathlib import Path

from tests.support.edge_device import EdgeDevice
from tests.support.release_bench import ReleaseBench
from tests.support.waiting import until_sync

NAME = "gate-1"


def test_a_device_runs_what_is_released_and_tells_it_over_a_kill_of_the_controller(
    bench: ReleaseBench, tmp_path: Path
) -> None:
    controller, device = bench.controller, EdgeDevice(tmp_path / "device", bench)
    device.enrol("--name", NAME)
    # Its model needs the libraries of MLflow.
    device.start("--capture-rate", 1, "--model-memory", 0, "--watch", 0.2)
    try:
        number = bench.begin("tens", 1)
        device.until_running(number, timeout=60)
        assert device.predict([1.0, 2.0]) == [12.0]
        until_sync(lambda: captured(bench) == [1.0], timeout=30, what="the prediction")

        controller.kill()
        assert device.predict([3.0, 2.0]) == [32.0]
        controller.up()
        until_sync(lambda: captured(bench) == [1.0, 3.0], timeout=60, what="the other one")

        controller.post("/hall/setDark", 202, {"devices": [NAME], "value": True})

        def answered() -> bool:
            found = controller.get("/hall/commands")
            return [(one["device"], one["name"], one["ok"]) for one in found] == [
                (NAME, "dark", True)
            ]

        until_sync(answered, timeout=30, what="the answer to a command")
        shown = controller.get(f"/hall/devices/{NAME}")
        assert (shown["state"], shown["release"]["running"]) == ("online", number)
        assert shown["release"]["state"] == "running"

        controller.post(f"/hall/devices/{NAME}/revoke")
        until_sync(lambda: "no longer good" in device.log(), timeout=30, what="the agent to know")
        assert device.predict([1.0, 2.0]) == [12.0]  # what it has, it goes on to serve
    finally:
        assert device.stop() == 0


def captured(bench: ReleaseBench) -> list[float]:
    """The first column of what devices have captured, in the order of its values."""
    path = "/model/tens-1/dataset?source=devices&format=jsonl"
    answer = bench.controller.call("GET", path)
    lines = answer.text.splitlines() if answer.is_success else []
    return sorted(json.loads(line)["a"] for line in lines)
