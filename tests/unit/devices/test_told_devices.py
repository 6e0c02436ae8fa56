"""What each connected device is told: the release that it should run, and its commands."""

import asyncio
import time

from model_deployment.core.devices import UpdateState
from model_deployment.core.releases import ReleasePolicy, ReleaseState
from tests.support.connection_bench import ConnectionBench, MakeBench
from tests.support.device_rows import KEY_ID
from tests.support.waiting import until


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


async def test_a_slow_reader_takes_no_memory_and_keeps_nobody_waiting(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(slow=0.5, farewell=0.1)
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
    await until(
        lambda: (sleepy.of("desired")[-1]["release"] or {}).get("signature") == "signature 4"
    )
    assert len(sleepy.of("desired")) <= 3
    sleepy.reads.clear()
    sleepy.say("ping")
    await asyncio.wait_for(sleepy.task, 5)
    assert awake.closed is None
