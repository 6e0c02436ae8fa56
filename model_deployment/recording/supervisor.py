"""Keeps a process of ours running beside the controller."""

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import Process

_log = logging.getLogger(__name__)

#: Seconds between the end of one process and the start of the next; each pause is twice the one before.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
#: Seconds after which a process counts as stable: the next pause is the first one again.
_STABLE = 60.0
#: Seconds that a process may take to end after its standard input is closed.
_GRACE = 5.0


class Supervisor:
    """Starts one module again whenever its process ends.

    The process reads its configuration from standard input. The pipe stays open, so its end tells the
    process that the controller is gone, however the controller ended.
    """

    def __init__(self, module: str, message: str) -> None:
        """Remember what to start.

        Args:
            module: as in ``python -m``.
            message: the configuration, one line. It may hold passwords, so it is no argument.
        """
        self._module = module
        self._message = message.encode() + b"\n"
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def run(self) -> None:
        """Keep the process running until cancelled; then end it."""
        pause = _FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._run_once()
            except OSError as error:
                _log.error("cannot start %s: %s", self._module, error)
            if loop.time() - began > _STABLE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _run_once(self) -> None:
        # In a session of its own: Ctrl-C in a terminal reaches the controller only, which ends the process.
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            process.stdin.write(self._message)
            _log.error("%s ended with status %s", self._module, await process.wait())
        finally:
            self._process = None
            await asyncio.shield(_end(process))


async def _end(process: Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_GRACE):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
