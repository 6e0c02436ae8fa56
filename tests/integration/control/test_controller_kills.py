"""A controller that is killed: its models go on, and the next one takes them over."""

import os
import random
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import httpx

from tests.support import audit
from tests.support.harness import HOST, Controller, Controllers
from tests.support.tools import at_once, pause, within
from tests.support.waiting import until_sync


def serves(port: int, key: str) -> bool:
    """Whether a model answers on its own port, with no controller between."""
    answer = httpx.post(f"http://{HOST}:{port}/invocations", json={"inputs": [1]}, timeout=5)
    return answer.status_code == 200 and answer.json()["model"] == key


def execute(controller: Controller, statement: str) -> None:
    """Change the state of a controller that is not running."""
    assert not controller.running
    with closing(sqlite3.connect(controller.state_db, isolation_level=None)) as connection:
        connection.execute(statement)


def _unmeasured(row: dict[str, Any]) -> dict[str, Any]:
    """What an answer tells of a deployment, without the figures that rise and fall by themselves."""
    launches = [{**one, "memory": None, "in_flight": None} for one in row["launches"]]
    return {**row, "launches": launches}


def test_models_outlive_a_killed_controller_and_the_next_one_adopts_them(
    controllers: Controllers,
) -> None:
    controller = controllers().up()
    keys = ("stub-1", "wrapper-1", "deaf-1")
    before = at_once(controller.deploy, keys)
    controller.kill()
    for row in before:
        assert serves(row["port"], row["name"])
    controller.start()
    with within(2, controller.held_up):
        until_sync(lambda: controller.predict("wrapper-1").status_code == 200)
        controller.wait_ready()
    for row in before:
        now = controller.row(row["name"])
        assert _unmeasured({name: now[name] for name in row}) == _unmeasured(row)
        assert any("adopted" in event["reason"] for event in controller.events(row["name"]))
        assert controller.predict(row["name"]).json()["model"] == row["name"]
    # Adopted, they are looked after like its own.
    os.kill(before[0]["pid"], signal.SIGKILL)
    until_sync(lambda: controller.row("stub-1")["restarts"] == 1)
    controller.wait_for("stub-1", "ready")


def test_what_died_in_the_meantime_is_started_again(controllers: Controllers) -> None:
    controller = controllers().up()
    at_once(controller.deploy, ("stub-1", "wrapper-1"))
    rows = {key: controller.row(key) for key in ("stub-1", "wrapper-1")}
    controller.kill()
    # Of the second one only the parent: its server lives on, and on the port.
    for row in rows.values():
        os.kill(row["pid"], signal.SIGKILL)
    until_sync(lambda: len(controller.processes()) == 1)
    (orphan,) = controller.processes()
    controller.up()
    for key, row in rows.items():
        now = controller.wait_for(key, "ready")
        assert now["pid"] not in (row["pid"], orphan.pid)
        assert now["restarts"] == 1
    assert orphan.pid not in {process.pid for process in controller.processes()}


def test_every_gap_between_a_note_and_its_deed_is_closed(controllers: Controllers) -> None:
    controller = controllers().up()
    started, never_started = at_once(controller.deploy, ("wrapper-1", "stub-1"))
    controller.kill()
    # Killed between the start of a process and the note of it, and between the lease and the start.
    execute(controller, "UPDATE launches SET handle = NULL, state = 'starting'")
    os.kill(never_started["pid"], signal.SIGKILL)
    # Killed between the end of a launch and the release of its port, or before its process ended.
    execute(controller, "UPDATE ports SET launch_id = 'stray-' || port WHERE launch_id IS NULL")
    environment = {"MODEL_DEPLOYMENT_LAUNCH": f"{controller.instance}/stray"}
    with subprocess.Popen(["sleep", "1000"], env=environment, start_new_session=True) as stray:
        controller.up()
        assert stray.wait(5) == -signal.SIGKILL
    adopted = controller.wait_for("wrapper-1", "ready")
    assert (adopted["pid"], adopted["restarts"]) == (started["pid"], 0)
    launched = controller.wait_for("stub-1", "ready")
    assert launched["restarts"] == 1
    assert controller.get("/ready")["ports"]["leased"] == 2


def test_a_kill_in_the_middle_of_starts_leaves_one_process_of_each(
    controllers: Controllers,
) -> None:
    controller = controllers().up()
    controller.deploy("stub-1")  # MLflow is loaded: what follows is not held up by it
    keys = [f"slow-start-{version}" for version in (1, 2, 3, 4)]
    for key, delay in zip(keys, (1.1, 0.4, 0.1, 0), strict=True):
        controller.deploy(key, status=202, wait=0)
        pause(delay)
    controller.kill()
    controller.up()
    for key in keys:
        assert controller.wait_for(key, "ready")["restarts"] <= 1
        assert len({process.launch_id for process in controller.processes(key)}) == 1


def test_a_kill_in_the_middle_of_stops_does_not_stop_them(controllers: Controllers) -> None:
    controller = controllers(DRAIN_TIMEOUT=3).up()
    draining, *deaf = keys = ["slower-1", "deaf-1", "deaf-2", "deaf-3"]
    at_once(controller.deploy, keys)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(controller.predict, draining)
        controller.arrived(draining)
        controller.undeploy(draining, status=202, wait=0)
        for key, delay in zip(deaf, (0.8, 0.3, 0), strict=True):
            controller.undeploy(key, status=202, wait=0)
            pause(delay)
        controller.kill()
        assert isinstance(waiting.exception(), ConnectionError)
    controller.up()
    for key in keys:
        controller.wait_for(key, "stopped", timeout=5)
    assert controller.leftovers() == []


@contextmanager
def load(controller: Controller, keys: list[str]) -> Iterator[list[httpx.Response | None]]:
    """Callers of several models, again and again; None where there was nobody to ask."""
    answers: list[httpx.Response | None] = []
    over = threading.Event()

    def call(key: str) -> None:
        with httpx.Client(
            base_url=controller.url, timeout=10, trust_env=False, verify=False
        ) as client:
            while not over.wait(0.005):
                try:
                    answer = client.post(f"/{key}", json={"inputs": [1]})
                except httpx.TransportError:
                    answers.append(None)
                    continue
                assert answer.status_code != 200 or answer.json()["model"] == key
                answers.append(answer)

    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(call, key) for key in keys * 2]
        try:
            yield answers
        finally:
            over.set()
        for finished in calls:
            finished.result()


def test_kills_under_load_cost_only_the_time_without_a_controller(
    controllers: Controllers,
) -> None:
    controller = controllers().up()
    keys = ["stub-1", "other-1", "wrapper-1"]
    rows = at_once(controller.deploy, keys)
    with load(controller, keys) as answers:
        for _ in range(2):
            until_sync(lambda: len([a for a in answers if a]) > 100)
            controller.kill()
            for row in rows:
                assert serves(row["port"], row["name"])
            answers.clear()
            controller.up()
            until_sync(lambda: any(answers))
    assert {answer.status_code for answer in answers if answer} == {200}
    for row in rows:
        assert controller.row(row["name"])["pid"] == row["pid"]
        assert controller.row(row["name"])["restarts"] == 0


def test_kills_at_any_moment_of_a_busy_controller_converge(controllers: Controllers) -> None:
    controller = controllers(ports=16, STOP_GRACE=0.3, DRAIN_TIMEOUT=1)
    chance = random.Random(2)
    keys = ["stub-1", "wrapper-1", "slow-start-1", "deaf-1", "parent-setsid-1", "never-ready-1"]
    wanted: set[str] = set()
    for _ in range(4):
        controller.up()
        for key in keys:
            if chance.random() < 0.5:
                controller.deploy(key, status=202, wait=0) if key not in wanted else None
                wanted.add(key)
            elif key in wanted:
                controller.undeploy(key, status=202, wait=0)
                wanted.discard(key)
        pause(chance.random())
        controller.kill()
    controller.up()
    for key in wanted:
        controller.wait_for(key, "starting" if key == "never-ready-1" else "ready")
    rows = until_sync(lambda: settled(controller), what="everything else to be gone")
    assert {row.key for row in rows} == wanted


def settled(controller: Controller) -> list[audit.Row] | None:
    rows = [row for row in audit.read_state(controller.state_db).rows if row.state != "stopped"]
    return None if any(row.state in ("pending", "stopping") for row in rows) else rows
