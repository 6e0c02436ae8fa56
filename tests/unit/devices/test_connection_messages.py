"""What connected devices send: stored once and in order, and no more at once than can be taken."""

import asyncio
import time
from typing import Any

import pytest

from model_deployment.devices import session as session_module
from tests.support.connection_bench import ConnectionBench, MakeBench
from tests.support.waiting import until


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


async def test_a_flood_is_slowed_down_and_does_not_starve_others(make_bench: MakeBench) -> None:
    bench = await make_bench(frames=200.0, frames_at_once=20.0)
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


async def test_a_new_connection_makes_no_new_allowance(make_bench: MakeBench) -> None:
    bench = await make_bench(frames=100.0, frames_at_once=3.0)
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


async def test_no_more_than_64_messages_are_under_way(make_bench: MakeBench) -> None:
    bench = await make_bench()
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
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(patience=0.2, unacknowledged=3)
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
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(most_waiting=1000)
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
