"""How a WebSocket through a proxy to the controller ends, whoever ends it."""

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed

from model_deployment.proxy import tunnel
from tests.support.socket_front import SocketFront, handshake
from tests.support.socket_wires import frame, opened, read
from tests.support.waiting import until


async def test_close_codes_cross(front: SocketFront) -> None:
    async with front.device() as device:
        await device.send("end")
        with pytest.raises(ConnectionClosed) as caught:
            await device.recv()
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4400, "ended")
    async with front.device() as device:
        await device.close(3999, "bye")
    await until(lambda: 3999 in front.api.ends)


async def test_half_closed_connection_ends_whole(front: SocketFront) -> None:
    wire = await opened(front)
    await wire.send(frame(b"last"))
    assert await read(wire, 6) == b"\x81\x04last"
    wire.writer.write_eof()
    assert await wire.ended()
    await until(lambda: len(front.tunnels) == 0 and front.api.connections == 0)


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_device_that_is_gone_is_gone_for_the_controller(front: SocketFront, how: str) -> None:
    wire = await opened(front)
    if how == "reset":
        wire.reset()
    else:
        await wire.close()
    await until(lambda: len(front.api.ends) == 1 and len(front.tunnels) == 0)


async def test_device_that_never_closes_does_not_keep_a_tunnel(
    front: SocketFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "_LINGER", 0.2)
    wire = await opened(front)
    await front.api.stop()  # it is told, and stays
    await until(lambda: len(front.tunnels) == 0)
    assert await wire.ended()


async def test_device_that_never_reads_does_not_keep_a_tunnel(
    front: SocketFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "_STUCK", 0.3)
    wire = await opened(front)
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await wire.send(frame(b"send 400"))
    await until(lambda: front.api.connections == len(front.tunnels) == 0)


async def test_killed_controller_ends_its_sockets_and_the_next_one_has_new_ones(
    front: SocketFront,
) -> None:
    wires = [await opened(front) for _ in range(20)]
    await front.api.stop()
    for wire in wires:
        assert await wire.ended()
    answer = await front.ask(handshake())
    assert "the controller is away" in answer.problem(503)["detail"]
    assert answer.get("retry-after") == "2"
    await front.api.start()
    wire = await opened(front)
    await wire.send(frame(b"x"))
    assert await read(wire, 3) == b"\x81\x01x"


async def test_proxy_that_retires_ends_its_sockets_at_once(front: SocketFront) -> None:
    wires = [await opened(front) for _ in range(20)]
    async with asyncio.timeout(5):
        await front.stop()
    for wire in wires:
        assert await wire.ended()
    await until(lambda: len(front.api.ends) == 20)
