"""Devices as a whole: two dozen agents in processes, a controller with its proxies, real models.

The story is one test, since each chapter needs what came of the one before.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.support.agent_processes import PROJECT, AgentProcess
from tests.support.edge_registry import ENDPOINT, MODEL, PAD, make_registry, predicted
from tests.support.edge_world import AFAR, CANARY, HALL, POLICY, EdgeWorld
from tests.support.missing import missing
from tests.support.network_node import network_node
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

#: Bits a second of the line of the devices that are far away: until it is cut, and then.
SLOW, FAST = 1_500_000, 100_000_000
#: Bytes of the large file that each of them has when the line is cut, at least.
BEGUN = 64 * 1024
#: Seconds without anything after which a device is offline, and between two looks at that.
OFFLINE, SWEEP = 60, 5


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeWorld]:
    """Eight devices that run version 1, which the endpoint of their project serves as well."""
    folder = tmp_path_factory.mktemp("devices")
    with network_node() as node:
        it = EdgeWorld(folder, make_registry(folder), node)
        try:
            it.line.slow(SLOW)
        except subprocess.CalledProcessError as error:
            missing(f"a line cannot be made slow here: {error.stderr.decode().strip()}")
        try:
            it.up()
            it.join("canary", CANARY)
            it.join("afar", AFAR)
            body = {"endpoint": ENDPOINT, "policy": POLICY}
            it.controller.post(f"/{PROJECT}/setModel", 202, body)
            it.until_running(it.agents, 1)
            it.until_release(1, "complete")
            yield it
            assert {*it.end()} == {0}
        finally:
            it.end()
            for agent in [*it.canary[:1], *it.afar[:1], *it.hall[:1]]:
                sys.stdout.write(f"log of {agent.name}:\n{agent.log()}\n")
            sys.stdout.write(f"log of the controller:\n{it.controller.logged()}\n")
        assert "Traceback" not in it.controller.logged() + it.controller.logged_by_proxies()


def test_two_dozen_devices_through_releases_kills_and_a_cut_line(world: EdgeWorld) -> None:
    offline_rows = asked_while_away(world)
    world.promote(2)
    with line_cut_in_the_download(world) as cut:
        # A promotion on the server is a release on devices; those that register meanwhile get it too.
        world.join("hall", HALL)
        killed_in_the_middle(world)
        world.until_running(world.near, 2)
        world.until_release(2, "complete")
        with always_answered(world.canary[0], predicted(2, 3.0, 4.0)):
            bad_release_is_stopped_and_taken_back(world)
        offline_rows += asked_while_away(world, first=100)
        gone = {one.name for one in world.afar}
        until_sync(
            lambda: {n for n, one in world.devices().items() if one["state"] == "offline"} == gone,
            timeout=max(1.0, OFFLINE + SWEEP - (time.monotonic() - cut.at)),
            what="the devices that were cut off, and only they, to be offline",
        )
    devices_that_come_back_get_what_is_wanted_now(world, cut, offline_rows)


def test_commands_reach_devices_and_their_answers_come_back(world: EdgeWorld) -> None:
    names = [one.name for one in world.canary]
    world.controller.post(f"/{PROJECT}/setDark", 202, {"groups": ["canary"], "value": True})

    def answered() -> bool:
        told = world.controller.get(f"/{PROJECT}/commands")
        found = {one["device"]: (one["name"], one["value"], one["ok"]) for one in told}
        assert found == dict.fromkeys(names, ("dark", True, True))
        return True

    until_sync(answered, timeout=30, interval=0.1, what="the answers of the canary group")
    values = [json.loads((one.folder / "values.json").read_text()) for one in world.canary]
    assert values == [{"dark": True}] * CANARY
    assert {world.devices()[name]["agent"] for name in names} == {"0.1.0"}


def test_a_revoked_device_is_out_within_a_second(world: EdgeWorld) -> None:
    device = world.canary[-1]
    name = device.name
    until_sync(lambda: world.devices()[name]["connected"], timeout=20)
    row = (5.0, 6.0)
    before = device.predict(row)
    world.controller.post(f"/{PROJECT}/devices/{name}/revoke")
    begun = time.monotonic()
    until_sync(lambda: not world.devices()[name]["connected"])
    assert time.monotonic() - begun < 1
    assert world.devices()[name]["state"] == "revoked"
    until_sync(lambda: "no longer good" in device.log(), what="the agent to know")
    assert device.predict(row) == before  # what it has, it goes on to serve
    token = (device.folder / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    answer = world.controller.call("GET", f"/{PROJECT}/activeModel", headers=headers, auth=None)
    assert answer.status_code == 401


def asked_while_away(world: EdgeWorld, first: int = 0) -> list[float]:
    """Ask each device that is far away something that nobody else asks; the first column of the rows."""
    asked = []
    for place, device in enumerate(world.afar):
        rows = [(float(first + 10 * place + number), 0.5) for number in range(5)]
        assert device.predict(*rows) == [predicted(1, *row) for row in rows]
        asked += [a for a, _ in rows]
    return asked


class Cut:
    """What was there when the line was cut."""

    def __init__(self) -> None:
        self.at = 0.0
        #: Of the large file, on all devices that are far away.
        self.had = 0
        #: That have come over the line.
        self.received = 0


@contextmanager
def line_cut_in_the_download(world: EdgeWorld) -> Iterator[Cut]:
    """Wait until the large file of release 2 is on its way to those far away, and cut their line."""
    pad = files_of(world, 2)["model/pad.bin"]
    until_sync(
        lambda: all(one.has(pad) > BEGUN for one in world.afar),
        timeout=60, interval=0.005, what="the downloads to have begun",
    )  # fmt: skip
    cut = Cut()
    with world.line.cut():
        cut.at = time.monotonic()
        sizes = [one.has(pad) for one in world.afar]
        assert all(BEGUN < size < PAD for size in sizes), sizes
        world.line.slow(FAST)
        assert {world.devices()[one.name]["state"] for one in world.afar} == {"online"}
        yield cut
        cut.had = sum(one.has(pad) for one in world.afar)
        cut.received = world.line.received


def files_of(world: EdgeWorld, number: int) -> dict[str, str]:
    """Digests of the files of a release, by path."""

    def prepared() -> dict[str, str]:
        manifest = world.release(number)["manifest"]
        assert manifest, "it is not prepared"
        return {one["path"]: one["sha256"] for one in manifest["files"]}

    return until_sync(prepared, timeout=60, interval=0.1, what=f"release {number}")


def killed_in_the_middle(world: EdgeWorld) -> None:
    """SIGKILL of the controller and of all its proxies, while devices are at work on release 2."""
    world.until_running(world.hall, 2, some=2)
    assert Counter(one.release for one in world.hall)[2] < HALL
    companions = world.controller.companions()
    world.controller.kill()
    for one in companions:
        if one.launch_id.startswith("proxy."):
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
    world.controller.up()


@contextmanager
def always_answered(device: AgentProcess, expected: float) -> Iterator[None]:
    """Somebody asks the device all the time, and always gets the same answer."""
    end, wrong, answers = threading.Event(), [], []

    def ask() -> None:
        while not end.wait(0.2):
            try:
                answers.append(device.predict(*[(3.0, 4.0)] * 5))
            except AssertionError as error:
                wrong.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    assert not wrong, wrong
    assert answers
    assert {one for five in answers for one in five} == {expected}


def bad_release_is_stopped_and_taken_back(world: EdgeWorld) -> None:
    """Version 3 serves on the server, and no device can run it: only the canary group tries."""
    world.promote(3)
    stopped = world.until_release(3, "stopped")
    assert stopped["version"] == 3
    assert "example fails" in stopped["reason"], stopped["reason"]
    tried = {one["device"] for stage in stopped["stages"] for one in stage["updates"]}
    assert tried <= {one.name for one in world.canary}
    assert len(tried) >= 2
    back = world.until_release(4, "complete")
    assert (back["version"], back["reverts"]) == (2, 3)
    world.until_running(world.near, 4)
    bad = {*files_of(world, 3).values()} - {
        *files_of(world, 2).values(),
        *files_of(world, 1).values(),
    }
    assert bad
    for device in [*world.hall, *world.afar]:
        assert [sha for sha in bad if device.has(sha)] == []
        assert (device.update or (0,))[0] != 3
    assert (
        world.controller.get(f"/endpoints/{ENDPOINT}")["champion"] == 3
    )  # on the server it is good


def devices_that_come_back_get_what_is_wanted_now(
    world: EdgeWorld, cut: Cut, asked: list[float]
) -> None:
    """They go on where they were cut off, and tell what happened meanwhile, once."""
    world.until_running(world.afar, 4, timeout=90)
    left = AFAR * PAD - cut.had
    came = world.line.received - cut.received
    assert left <= came < left + 512 * 1024, (left, came, cut.had)

    def told() -> bool:
        shown = Counter(
            (one["state"], *(one["release"][what] for what in ("wanted", "running", "state")))
            for one in world.devices().values()
        )
        assert shown == {("online", 4, 4, "running"): CANARY + AFAR + HALL}
        return True

    until_sync(told, timeout=60, interval=0.2, what="all devices to tell that they run release 4")
    until_sync(lambda: not any(one.unsent for one in world.afar), timeout=30, interval=0.2)

    def captured() -> bool:
        assert Counter(one["a"] for one in world.captured(1)) == Counter(asked)
        return True

    until_sync(captured, timeout=30, interval=0.5, what="each prediction to be captured once")
    stats = world.controller.get(f"/{PROJECT}/getStats")["versions"]
    assert {(one["model"], one["version"], one["running"]) for one in stats} >= {
        (MODEL, 2, CANARY + AFAR + HALL)
    }
