"""Limits of a program that runs code of others for a while, and ends with the program that started it."""

import ctypes
import os
import resource
import sys

from model_deployment.worker.niceness import yield_to_others
from model_deployment.worker.process_setup import raise_oom_score

#: prctl(2); signal(7).
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_OOM_SCORE = 900


def end_with(parent: int) -> None:
    """End when the process that started this one ends; Linux only."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:  # it has ended already
        sys.exit(1)


def limit_resources(memory: int, cpu_seconds: int, file_bytes: int) -> None:
    """Yield to other processes, and never take more than this.

    Args:
        memory: bytes of data (RLIMIT_DATA).
        cpu_seconds: of all its threads together.
        file_bytes: of a file that it writes.
    """
    yield_to_others(10)
    raise_oom_score(_OOM_SCORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
