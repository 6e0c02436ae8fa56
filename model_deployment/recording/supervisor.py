"""A program of ours beside the controller, started again when it dies."""

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import Sequence

_log = logging.getLogger(__name__)

#: Seconds between the end of one and the start of the next, growing.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
#: Up this long, and it begins anew with the short pause.
_STABLE = 60.0
#: Seconds it may take to end once it is told to.
_GRACE = 5.0


class Supervisor:
    """Keeps one process of a module running, and tells it what to do by its standard input.

    The open pipe is also how it learns that the controller is gone, however that has ended.
    """

    def __init__(self, module: str, message: str) -> None:
        """Start nothing yet.

        Args:
            module: as in ``python -m``.
            message: one line, which may hold passwords: it is seen by nobody else.
        """
        self._command: Sequence[str] = (sys.executable, "-m", module)
        self._message = message.encode() + b"\n"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._process.pid if self._process else None

    async def run(self) -> None:
        """Keep it running until cancelled."""
        pause = _FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._run_once()
            except OSError as error:
                _log.error("cannot start %s: %s", self._command[-1], error)
            if loop.time() - began > _STABLE:
                pause = _FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _run_once(self) -> None:
        process = self._process = await self._started()
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(self._message)
                process.stdin.flush()
            status = await asyncio.to_thread(process.wait)
            _log.error("%s ended with status %s", self._command[-1], status)
        finally:
            self._process = None
            await asyncio.shield(asyncio.to_thread(_end, process))

    async def _started(self) -> "subprocess.Popen[bytes]":
        starting = asyncio.ensure_future(asyncio.to_thread(self._start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread goes on, and what it starts would be nobody's.
            with contextlib.suppress(OSError):
                await asyncio.to_thread(_end, await starting)
            raise

    def _start(self) -> "subprocess.Popen[bytes]":
        # In a session of its own: Ctrl-C in a terminal is for the controller, which ends it in its turn.
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
