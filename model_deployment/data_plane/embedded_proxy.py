"""A proxy in the controller's own event loop, for debugging."""

import asyncio
import logging
import os
import socket

from model_deployment.proxy.program import ProxyProgram
from model_deployment.proxy.protocol import ProxyConfig

_log = logging.getLogger(__name__)


class EmbeddedProxy:
    """Implements :class:`~model_deployment.data_plane.member.ProxyProcess` with a task."""

    def __init__(self, config: ProxyConfig, listener: socket.socket) -> None:
        """
        Raises:
            CredentialsError, OSError, ValueError: it could not be started.
        """
        self.id = config.id
        self.pid = os.getpid()
        self._program = ProxyProgram(config, listener)
        self._task = asyncio.create_task(self._program.run(), name=f"proxy {self.id}")
        # It may end before it was given routes, and so before it began to listen.
        self._task.add_done_callback(lambda _: listener.close())

    async def ended(self) -> int | None:
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (error := self._task.exception()):
            _log.error("the proxy has failed", exc_info=error)
            return 1
        return 0

    def terminate(self) -> None:
        self._program.retire()

    def kill(self) -> None:
        self._task.cancel()

    def forget(self) -> None:
        self._task.cancel()
