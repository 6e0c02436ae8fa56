"""Hands a listening socket over to a container, which has no network and no folder that it can write to.

A TCP socket could be connected to something else by its owner (connect(2) with AF_UNSPEC). A Unix socket
that listens cannot: unix(7).
"""

import asyncio
import contextlib
import socket
from pathlib import Path

from model_deployment.http.unix_sockets import bind_in, open_folder
from model_deployment.runtime.container.folders import OFFER, SOCKET
from model_deployment.worker import contained

_NAME = Path(contained.OFFER).name
_PAUSE = 0.05


class HandOver:
    """Offers the listening socket of one launch, until it was taken or the offer is withdrawn."""

    def __init__(self, folder: Path) -> None:
        """Listens from now on. ``folder``: that of the launch.

        Raises:
            OSError: it cannot listen.
        """
        self._folder = folder
        self._listener = bind_in(folder, SOCKET)
        try:
            # The folder above lets nobody in but its owner.
            self._offer = bind_in(folder / OFFER, _NAME)
            (folder / OFFER / _NAME).chmod(0o666)
        except OSError:
            self._listener.close()
            raise
        self._task = asyncio.create_task(self._serve(), name="hand over")

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    taker, _ = await loop.sock_accept(self._offer)
                except OSError:
                    await asyncio.sleep(_PAUSE)
                    continue
                with taker, contextlib.suppress(OSError):
                    # Whoever is here is a process of the container. It has the socket as soon as this
                    # returns, also if this process is killed then.
                    socket.send_fds(taker, [b"."], [self._listener.fileno()])
                    return
        finally:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            (self._folder / OFFER / _NAME).unlink(missing_ok=True)
        self._offer.close()
        self._listener.close()

    @property
    def done(self) -> bool:
        """Whether the socket was taken."""
        return self._task.done()

    async def withdraw(self) -> None:
        """Stop offering; a socket that was taken goes on."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._close()


def somebody_listens(folder: Path) -> bool:
    """Whether a process has the listening socket of a launch. Blocking, for a moment."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            with open_folder(folder) as path:
                client.connect(f"{path}/{SOCKET}")
        except BlockingIOError:  # its queue is full
            return True
        except OSError:
            return False
    return True
