"""Connections to Unix sockets, whatever the length of their paths and of their queues."""

import asyncio
import socket
from pathlib import Path

import pytest

from model_deployment.http.unix_sockets import bind_in, connected, open_folder


def deep(folder: Path) -> Path:
    """A folder whose path is longer than the address of a Unix socket may be."""
    found = folder / ("x" * 100) / ("y" * 100)
    found.mkdir(parents=True)
    return found


async def test_connected_reaches_a_socket_whose_path_is_long(tmp_path: Path) -> None:
    folder = deep(tmp_path)
    with bind_in(folder, "model.sock") as listener, await connected(folder / "model.sock") as one:
        other, _ = listener.accept()
        with other:
            one.send(b"x")
            other.setblocking(True)
            assert other.recv(1) == b"x"


@pytest.mark.parametrize("name", ["absent/model.sock", "model.sock", "file"])
async def test_connected_fails_where_nothing_listens(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"No such file|refused"):
        await connected(tmp_path / name)


async def test_connected_fails_where_nobody_listens_any_more(tmp_path: Path) -> None:
    bind_in(tmp_path, "model.sock").close()
    with pytest.raises(ConnectionRefusedError):
        await connected(tmp_path / "model.sock")


async def test_connected_waits_for_room_in_the_queue(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, open_folder(tmp_path) as folder:
        listener.bind(f"{folder}/model.sock")
        listener.listen(0)
        first = await connected(tmp_path / "model.sock")
        waiting = asyncio.create_task(connected(tmp_path / "model.sock"))
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
        accepted, _ = listener.accept()
        second = await asyncio.wait_for(waiting, 5)
        for one in (first, second, accepted):
            one.close()
