"""A program that writes captures into a spool, and acknowledges each one when it is written.

    python -m tests.support.spool_writer FOLDER NAME [PLACE]

It prints the request id of each capture behind the write. With a place it kills itself before that call to
the system, counted from the first one.
"""

import fcntl
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_deployment.recording.capture import encode
from model_deployment.recording.spool import Spool

#: Some records in a segment, so that writers end them all the time.
SEGMENT_BYTES = 600
#: Records of a writer that is not killed.
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


def main() -> None:
    folder, name, *places = sys.argv[1:]
    if places:
        die_at(int(places[0]))
    spool = Spool(Path(folder), max_bytes=10**8, segment_bytes=SEGMENT_BYTES)
    spool.open()
    for number in range(NUMBER) if places else itertools.count():
        request_id = f"{name}/{number}"
        assert write(spool, request_id)
        os.write(1, f"{request_id}\n".encode())
        if number % 5 == 4:
            spool.sync()
    spool.close()


if __name__ == "__main__":
    main()
