"""Processes of our own beside the controller that outlive it: the drain and the proxies.

A companion has a session of its own and carries the marker of ``identity``, with an id of its kind:
``<instance>/<kind>.<id>``. Thus the next controller finds and adopts it. A second variable holds its build:
a companion whose build differs from the wanted one was started by another release, or with another
configuration.

The configuration may hold passwords, so it is neither an argument nor a part of the environment: a pipe
holds it, and has it complete before the process starts.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import model_deployment
from model_deployment.runtime import identity

#: Where a companion keeps its build.
BUILD = "MODEL_DEPLOYMENT_BUILD"
#: Seconds between two looks at a process that cannot be watched, since no descriptor is left.
_LOOK = 1.0
_SHORT = 0.02


class Companion:
    """One living companion, started by this process or by an earlier controller."""

    def __init__(
        self,
        kind: str,
        id: str,
        process: identity.Process,
        build: str,
        child: "subprocess.Popen[bytes] | None" = None,
    ) -> None:
        self.kind = kind
        #: Unique among all companions.
        self.id = id
        self.build = build
        self._process = process
        self._child = child

    def __repr__(self) -> str:
        return f"<Companion {self.kind}.{self.id} pid={self.pid}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def started(self) -> int:
        """Start time in clock ticks since boot."""
        return self._process.started

    @property
    def own(self) -> bool:
        """Whether this process started it."""
        return self._child is not None

    def is_running(self) -> bool:
        return identity.is_running(self.pid, self.started)

    async def ended(self) -> int | None:
        """Wait until the process has ended.

        Returns:
            The exit status as Python has it, negative for a signal; None if it is unknown, since an earlier
            controller started the process.
        """
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return self._status()
        except OSError:  # no descriptor is left
            while self.is_running():  # noqa: ASYNC110 - nothing tells of the end
                await asyncio.sleep(_LOOK)
            return self._status()
        loop = asyncio.get_running_loop()
        end: asyncio.Future[None] = loop.create_future()
        try:
            if self.is_running():
                loop.add_reader(descriptor, _done, end)
                await end
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return self._status()

    def terminate(self) -> None:
        """Ask the process to end (SIGTERM)."""
        identity.send_signal(self._process, signal.SIGTERM)

    def kill(self) -> None:
        """End the process (SIGKILL)."""
        identity.send_signal(self._process, signal.SIGKILL)

    async def stop(self, grace: float) -> int | None:
        """Terminate, kill after ``grace`` seconds, and wait for the end; returns as :meth:`ended`."""
        self.terminate()
        try:
            async with asyncio.timeout(grace):
                return await self.ended()
        except TimeoutError:
            self.kill()
        return await self.ended()

    def forget(self) -> None:
        """Stop being its parent: it goes on when this process ends."""
        if self._child is not None:
            self._child.returncode = self._child.poll() or 0  # no ResourceWarning
            self._child = None

    def _status(self) -> int | None:
        # The process is a zombie by now, so this takes no time.
        return self._child.wait() if self._child is not None else None


def build_of(config: Mapping[str, Any]) -> str:
    """What distinguishes companions: a digest of this package, where it is, and a configuration.

    Args:
        config: JSON-ready.
    """
    parts = [model_deployment.__version__, model_deployment.__file__, sys.executable, config]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def spawn(
    kind: str,
    module: str,
    config: Mapping[str, Any],
    *,
    instance: str,
    log: Path,
    build: str,
    environment: Mapping[str, str],
    id: str = "",
    pass_fds: Iterable[int] = (),
) -> Companion:
    """Start a companion. Takes some milliseconds.

    Args:
        kind: without a dot.
        module: as in ``python -m``. It reads its configuration with :func:`read_config`.
        config: JSON-ready.
        log: takes the output, at its end. Not a pipe, which would break with this process.
        build: as of :func:`build_of`, of whatever makes a companion outdated.
        environment: without passwords. The marks are added.
        id: chosen here if empty; without a dot.
        pass_fds: descriptors that it inherits under the same numbers.

    Raises:
        OSError: it could not be started.
    """
    id = id or secrets.token_hex(6)
    line = json.dumps(config).encode() + b"\n"
    with contextlib.ExitStack() as stack:
        stdin = stack.enter_context(os.fdopen(_pipe_with(line), "rb"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        output = stack.enter_context(os.fdopen(os.open(log, flags, 0o600), "wb"))
        child = start_program(
            module,
            stdin.fileno(),
            output.fileno(),
            {
                **environment,
                "PYTHONUNBUFFERED": "1",
                identity.MARKER: f"{instance}/{kind}{identity.DOT}{id}",
                BUILD: build,
            },
            tuple(pass_fds),
        )
    process = identity.read_process(child.pid)
    # It is not reaped yet, so it is there even if it has ended.
    assert process is not None  # noqa: S101
    return Companion(kind, id, process, build, child)


def start_program(
    module: str,
    stdin: int,
    output: int,
    environment: Mapping[str, str],
    pass_fds: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start ``python -m`` in a session of its own; see :func:`spawn`, which adds the marks.

    Raises:
        OSError: it could not be started.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        # The folder of this very package, so that both are of one version.
        cwd=Path(model_deployment.__file__).parent.parent,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def living(instance: str, kind: str) -> list[Companion]:
    """All living companions of a kind, oldest first. Reads the environment of every process.

    One that was started a moment ago, and has no environment of its own yet, is missed.

    Raises:
        OSError: no descriptor is left, so nothing is known.
    """
    found = [
        Companion(kind, id, process, identity.environment_variable(process.pid, BUILD) or "")
        for id, process in identity.companions(instance, kind)
    ]
    return sorted(found, key=lambda one: (one.started, one.pid))


def read_config() -> dict[str, Any]:
    """The configuration of this process, a companion; standard input is empty afterwards.

    Raises:
        EOFError: there is none.
    """
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        raise EOFError("cannot read the configuration: standard input ended before it")
    found: dict[str, Any] = json.loads(line)
    return found


async def until_terminated() -> None:
    """Wait until this process, a companion, is asked to end (SIGTERM)."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    await asked.wait()


def end_all(instance: str, kind: str, grace: float) -> int:
    """End all living companions of a kind, for programs without an event loop; returns how many there were.

    Args:
        grace: seconds between SIGTERM and SIGKILL.

    Raises:
        OSError: no descriptor is left, so nothing is known.
    """
    found = living(instance, kind)
    for one in found:
        one.terminate()
    end = time.monotonic() + grace
    while any(one.is_running() for one in found):
        if time.monotonic() > end:
            for one in found:
                one.kill()
        time.sleep(_SHORT)
    return len(found)


def _pipe_with(line: bytes) -> int:
    """The reading end of a pipe that holds a line, and ends behind it."""
    reading, writing = os.pipe()
    try:
        if len(line) > fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, len(line))
        os.set_blocking(writing, False)
        if os.write(writing, line) < len(line):
            raise OSError("the configuration is longer than a pipe")
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return reading


def _done(end: "asyncio.Future[None]") -> None:
    if not end.done():
        end.set_result(None)
