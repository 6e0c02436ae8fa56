"""What crosses a WebSocket through a proxy to the controller, and how much of it is held."""

import asyncio
import struct
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from model_deployment.http import api_connection
from model_deployment.http.api_connection import QuietWebSocket
from tests.support.socket_front import SocketFront, handshake
from tests.support.socket_wires import frame, opened, read
from tests.support.waiting import until


async def test_device_and_controller_hear_each_other(front: SocketFront) -> None:
    async with front.device() as device:
        for text in ("hello", "ü" * 1000, ""):
            await device.send(text)
            assert await device.recv() == text
    assert front.api.heard == ["hello", "ü" * 1000, ""]
    await until(lambda: front.api.ends == [1000] and len(front.tunnels) == 0)


async def test_frame_of_a_mebibyte_is_accepted_and_a_larger_one_ends_the_socket(
    front: SocketFront,
) -> None:
    largest = "x" * 1024 * 1024
    async with front.device() as device:
        await device.send(largest)
        assert await device.recv() == largest
        await device.send(largest + "x")
        with pytest.raises(ConnectionClosed) as caught:
            await device.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
    # Also one that comes in pieces.
    async with front.device() as device:
        await device.send(["x" * 65536] * 17)
        with pytest.raises(ConnectionClosed) as caught:
            await device.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009
    assert front.api.heard == [largest]


async def test_announced_size_alone_ends_the_socket(front: SocketFront) -> None:
    wire = await opened(front)
    await wire.send(struct.pack("!BBQI", 0x81, 0x80 | 127, 1 << 40, 0))
    first, size, code = struct.unpack("!BBH", await read(wire, 4))
    assert (first, code) == (0x88, 1009)
    await read(wire, size - 2)
    assert await wire.ended()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"\xff"), 1007),
        (b"\x81\x01x", 1002),  # without a mask
        (frame(b"x", first=0xC1), 1002),  # compressed, which was not agreed on
        (frame(b"x", first=0x83), 1002),  # of a kind that there is not
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 1002),
    ],
)
async def test_what_is_no_frame_ends_the_socket(front: SocketFront, sent: bytes, code: int) -> None:
    wire = await opened(front)
    await wire.send(sent)
    first, _, told = struct.unpack("!BBH", await read(wire, 4))
    assert (first, told) == (0x88, code)
    assert await wire.ended()
    assert front.api.heard == []


async def test_bytes_cross_wherever_they_are_cut(front: SocketFront) -> None:
    request, sent = handshake(), frame(b"hello")
    for place in range(1, len(request), 7):
        wire = await front.call()
        await wire.send(request[:place])
        await wire.send(request[place:])
        answer = await wire.head()
        assert answer is not None
        assert answer.status == 101, place
        for cut in sent:
            await wire.send(bytes([cut]))
        assert await read(wire, 7) == b"\x81\x05hello"
        await wire.close()


async def test_what_comes_with_the_handshake_is_not_lost(front: SocketFront) -> None:
    wire = await front.call()
    await wire.send(handshake(), frame(b"early"), frame(b"bird"))
    answer = await wire.head()
    assert answer is not None
    assert answer.status == 101
    assert await read(wire, 13) == b"\x81\x05early\x81\x04bird"


async def test_handshake_behind_another_request_waits_for_its_answer(front: SocketFront) -> None:
    wire = await front.call()
    before = b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    await wire.send(before, handshake())
    assert (await wire.receive()).body == b"here"
    answer = await wire.head()
    assert answer is not None
    assert answer.status == 101
    await wire.send(frame(b"x"))
    assert await read(wire, 3) == b"\x81\x01x"


async def test_device_that_does_not_read_holds_up_the_controller(front: SocketFront) -> None:
    wire = await opened(front)
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await wire.send(frame(b"send 400"), frame(b"after"))  # 25 MiB
    await until(lambda: front.api.heard == ["send 400"])
    for end in held(front):
        assert end.transport.get_write_buffer_size() <= 1024 * 1024
    wire.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for _ in range(400):
        assert (await read(wire, 10 + 65536))[:2] == b"\x81\x7f"
    assert await read(wire, 7) == b"\x81\x05after"


async def test_controller_that_does_not_read_holds_up_the_device(front: SocketFront) -> None:
    wire = await opened(front)
    front.api.reads.clear()
    frames = [frame(b"x" * 60_000) for _ in range(300)]
    sending = asyncio.create_task(wire.send(*frames))
    done, _ = await asyncio.wait({sending}, timeout=0.3)
    assert not done, "17 MiB were taken in that nobody has read"
    for end in held(front):
        assert end.transport.get_write_buffer_size() <= 1024 * 1024
    front.api.reads.set()
    for _ in range(300):
        assert len(await read(wire, 4 + 60_000)) == 60_004
    await sending
    assert len(front.api.heard) == 300


def held(front: SocketFront) -> list[Any]:
    """Both ends of all tunnels."""
    return [end for one in front.tunnels._open for end in (one._caller, one._controller)]


async def test_messages_that_are_not_complete_are_limited_for_all_sockets_together(
    front: SocketFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_connection, "MOST_HELD", 300_000)
    begun = frame(bytes(200_000))[:-1]
    first = await opened(front)
    await first.send(begun)
    await until(lambda: QuietWebSocket.held >= 190_000, what="the first message")
    second = await opened(front)
    await second.send(begun)
    assert await second.ended(), "closed with 1013"
    await until(lambda: QuietWebSocket.held < 210_000, what="the end of the second one")
    # A message in tiny pieces is whole, and the first one goes on.
    await first.send(bytes(1))
    await until(lambda: front.api.heard == ["\0" * 200_000], what="the first message")
    third = await opened(front)
    await third.send(frame(b"a", first=0x01), *[frame(b"b", first=0x00)] * 3000)
    await third.send(frame(b"c", first=0x80))
    await until(lambda: front.api.heard[1:] == ["a" + "b" * 3000 + "c"], what="the third message")
    assert QuietWebSocket.held == 0
