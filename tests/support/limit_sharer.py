"""A process that shares limits, as a proxy does, with a witness of its own that uses no shared memory.

    python -m tests.support.limit_sharer FOLDER COLUMN MODE LIMIT SECONDS

It writes a line when it is ready, begins when it gets one, and answers with a line of JSON.
"""

import asyncio
import fcntl
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_deployment.proxy.shared_limits import DeploymentUsage, SharedLimits
from model_deployment.proxy.slot_queue import SlotQueue

#: Requests of one process at the same time.
REQUESTS = 4


class Witness:
    """Counts under a lock, in a file, how many processes are inside at the same time."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("r+")
        self.most = 0

    @contextmanager
    def inside(self, amount: int = 1) -> Iterator[None]:
        self.most = max(self.most, self._add(amount))
        yield
        self._add(-amount)

    def _add(self, amount: int) -> int:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        self._file.seek(0)
        now = int(self._file.read() or 0) + amount
        self._file.seek(0)
        self._file.write(f"{now:<9}")
        self._file.flush()
        fcntl.lockf(self._file, fcntl.LOCK_UN)
        return now


def add_callers(usage: DeploymentUsage, limit: int, seconds: float, witness: Witness) -> int:
    turns, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        if usage.callers.add(1, limit):
            with witness.inside():
                turns += 1
            usage.callers.subtract(1)
    return turns


def add_bytes(usage: DeploymentUsage, limit: int, seconds: float, witness: Witness) -> int:
    turns, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for size in (limit // 2, limit // 3, limit // 4):
            if usage.held.add(size, limit, 0):
                with witness.inside(size):
                    turns += 1
                usage.held.subtract(size)
    return turns


async def take_slots(usage: DeploymentUsage, limit: int, seconds: float, witness: Witness) -> int:
    queue, end = SlotQueue(usage.slots, limit), time.monotonic() + seconds

    async def keep_calling() -> int:
        turns = 0
        while time.monotonic() < end:
            async with queue:
                with witness.inside():
                    await asyncio.sleep(0)
                    turns += 1
        return turns

    return sum(await asyncio.gather(*(keep_calling() for _ in range(REQUESTS))))


def hold_all(usage: DeploymentUsage, limit: int) -> None:
    """Take everything, and keep it."""
    for _ in range(limit):
        assert usage.callers.add(1, limit)
        assert usage.queued.add(1, limit)
        assert usage.slots.take(limit)
    assert usage.held.add(limit, limit)
    assert usage.queued_bytes.add(limit, limit)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def wait_for_slot(usage: DeploymentUsage, limit: int) -> None:
    """Wait for a slot that another process has; says so in a line."""
    waiting = asyncio.create_task(SlotQueue(usage.slots, limit).acquire())
    await asyncio.sleep(0)
    tell("waiting")
    await waiting


def main() -> None:
    folder, column, mode = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    limit, seconds = int(sys.argv[4]), float(sys.argv[5])
    limits = SharedLimits.open(folder / "limits", column)
    witness, usage, turns = Witness(folder / "witness"), limits.row(3), 0
    tell("ready")
    sys.stdin.readline()
    match mode:
        case "callers":
            turns = add_callers(usage, limit, seconds, witness)
        case "bytes":
            turns = add_bytes(usage, limit, seconds, witness)
        case "slots":
            turns = asyncio.run(take_slots(usage, limit, seconds, witness))
        case "hold":
            hold_all(usage, limit)
        case "wait":
            asyncio.run(wait_for_slot(usage, limit))
    tell(json.dumps({"turns": turns, "most": witness.most}))
    sys.stdin.readline()


if __name__ == "__main__":
    main()
