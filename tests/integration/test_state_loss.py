"""A state database that is lost: its models are ended, and do not stay on the ports as strangers."""

import os
import signal

from tests import world
from tests.integration.harness import Controllers
from tests.integration.tools import at_once
from tests.waiting import until_sync


def test_models_whose_rows_are_lost_are_ended(controllers: Controllers) -> None:
    controller = controllers().up()
    at_once(controller.deploy, ("stub-1", "wrapper-1", "deaf-1"))
    before = {process.pid for process in controller.processes()}
    assert len(before) > 3
    controller.kill()
    for path in controller.data.glob("state.db*"):
        path.unlink()
    instance = controller.instance
    try:
        controller.up()
        until_sync(lambda: not world.marked_processes(instance), what="the end of the old models")
    finally:  # strangers to the next controller are not ended with it
        world.kill_all(instance)
    assert controller.instance == instance
    assert controller.get("/get_deployed_models", stopped=True) == []
    # Their ports are ours again.
    assert controller.deploy("stub-1")["port"] == controller.ports[0]
    assert controller.get("/ready")["ports"]["blocked"] == []
    assert before.isdisjoint(process.pid for process in controller.processes())


def test_a_controller_that_never_wrote_the_file_writes_it_and_adopts(
    controllers: Controllers,
) -> None:
    controller = controllers().up()
    before = controller.deploy("stub-1")
    controller.kill()
    (controller.data / "instance-id").unlink()
    instance = controller.instance
    controller.up()
    assert controller.instance == instance
    assert controller.row("stub-1")["pid"] == before["pid"]
    assert (controller.data / "instance-id").read_text().strip() == instance
    os.kill(before["pid"], signal.SIGKILL)
    until_sync(lambda: controller.row("stub-1")["restarts"] == 1)
