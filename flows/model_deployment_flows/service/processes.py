"""Finds the processes of runs and of the server by their environment, whoever started them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from model_deployment_flows.service.prefect_environment import DATA_DIR, RUN_ID, SERVER_OF

#: Asks the process of a run to end because the run was cancelled.
CANCEL = signal.SIGUSR1


@dataclass(frozen=True, slots=True)
class RunProcess:
    run_id: str
    pid: int
    leads: bool
    """Whether it is the process that was started for the run; the others were started by that one."""
    age: float
    """When it began, in seconds since boot: a process id that was given away again has another."""


def run_processes(data_dir: Path) -> list[RunProcess]:
    """The living processes of all runs of a data directory."""
    found = []
    for process, environment in _environments(lambda text: RUN_ID.encode() in text):
        if environment.get(DATA_DIR) == str(data_dir) and SERVER_OF not in environment:
            with contextlib.suppress(ProcessLookupError, psutil.Error):
                found.append(
                    RunProcess(
                        environment[RUN_ID],
                        process.pid,
                        leads=os.getsid(process.pid) == process.pid,
                        age=process.create_time(),
                    )
                )
    return found


def servers(data_dir: Path) -> list[psutil.Process]:
    """The living servers of a data directory, at most one as a rule."""
    marker = f"{SERVER_OF}={data_dir}".encode()
    return [process for process, _ in _environments(lambda text: marker in text.split(b"\0"))]


def lower(process: psutil.Process, level: int) -> None:
    """Lower the priority of a process that leads a session; ``level`` is a nice value, 1 to 19.

    Where each session has a share of its own, the nice value counts within the session only: sched(7).
    """
    with contextlib.suppress(psutil.Error):
        process.nice(level)
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/autogroup").write_text(str(level))


def signal_run(processes: list[RunProcess], number: signal.Signals) -> None:
    """Send a signal to processes of a run; those that are gone are left out."""
    for one in processes:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(one.pid)
            if process.create_time() == one.age:
                process.send_signal(number)


def end(found: list[RunProcess], grace: float = 10.0) -> None:
    """End processes: SIGTERM to those that lead, and after ``grace`` seconds SIGKILL to all."""
    signal_run([one for one in found if one.leads] or found, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(_lives(one) for one in found):
        time.sleep(0.05)
    signal_run(found, signal.SIGKILL)


def _lives(one: RunProcess) -> bool:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(one.pid)
        return process.create_time() == one.age and process.status() != psutil.STATUS_ZOMBIE
    return False


def _environments(
    wanted: Callable[[bytes], bool],
) -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    """Processes of this user whose environment, as it was at their start, is wanted; see proc(5)."""
    me = os.getuid()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError, psutil.Error):
            if folder.stat().st_uid != me:
                continue
            text = (folder / "environ").read_bytes()
            if text and wanted(text):
                pairs = (item.partition(b"=") for item in text.split(b"\0") if item)
                values = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
                yield psutil.Process(int(folder.name)), values
