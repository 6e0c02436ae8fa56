"""A program that writes captures into a spool, and acknowledges each one when it is written.

    python -m tests.support.spool_writer FOLDER NAME

It prints the request id of each capture behind the write.

    python -m tests.support.spool_writer FOLDER

It reads places, one a line. For each one a fork of it writes twelve captures, and kills itself before that
call to the system, counted from the first one. The answer is a line of JSON: its exit code, and the request
ids that it printed.
"""

import fcntl
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from model_deployment.recording.capture import encode
from model_deployment.recording.spool import Spool

#: Some records in a segment, so that writers end them all the time.
SEGMENT_BYTES = 600
#: Records of a fork that is not killed.
NUMBER = 12


def write(spool: Spool, request_id: str) -> bool:
    head = {"model": "m", "version": 1, "at": 1.7e9, "launch_id": "l", "latency_ms": 1}
    head |= {"request_id": request_id, "media_type": "application/json"}
    return spool.append(encode(head, b'{"x": 1}', b'{"predictions": [1]}'))


def die_at(place: int) -> None:
    """Kill this process before one of its calls."""
    calls = itertools.count()

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if next(calls) == place:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **more)

        return call

    for module, name in (
        (os, "open"),
        (os, "writev"),
        (os, "write"),
        (os, "close"),
        (os, "fdatasync"),
        (fcntl, "flock"),
        (Path, "rename"),
    ):
        setattr(module, name, counted(getattr(module, name)))


def fill(folder: str, name: str, numbers: Iterable[int]) -> None:
    spool = Spool(Path(folder), max_bytes=10**8, segment_bytes=SEGMENT_BYTES)
    spool.open()
    for number in numbers:
        request_id = f"{name}/{number}"
        assert write(spool, request_id)
        os.write(1, f"{request_id}\n".encode())
        if number % 5 == 4:
            spool.sync()
    spool.close()


def forked(folder: str, place: int) -> tuple[int, list[str]]:
    """The exit code and what was acknowledged of a fork that kills itself."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        os.close(reader)
        os.close(writer)
        die_at(place)
        fill(folder, f"place {place}", range(NUMBER))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as acknowledged:
        names = acknowledged.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), names


def main() -> None:
    folder, *name = sys.argv[1:]
    if name:
        fill(folder, name[0], itertools.count())
    for line in sys.stdin if not name else ():
        answer = json.dumps(forked(folder, int(line)))
        os.write(1, f"{answer}\n".encode())


if __name__ == "__main__":
    main()
