"""Connections of devices: which is the newest, who is there, what each is told, and what it may take."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.devices import Device, Presence, UpdateState, presence
from model_deployment.core.releases import ReleasePolicy, ReleaseState
from model_deployment.devices import session as session_module
from model_deployment.devices.connections import DeviceConnections
from model_deployment.devices.document_backlog import DocumentBacklog
from model_deployment.devices.inbox import Inbox
from model_deployment.devices.limits import DeviceLimits
from tests.support.device_rows import KEY_ID, DeviceBase, device_base
from tests.support.device_sockets import ServedDevice
from tests.support.waiting import until

QUICK = DeviceLimits(sweep=0.02, seen=0.02)


class ConnectionBench:
    """Connections at work on a real state database."""

    def __init__(self, base: DeviceBase, limits: DeviceLimits, most_waiting: int) -> None:
        self.base = base
        self.backlog = DocumentBacklog(most_waiting)
        self.inbox = Inbox(base.rows.devices, self.backlog)
        self.connections = DeviceConnections(base.rows, self.inbox, limits)
        self._devices: list[ServedDevice] = []

    def connect(self, device: Device) -> ServedDevice:
        made = ServedDevice(self.connections, device)
        self._devices.append(made)
        return made

    async def greeted(self, device: Device, **hello: Any) -> ServedDevice:
        """A connection that was welcomed."""
        socket = self.connect(device)
        socket.hello(**hello)
        await socket.got("desired")
        return socket

    async def close(self) -> None:
        for one in self._devices:
            one.hang_up()
        await self.connections.close()
        await asyncio.gather(*(one.task for one in self._devices))


Make = Callable[..., Any]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes benches; limits are named."""
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(device_base(tmp_path))

        async def made(most_waiting: int = 10**9, **limits: Any) -> ConnectionBench:
            bench = ConnectionBench(base, replace(QUICK, **limits), most_waiting)
            for work in (bench.connections.run(), bench.inbox.run()):
                task = asyncio.create_task(work)
                stack.push_async_callback(_ended, task)
            stack.push_async_callback(bench.close)
            return bench

        yield made


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def bench(make: Make) -> ConnectionBench:
    made: ConnectionBench = await make()
    return made


async def test_a_device_is_welcomed_and_told_what_to_run(bench: ConnectionBench) -> None:
    device = await bench.base.enrol("camera-7")
    release = await bench.base.release(3)
    socket = bench.connect(device)
    before = time.time() * 1000
    socket.hello(stream="s1", running=None)
    welcome, desired = await socket.got("welcome"), await socket.got("desired")
    assert before - 1 <= welcome.pop("time") <= time.time() * 1000
    assert welcome == {
        "type": "welcome", "protocol": 1, "generation": 1, "received": 0, "device": "camera-7",
        "project": "hall",
    }  # fmt: skip
    signed = {"manifest": release.manifest, "signature": release.signature, "key": KEY_ID}
    assert desired["release"] == signed
    assert [one["type"] for one in socket.received] == ["welcome", "desired"]
    (update,) = await bench.base.rows.releases.updates(release)
    assert (update.device_id, update.state) == (device.id, UpdateState.OFFERED)
    row = await bench.base.now(device)
    assert (row.agent, row.stream, row.generation) == ("1.0.0", "s1", 1)


async def test_without_a_release_nothing_is_desired(bench: ConnectionBench) -> None:
    socket = await bench.greeted(await bench.base.enrol("camera-7"))
    assert (await socket.got("desired"))["release"] is None


async def test_what_is_desired_is_told_again_only_when_it_changed(bench: ConnectionBench) -> None:
    base, releases = bench.base, bench.base.rows.releases
    device = await base.enrol("camera-7")
    first = await base.release(3)
    socket = await bench.greeted(device)
    for _ in range(3):
        bench.connections.tell(None)
        await base.rows.commands.order([device.id], "mark", 1, "ada")
        bench.connections.tell([device.id])
        await socket.got("command")
    assert len(socket.of("desired")) == 1
    # Signed anew, under the same number.
    await releases.sign(first, '{"number":1,"expires":2}', "signature 1b")
    bench.connections.tell(None)
    assert (await socket.got("desired", 2))["release"]["signature"] == "signature 1b"
    second = await base.release(4)
    bench.connections.tell(None)
    assert (await socket.got("desired", 3))["release"]["manifest"] == second.manifest
    await releases.move(second, ReleaseState.STOPPED, "test")
    bench.connections.tell(None)
    assert (await socket.got("desired", 4))["release"] is None  # the first was superseded


async def test_a_stage_that_is_not_open_for_a_device_is_no_wish_of_it(
    bench: ConnectionBench,
) -> None:
    base = bench.base
    canary, other = await base.enrol("a", ["canary"]), await base.enrol("b")
    release = await base.release(3, ReleasePolicy(percent=()))
    first, second = await bench.greeted(canary), await bench.greeted(other)
    assert first.of("desired")[0]["release"] is not None
    assert second.of("desired")[0]["release"] is None
    await base.rows.releases.move(release, ReleaseState.ROLLING, "next", stage=1)
    bench.connections.tell(None)
    assert (await second.got("desired", 2))["release"]["signature"] == release.signature
    assert {one.device_id for one in await base.rows.releases.updates(release)} == {
        canary.id, other.id,
    }  # fmt: skip


async def test_many_devices_are_told_at_once(bench: ConnectionBench) -> None:
    devices = [await bench.base.enrol(f"d{n}") for n in range(30)]
    sockets = [await bench.greeted(one) for one in devices]
    release = await bench.base.release(3)
    bench.connections.tell(None)
    for socket in sockets:
        assert (await socket.got("desired", 2))["release"]["signature"] == release.signature
    assert len(await bench.base.rows.releases.updates(release)) == 30
    assert bench.connections.online() == {one.id for one in devices}


async def test_open_commands_are_sent_once_and_again_after_a_reconnect(
    bench: ConnectionBench,
) -> None:
    commands = bench.base.rows.commands
    device = await bench.base.enrol("camera-7")
    await commands.order([device.id], "dark", True, "ada")
    socket = await bench.greeted(device)
    command = await socket.got("command")
    assert (command["name"], command["value"]) == ("dark", True)
    (stored,) = await commands.open(device)

    async def delivered() -> bool:
        (now,) = await commands.open(device)
        return now.delivered_at is not None

    await until(delivered)
    await commands.order([device.id], "sound", {"level": 3}, "ada")
    bench.connections.tell([device.id])
    assert (await socket.got("command", 2))["value"] == {"level": 3}
    again = await bench.greeted(device)
    assert (await again.got("command", 2))["name"] == "sound"
    assert again.of("command")[0]["id"] == stored.id
    answer = {"id": stored.id, "ok": True, "detail": "done"}
    again.say("message", seq=1, kind="answer", at=0, data=answer)
    await again.got("ack", seq=1)
    last = await bench.greeted(device)
    await last.got("command")
    assert [one["name"] for one in last.of("command")] == ["sound"]


async def test_pings_are_answered_and_health_is_written(bench: ConnectionBench) -> None:
    device = await bench.base.enrol("camera-7")
    socket = await bench.greeted(device)
    socket.say("ping", health={"memory": 0.5, "place": "hall"})
    await socket.got("pong")
    socket.say("ping")
    await socket.got("pong", 2)

    async def written() -> bool:
        return dict((await bench.base.now(device)).health) == {"memory": 0.5, "place": "hall"}

    await until(written)


async def test_messages_are_stored_once_in_order_and_acknowledged(bench: ConnectionBench) -> None:
    device = await bench.base.enrol("camera-7")
    socket = await bench.greeted(device)
    for seq in (1, 2, 2, 4, 1, 3):
        socket.log(seq)
    await socket.got("ack", seq=3)
    socket.log(4)
    await socket.got("ack", seq=4)
    lines = await bench.base.messages.log(device, 10)
    assert [one.text for one in lines] == ["line 4", "line 3", "line 2", "line 1"]
    assert (await bench.base.now(device)).received == 4
    # Sent again after the connection was lost.
    again = await bench.greeted(device)
    assert again.of("welcome")[0]["received"] == 4
    again.log(4)
    await again.got("ack", seq=4)
    again.log(6)
    await again.got("ack", 2, seq=4)
    assert len(await bench.base.messages.log(device, 10)) == 4


async def test_a_broken_message_becomes_a_line_of_the_log(bench: ConnectionBench) -> None:
    device = await bench.base.enrol("camera-7")
    socket = await bench.greeted(device)
    socket.say("message", seq=1, kind="metrics", at=0, data={"requests": -1})
    socket.log(2, "good")
    await socket.got("ack", seq=2)
    good, bad = await bench.base.messages.log(device, 10)
    assert good.text == "good"
    assert bad.text.startswith("cannot read message 1: minute is a whole number")


@pytest.mark.parametrize(
    "frames",
    [
        ["no json"],
        ['{"type":"ping"}'],
        ['{"type":"hello","protocol":2,"agent":"1","stream":"s"}'],
        ['{"type":"hello","protocol":1,"agent":"1","stream":"s"}'] * 2,
        ['{"type":"hello","protocol":1,"agent":"1","stream":"s"}', '{"type":"message","seq":0}'],
    ],
)
async def test_what_is_no_protocol_ends_the_connection_with_4400(
    bench: ConnectionBench, frames: list[str]
) -> None:
    socket = bench.connect(await bench.base.enrol("camera-7"))
    for frame in frames:
        socket.say_text(frame)
    code, reason = await socket.end()
    assert code == 4400
    assert reason
    assert socket.received[-1] == {"type": "bye", "reason": reason}


async def test_a_newer_connection_takes_the_place(bench: ConnectionBench) -> None:
    device = await bench.base.enrol("camera-7")
    old = await bench.greeted(device)
    new = await bench.greeted(device)
    assert (await old.end())[0] == 4409
    old.say("ping")
    old.log(1, "by the old one")
    await asyncio.wait_for(old.task, 5)
    new.log(1, "by the new one")
    await new.got("ack", seq=1)
    assert [one.text for one in await bench.base.messages.log(device, 9)] == ["by the new one"]
    assert bench.connections.online() == {device.id}
    assert new.of("welcome")[0]["generation"] == 2


async def test_an_old_connection_that_times_out_leaves_the_new_one_alone(make: Make) -> None:
    bench: ConnectionBench = await make(silence=0.3, farewell=0.05)
    device = await bench.base.enrol("camera-7")
    old = await bench.greeted(device)
    old.reads.clear()  # the line is dead: it neither reads nor says that it is over
    new = await bench.greeted(device)

    async def keep_alive() -> None:
        while True:
            new.say("ping")
            await asyncio.sleep(0.05)

    pinging = asyncio.create_task(keep_alive())
    await asyncio.wait_for(old.task, 5)
    assert bench.connections.online() == {device.id}
    assert new.closed is None
    row = await bench.base.now(device)
    assert presence(row, datetime.now(UTC)) is Presence.ONLINE
    pinging.cancel()
    assert (await new.end())[0] == 1012
    await until(lambda: not bench.connections.online())


async def test_the_old_connection_ends_late_and_marks_nobody_offline(
    bench: ConnectionBench,
) -> None:
    device = await bench.base.enrol("camera-7")
    old = await bench.greeted(device)
    new = await bench.greeted(device)
    old.hang_up()
    await old.task
    new.say("ping")
    await new.got("pong")
    assert bench.connections.online() == {device.id}


async def test_last_seen_follows_from_frames_alone(bench: ConnectionBench) -> None:
    device = await bench.base.enrol("camera-7")
    socket = await bench.greeted(device)
    await bench.connections.look()
    before = (await bench.base.now(device)).last_seen_at
    assert before is not None
    socket.hang_up()
    await socket.task
    await bench.connections.close()
    assert (await bench.base.now(device)).last_seen_at == before


async def test_hello_has_to_come_in_time(make: Make) -> None:
    bench: ConnectionBench = await make(hello=0.05)
    socket = bench.connect(await bench.base.enrol("camera-7"))
    assert await socket.end() == (4400, "no hello came within 0.05 s")


async def test_a_device_that_says_nothing_is_offline(make: Make) -> None:
    bench: ConnectionBench = await make(silence=0.1)
    device = await bench.base.enrol("camera-7")
    socket = await bench.greeted(device)
    assert (await socket.end())[0] == 1012
    assert bench.connections.online() == set()


async def test_a_revoked_device_is_out_at_once(bench: ConnectionBench) -> None:
    device = await bench.base.enrol("camera-7")
    socket, silent = await bench.greeted(device), bench.connect(device)
    await bench.base.rows.devices.revoke(device)
    begun = time.monotonic()
    bench.connections.drop(device.id)
    assert [(await one.end())[0] for one in (socket, silent)] == [4401, 4401]
    assert time.monotonic() - begun < 1
    late = bench.connect(device)
    late.hello()
    assert (await late.end())[0] == 4401


async def test_telling_ends_connections_of_devices_that_are_revoked_or_removed(
    bench: ConnectionBench,
) -> None:
    one, two = await bench.base.enrol("one"), await bench.base.enrol("two")
    sockets = [await bench.greeted(one), await bench.greeted(two)]
    await bench.base.rows.devices.revoke(one)
    await bench.base.rows.devices.remove(two)
    bench.connections.tell(None)
    assert [(await socket.end())[0] for socket in sockets] == [4401, 4401]


async def test_too_many_devices_are_told_to_come_later(make: Make) -> None:
    bench: ConnectionBench = await make(devices=1)
    first, second = await bench.base.enrol("one"), await bench.base.enrol("two")
    socket = await bench.greeted(first)
    assert (await bench.connect(second).end())[0] == 1013
    # The device that is connected may come again.
    again = await bench.greeted(first)
    assert (await socket.end())[0] == 4409
    again.hang_up()
    await again.task
    await bench.greeted(second)


async def test_a_slow_reader_takes_no_memory_and_keeps_nobody_waiting(make: Make) -> None:
    bench: ConnectionBench = await make(slow=0.5, farewell=0.1)
    base = bench.base
    slow, quick = await base.enrol("slow"), await base.enrol("quick")
    sleepy, awake = await bench.greeted(slow), await bench.greeted(quick)
    sleepy.reads.clear()
    for version in range(2, 6):
        await base.release(version)
        bench.connections.tell(None)
        await awake.got("desired", version)
        sleepy.say("ping")
    sleepy.reads.set()
    last = await until(lambda: sleepy.of("desired")[-1]["release"])
    await until(
        lambda: (sleepy.of("desired")[-1]["release"] or {}).get("signature") == "signature 4"
    )
    assert last is not None
    assert len(sleepy.of("desired")) <= 3
    sleepy.reads.clear()
    sleepy.say("ping")
    await asyncio.wait_for(sleepy.task, 5)
    assert awake.closed is None


async def test_a_flood_is_slowed_down_and_does_not_starve_others(make: Make) -> None:
    bench: ConnectionBench = await make(frames=200.0, frames_at_once=20.0)
    noisy, calm = await bench.base.enrol("noisy"), await bench.base.enrol("calm")
    loud, quiet = await bench.greeted(noisy), await bench.greeted(calm)
    begun = time.monotonic()
    for seq in range(1, 101):
        loud.log(seq)
    for seq in range(1, 4):
        quiet.log(seq)
    await quiet.got("ack", seq=3)
    assert (await bench.base.now(noisy)).received < 60
    await loud.got("ack", seq=100)
    assert time.monotonic() - begun > 0.35  # (100 - 20) / 200 per second, with some slack
    assert (await bench.base.now(noisy)).received == 100


async def test_a_new_connection_makes_no_new_allowance(make: Make) -> None:
    bench: ConnectionBench = await make(frames=100.0, frames_at_once=3.0)
    device = await bench.base.enrol("camera-7")
    begun = time.monotonic()
    for _ in range(6):
        socket = await bench.greeted(device)
        for number in (1, 2, 3):
            socket.say("ping")
            await socket.got("pong", number)
    # 24 frames, 3 of them at once, and 100 a second; the pause after the last one has not been waited for.
    assert time.monotonic() - begun > 0.15
    assert [*bench.connections._rates] == [device.id]
    socket.hang_up()
    await until(lambda: not bench.connections._rates)


async def test_no_more_than_64_messages_are_under_way(make: Make) -> None:
    bench: ConnectionBench = await make()
    device = await bench.base.enrol("camera-7")
    gate, receive = asyncio.Event(), bench.inbox._rows.receive
    taken: list[int] = []

    class Held:
        async def receive(self, batches: Any) -> Any:
            taken.append(sum(len(one.messages) for one in batches))
            await gate.wait()
            return await receive(batches)

    bench.inbox._rows = Held()
    socket = await bench.greeted(device)
    for seq in range(1, 201):
        socket.log(seq)
    await until(lambda: taken)
    await until(lambda: taken[0] + sum(map(len, bench.inbox._waiting.values())) == 64)
    gate.set()
    await socket.got("ack", seq=200)
    assert max(taken) <= 64


async def test_while_the_state_cannot_be_written_nothing_is_acknowledged_and_nothing_lost(
    make: Make,
) -> None:
    bench: ConnectionBench = await make(patience=0.2, unacknowledged=3)
    device = await bench.base.enrol("camera-7")
    socket = await bench.greeted(device)
    async with bench.base.locked():
        for seq in range(1, 6):
            socket.log(seq)
        await until(lambda: bench.inbox.failing)
        socket.say("ping")  # still heard, although messages find no place
        await socket.got("pong")
        assert {one["seq"] for one in socket.of("ack")} <= {0}
        late = bench.connect(await bench.base.now(device))
        late.hello()  # it cannot take the place now, and has to come again
        assert (await late.end())[0] == 1012
    await socket.got("ack", seq=3)
    code, reason = await socket.end()  # those that found no place are sent again
    assert (code, reason) == (1012, "send the messages again")
    again = await bench.greeted(device)
    start = again.of("welcome")[0]["received"]
    assert start == 3
    for seq in range(start + 1, 6):
        again.log(seq)
    await again.got("ack", seq=5)
    lines = await bench.base.messages.log(device, 10)
    assert [one.text for one in lines] == [f"line {seq}" for seq in (5, 4, 3, 2, 1)]


async def test_captures_wait_in_devices_while_too_many_wait_for_the_document_store(
    make: Make,
) -> None:
    bench: ConnectionBench = await make(most_waiting=1000)
    device = await bench.base.enrol("camera-7")
    socket = await bench.greeted(device)
    bench.backlog.grew(1000)
    socket.log(1)
    await socket.got("ack", seq=1)
    socket.say("message", seq=2, kind="captures", at=0, data={"captures": []})
    socket.log(3)
    socket.say("ping")
    await socket.got("pong")
    assert (await bench.base.now(device)).received == 1
    bench.backlog.bytes = 0
    assert (await socket.end())[0] == 1012
    again = await bench.greeted(device)
    again.say("message", seq=2, kind="captures", at=0, data={"captures": []})
    await again.got("ack", seq=2)


async def test_the_controller_says_goodbye(bench: ConnectionBench) -> None:
    sockets = [await bench.greeted(await bench.base.enrol(f"d{n}")) for n in range(3)]
    await bench.connections.close()
    assert {one.closed for one in sockets} == {(1012, "the controller ends")}
    late = bench.connect(await bench.base.enrol("late"))
    assert (await late.end())[0] == 1012


async def test_signs_of_life_that_cannot_be_written_are_written_later(
    bench: ConnectionBench, caplog: pytest.LogCaptureFixture
) -> None:
    device = await bench.base.enrol("camera-7")
    socket = await bench.greeted(device)
    async with bench.base.locked():
        socket.say("ping", health={"memory": 1})
        await socket.got("pong")
        await until(lambda: "cannot write which devices are there" in caplog.text)
        socket.say("ping")
        await socket.got("pong", 2)

    async def written() -> bool:
        return dict((await bench.base.now(device)).health) == {"memory": 1}

    await until(written)


async def test_a_large_frame_is_read_on_a_thread(
    bench: ConnectionBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "_LARGE", 10)
    device = await bench.base.enrol("camera-7")
    socket = await bench.greeted(device)
    socket.log(1, "long")
    await socket.got("ack", seq=1)
    socket.say_text("[" * 50)
    assert (await socket.end())[0] == 4400
