"""Connections of devices: which is the newest, who is there, and when and why each ends."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

from model_deployment.core.devices import Presence, presence
from tests.support.connection_bench import ConnectionBench, MakeBench
from tests.support.waiting import until


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


async def test_an_old_connection_that_times_out_leaves_the_new_one_alone(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(silence=0.3, farewell=0.05)
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


async def test_hello_has_to_come_in_time(make_bench: MakeBench) -> None:
    bench = await make_bench(hello=0.05)
    socket = bench.connect(await bench.base.enrol("camera-7"))
    assert await socket.end() == (4400, "no hello came within 0.05 s")


async def test_a_device_that_says_nothing_is_offline(make_bench: MakeBench) -> None:
    bench = await make_bench(silence=0.1)
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


async def test_too_many_devices_are_told_to_come_later(make_bench: MakeBench) -> None:
    bench = await make_bench(devices=1)
    first, second = await bench.base.enrol("one"), await bench.base.enrol("two")
    socket = await bench.greeted(first)
    assert (await bench.connect(second).end())[0] == 1013
    # The device that is connected may come again.
    again = await bench.greeted(first)
    assert (await socket.end())[0] == 4409
    again.hang_up()
    await again.task
    await bench.greeted(second)


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
