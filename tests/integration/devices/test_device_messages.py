"""Messages of devices over real sockets: none is lost, none is stored twice, whatever is killed."""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.integration.devices.conftest import EdgeBench
from tests.support.device_client import DeviceClient
from tests.support.waiting import until

Benches = Callable[..., EdgeBench]

#: Devices, and messages that each has before something is killed.
DEVICES, MESSAGES = 6, 130
#: A version that no server deploys: it runs on devices only.
KEY = "stub-7"


@asynccontextmanager
async def connected(devices: Sequence[DeviceClient]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.run()) for one in devices]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if not isinstance(outcome, asyncio.CancelledError):
                raise outcome or AssertionError("a device ended by itself")


def keep_captures(device: DeviceClient, places: range, start: int) -> None:
    """A capture in each message; its time, from ``start`` on in milliseconds, and its row say which."""
    for place in places:
        at = start + place
        capture = {
            "id": f"{device.name}-{place}", "at": at, "release": 1, "model": "stub", "version": 7,
            "columns": ["place"], "rows": [[place]], "predictions": [1.0], "latency_ms": 0.5,
        }  # fmt: skip
        device.keep("captures", {"captures": [capture]}, at)


def waiting(edge: EdgeBench) -> int:
    """Messages that are not in the document store yet."""
    with contextlib.closing(
        sqlite3.connect(f"file:{edge.controller.state_db}?mode=ro", uri=True)
    ) as it:
        (count,) = it.execute(
            "SELECT count(*) FROM device_messages WHERE kind = 'captures'"
        ).fetchone()
    return int(count)


async def kill_controller(edge: EdgeBench) -> None:
    """And start it again."""
    await asyncio.to_thread(edge.controller.kill)
    await asyncio.to_thread(edge.controller.up)


async def kill_proxy(edge: EdgeBench) -> None:
    """One proxy dies, with all connections through it; the controller starts another."""
    found = [one for one in edge.controller.companions() if "proxy" in str(one)]
    if found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(random.choice(found).pid, signal.SIGKILL)


def left(devices: Sequence[DeviceClient]) -> int:
    """Messages of which the devices do not know yet that they have arrived."""
    return sum(len(one.kept) for one in devices)


@pytest.mark.timeout(150)
async def test_many_messages_reach_the_store_once_and_in_order(benches: Benches) -> None:
    edge = await asyncio.to_thread(benches, PROXIES="1")
    random.seed(19)
    devices = [await asyncio.to_thread(edge.register, f"camera-{n}") for n in range(DEVICES)]
    start = int(time.time() * 1000) - 60_000
    async with connected(devices):
        for turn, kill in enumerate((kill_controller, kill_proxy, kill_controller)):
            for device in devices:
                places = range(turn * MESSAGES, (turn + 1) * MESSAGES)
                keep_captures(device, places, start)
            await until(lambda: left(devices) < DEVICES * MESSAGES, interval=0.001)
            random.choice(devices).cut()
            await kill(edge)
        while left(devices):
            await asyncio.sleep(0.4 * random.random())
            random.choice(devices).cut()

    await until(lambda: waiting(edge) == 0, timeout=30, interval=0.2)
    stored = defaultdict(list)
    for row in await asyncio.to_thread(edge.captured, KEY):
        name, _, place = row["request_id"].rpartition("-")
        assert int(place) == row["place"]
        stored[name].append(row["place"])
    assert dict(stored) == {one.name: [*range(3 * MESSAGES)] for one in devices}
    for one in devices:
        assert len(one.generations) >= 3
        assert one.generations == sorted(set(one.generations))


async def test_a_device_is_there_while_something_comes_and_is_told_of_commands(
    edge: EdgeBench,
) -> None:
    device = await asyncio.to_thread(edge.register, "camera-7")
    assert (await asyncio.to_thread(edge.device, "camera-7"))["state"] == "never"
    async with connected([device]):
        await asyncio.wait_for(device.connected.wait(), 10)
        device.ping(temperature=41.5)

        async def seen() -> None:
            found = await asyncio.to_thread(edge.device, "camera-7")
            assert (found["state"], found["health"]) == ("online", {"temperature": 41.5})

        await until(lambda: _holds(seen), timeout=10)
        await until(lambda: device.desired)
        assert device.desired == [None]
        await asyncio.to_thread(
            edge.controller.post, f"/{edge.project}/setDark", 202, {"value": True}
        )
        command = await until(lambda: device.commands)
        assert (command[0]["name"], command[0]["value"]) == ("dark", True)


async def _holds(check: Callable[[], object]) -> bool:
    await check()  # type: ignore[misc]
    return True


async def test_a_revoked_device_is_out_within_a_second(edge: EdgeBench) -> None:
    device = await asyncio.to_thread(edge.register, "camera-7")
    async with connected([device]):
        await asyncio.wait_for(device.connected.wait(), 10)
        begun = time.monotonic()
        await asyncio.to_thread(edge.controller.post, f"/{edge.project}/devices/camera-7/revoke")
        await until(lambda: device.closed)
        assert time.monotonic() - begun < 1
        assert device.closed == [4401]
        assert device.byes == ["the token is no longer good"]
        await until(lambda: device.refused)  # nor does it come in again
        assert device.refused[0] == 401


async def test_a_second_connection_takes_the_place(edge: EdgeBench) -> None:
    device = await asyncio.to_thread(edge.register, "camera-7")
    again = DeviceClient(edge.controller.url, "camera-7", device.token)
    first = asyncio.create_task(device.connect_once())
    await asyncio.wait_for(device.connected.wait(), 10)
    second = asyncio.create_task(again.connect_once())
    await asyncio.wait_for(again.connected.wait(), 10)
    await asyncio.wait([first], timeout=10)
    assert device.closed == [4409]
    again.keep("log", {"lines": [{"at": 0, "level": "info", "text": "here"}]})
    await until(lambda: not again.kept)
    assert (await asyncio.to_thread(edge.device, "camera-7"))["state"] == "online"
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


async def test_the_controller_says_goodbye_when_it_ends(benches: Benches) -> None:
    edge = await asyncio.to_thread(benches)
    device = await asyncio.to_thread(edge.register, "camera-7")
    async with connected([device]):
        await asyncio.wait_for(device.connected.wait(), 10)
        assert await asyncio.to_thread(edge.controller.terminate) == 0
        await until(lambda: device.closed)
        assert (device.closed[0], device.byes) == (1012, ["the controller ends"])


async def test_a_socket_is_for_the_device_of_its_token_only(edge: EdgeBench) -> None:
    device = await asyncio.to_thread(edge.register, "camera-7")
    await asyncio.to_thread(edge.register, "camera-8")
    for name, token, status in (
        ("camera-8", device.token, 403),
        ("camera-7", "mdd_" + "x" * 43, 401),
        ("camera-7", "", 401),
    ):
        other = DeviceClient(edge.controller.url, name, token)
        with contextlib.suppress(Exception):
            await other.connect_once()
        assert other.refused == [status]


async def test_a_device_without_a_socket_asks_and_sends_by_http(edge: EdgeBench) -> None:
    device = await asyncio.to_thread(edge.register, "camera-7")
    call, headers = edge.controller.call, {"Authorization": f"Bearer {device.token}"}

    def work() -> None:
        answer = call("GET", f"/{edge.project}/activeModel", headers=headers, auth=None)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["release"], answer.json()["commands"]) == (None, [])
        etag = answer.headers["etag"]
        known = {**headers, "If-None-Match": etag}
        assert (
            call("GET", f"/{edge.project}/activeModel", headers=known, auth=None).status_code == 304
        )
        assert edge.device("camera-7")["state"] == "online"
        edge.controller.post(f"/{edge.project}/setDark", 202, {"value": True})
        again = call("GET", f"/projects/{edge.project}/activeModel", headers=known, auth=None)
        assert [one["name"] for one in again.json()["commands"]] == ["dark"]
        line = {"at": 0, "level": "info", "text": "by HTTP"}
        body = {
            "agent": "1.0.0", "stream": "s", "running": None, "health": {"a": 1},
            "messages": [
                {"seq": 1, "kind": "log", "at": 0, "data": {"lines": [line]}},
                {"seq": 2, "kind": "video", "at": 0, "data": {}},
            ],
        }  # fmt: skip
        for _ in range(2):
            sent = call("POST", f"/{edge.project}/messages", headers=headers, json=body, auth=None)
            assert (sent.status_code, sent.json()) == (200, {"received": 2})
        lines = edge.controller.get(f"/{edge.project}/devices/camera-7/logs")
        assert sorted(one["text"] for one in lines)[0] == "by HTTP"
        assert len(lines) == 2
        odd = call(
            "POST",
            f"/{edge.project}/messages",
            headers=headers,
            json=body | {"stream": "?"},
            auth=None,
        )
        assert odd.status_code == 422
        assert "stream is 1 to 64" in odd.json()["detail"]
        # An operator asks for any device; another device may not.
        asked = edge.controller.get(f"/{edge.project}/activeModel", device="camera-7")
        assert [one["name"] for one in asked["commands"]] == ["dark"]
        other = edge.register("camera-8")
        theirs = {"Authorization": f"Bearer {other.token}"}
        path = f"/{edge.project}/activeModel?device=camera-7"
        assert call("GET", path, headers=theirs, auth=None).status_code == 403
        assert edge.controller.call("GET", f"/{edge.project}/activeModel").status_code == 422

    await asyncio.to_thread(work)
