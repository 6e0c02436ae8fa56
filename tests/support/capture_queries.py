"""Callers who note whose prediction arrived, and what the integration tests ask of captures."""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.audit import marked_processes, read_state
from tests.support.harness import Controller
from tests.support.waiting import until_sync

#: Seconds between an answer and the next request of a caller: while somebody waits for more of them, and
#: while a test waits for something else, which would take longer on a machine that is kept busy.
HURRY, REST = 0.002, 0.2
#: Seconds for which callers go on in a hurry: what a test does next happens in the middle of their work.
_AFTERWARDS = 0.5
#: Asks a store for the request ids of its captures.
Stored = Callable[[], Sequence[str]]


class Calls:
    """What callers saw. Each request has a name of its own."""

    def __init__(self) -> None:
        #: Names of requests whose prediction has arrived.
        self.answered: list[str] = []
        self.sent: list[str] = []
        #: Answers that are no predictions.
        self.failed: list[str] = []
        #: Calls that found no controller.
        self.unheard = 0
        self._hurry_until = time.monotonic() + _AFTERWARDS

    def hurry(self) -> None:
        """Have the callers ask as fast as they can, for a moment."""
        self._hurry_until = time.monotonic() + _AFTERWARDS

    @property
    def pause(self) -> float:
        """Seconds that a caller waits before it asks again."""
        return HURRY if time.monotonic() < self._hurry_until else REST


@contextmanager
def callers(controller: Controller, key: str, number: int = 3) -> Iterator[Calls]:
    """Some callers who ask all the time, also while there is no controller; in a hurry if they have to."""
    calls = Calls()
    over = threading.Event()

    def call(caller: int) -> None:
        with httpx.Client(
            base_url=controller.url, timeout=30, trust_env=False, verify=False
        ) as client:
            count = 0
            while not over.wait(calls.pause):
                count += 1
                name = f"caller-{caller}-{count}"
                calls.sent.append(name)
                try:
                    answer = client.post(
                        f"/{key}",
                        json={"instances": [{"x": count}]},
                        headers={"X-Request-Id": name},
                    )
                except httpx.TransportError:
                    calls.unheard += 1
                    continue
                if answer.status_code != 200:
                    calls.failed.append(f"{answer.status_code}: {answer.text}")
                else:
                    assert answer.headers["x-request-id"] == name
                    calls.answered.append(name)

    with ThreadPoolExecutor(number) as pool:
        futures = [pool.submit(call, caller) for caller in range(number)]
        try:
            yield calls
        finally:
            over.set()
        for future in futures:
            future.result()


def more(calls: Calls, number: int = 60) -> None:
    """Wait for so many more predictions."""
    wanted = len(calls.answered) + number

    def answered() -> bool:
        calls.hurry()
        return len(calls.answered) >= wanted

    until_sync(answered, timeout=30, what="predictions")


def check(calls: Calls, stored: Stored, timeout: float = 40) -> None:
    """Each prediction that arrived is in the store, once, and nothing that nobody asked for."""
    answered = set(calls.answered)

    def all_there() -> bool:
        missing = answered - {*stored()}
        assert not missing, f"{len(missing)} of {len(answered)} are missing: {sorted(missing)[:5]}"
        return True

    until_sync(all_there, timeout=timeout, interval=0.2, what="all captures to be in the store")
    doubled = [name for name, count in Counter(stored()).items() if count > 1]
    assert doubled == []
    assert {*stored()} <= {*calls.sent}


def embedded(controller: Controller) -> list[str]:
    """The captures of the embedded store."""
    file = controller.data / "documents.db"
    if not file.exists():
        return []
    query = "SELECT request_id FROM documents WHERE collection = 'captures' ORDER BY ts, id"
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return [name for (name,) in connection.execute(query)]
    except sqlite3.OperationalError as error:  # its tables are not made yet
        raise AssertionError(error) from error


def state(controller: Controller) -> Any:
    """How captures fare, as ``/ready`` has it."""
    return controller.get("/ready")["captures"]


def drains(controller: Controller) -> list[psutil.Process]:
    """The drain processes of a controller, also of one that is dead."""
    instance = read_state(controller.data / "state.db").instance
    found = []
    for one in marked_processes(instance) if instance else ():
        with suppress(psutil.Error):
            if one.launch_id.startswith("drain."):
                found.append(psutil.Process(one.pid))
    return found


def segments(controller: Controller) -> list[Path]:
    return sorted((controller.data / "spool").glob("*.seg"))
