"""A state database that is lost: the start refuses, and an empty one begins only when told to."""

import os
import signal

import httpx

from tests.support import audit
from tests.support.harness import HOST, Controllers
from tests.support.tools import at_once
from tests.support.waiting import until_sync


def test_a_lost_state_is_refused_and_begun_anew_when_told_to(controllers: Controllers) -> None:
    controller = controllers().up()
    rows = at_once(controller.deploy, ("stub-1", "wrapper-1", "deaf-1"))
    before = {process.pid for process in controller.processes()}
    assert len(before) > 3
    controller.kill()
    for path in controller.data.glob("state.db*"):
        path.unlink()
    assert controller.start().wait() == 1
    said = controller.logged()
    assert f"error: cannot find the state database {controller.state_db}" in said
    assert "model-deployment restore" in said
    assert "model-deployment serve --new-state" in said
    assert not [*controller.data.glob("state.db*")]
    for row in rows:
        answer = httpx.post(f"http://{HOST}:{row['port']}/invocations", json={"inputs": [1]})
        assert answer.status_code == 200

    instance = controller.instance
    controller.arguments = ["--new-state"]
    try:
        controller.up()
        until_sync(lambda: not controller.processes(), what="the end of the old models")
    finally:  # strangers to the next controller are not ended with it
        audit.kill_all(instance)
    assert controller.instance == instance
    assert controller.get("/get_deployed_models", stopped=True) == []
    # Their ports are ours again.
    assert controller.deploy("stub-1")["port"] == controller.ports[0]
    assert controller.get("/ready")["ports"]["blocked"] == []
    assert before.isdisjoint(process.pid for process in controller.processes())
    # A flag that stays in a start script does not empty an undamaged state.
    controller.kill()
    assert controller.start().wait() == 1
    assert "is not damaged; omit --new-state" in controller.logged()
    controller.arguments = []
    controller.up()
    assert controller.row("stub-1")["state"] == "ready"


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
