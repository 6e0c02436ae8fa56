"""The process of a run: goes behind everything else on the machine, then becomes Prefect's engine.

``python -m model_deployment_flows.service.run_process PRIORITY MEMORY_BYTES``
"""

from __future__ import annotations

import contextlib
import os
import resource
import runpy
import signal
import sys
from pathlib import Path
from types import FrameType

import psutil

from model_deployment_flows.service.options import Priority
from model_deployment_flows.service.processes import CANCEL, lower

_NICE = {Priority.IDLE: 19, Priority.LOW: 10}
#: Shares of the address space that are reserved and never written to: libraries, stacks of threads.
_ADDRESS_SPACE = 8


def main(priority: Priority, memory_bytes: int) -> None:
    """Run the flow run that ``PREFECT__FLOW_RUN_ID`` names."""
    step_back(priority)
    limit_memory(memory_bytes)
    signal.signal(CANCEL, _cancel)
    sys.argv = ["prefect.engine"]
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def _cancel(number: int, frame: FrameType | None) -> None:
    """End the run as cancelled. Prefect's engine calls a run crashed that ends by SIGTERM alone.

    What tells it of a cancellation is no public part of Prefect; without it the service corrects the state.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from prefect._internal import control_listener

        control_listener._set_intent("cancel")
    os.kill(os.getpid(), signal.SIGTERM)


def step_back(priority: Priority) -> None:
    """Lower the priority of this process, and of all that it starts, for processor, disk and memory."""
    with contextlib.suppress(OSError):  # the kernel ends this process before it ends models
        Path("/proc/self/oom_score_adj").write_text("1000")
    if priority is Priority.NORMAL:
        return
    level = _NICE[priority]
    lower(psutil.Process(), level)
    # One processor is left to others, whose wake-ups it serves without a switch from this one.
    if rest := sorted(os.sched_getaffinity(0))[1:]:
        os.sched_setaffinity(0, rest)
    with contextlib.suppress(OSError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    if priority is Priority.IDLE:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def limit_memory(memory_bytes: int) -> None:
    """Limit the memory that each process of the run may write to; 0 leaves it as it is.

    ``RLIMIT_DATA`` counts memory that can be written to. ``RLIMIT_AS`` counts mapped libraries as well.
    """
    if memory_bytes:
        for limit, size in (
            (resource.RLIMIT_DATA, memory_bytes),
            (resource.RLIMIT_AS, _ADDRESS_SPACE * memory_bytes),
        ):
            _, hard = resource.getrlimit(limit)
            wanted = size if hard == resource.RLIM_INFINITY else min(size, hard)
            resource.setrlimit(limit, (wanted, wanted))


if __name__ == "__main__":
    main(Priority(sys.argv[1]), int(sys.argv[2]))
