"""Sets up a forked process: session, descriptors, environment, title and random numbers of its own.

``/proc/<pid>/environ`` and ``cmdline`` show the memory that the kernel laid out when the parent was
started (proc_pid_environ(5)). A fork has a copy of it, and overwrites it, so that others can identify the
fork. The parent is started with padding in both places.
"""

import contextlib
import ctypes
import os
import random
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from model_deployment.worker import timed_output

#: Hold the padding of the parent.
PADDING_VARIABLE = "MODEL_DEPLOYMENT_PADDING"
PADDING_ARGUMENT = "--padding="
_PR_SET_NAME = 15
#: Descriptors that stay open in forks: leases, which are never used, and what libraries share.
_kept: set[int] = set()


def keep(descriptor: int) -> None:
    """Leave a descriptor open in forks of this process; negative: there is none."""
    _kept.add(descriptor)


def close_all_but(kept: Iterable[int]) -> None:
    keep = _kept.union(kept)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - one is that of the folder itself
        if int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))


def point_output_at(log: int) -> None:
    """Standard input from nowhere, both outputs to a file, with times."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nowhere, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    timed_output.install()


def reset_signals() -> None:
    """Handle signals as a program does that was just started."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def replace_environment(variables: Mapping[str, str], first: Iterable[str]) -> None:
    """Set these variables and no others, and show them in ``/proc``, those of ``first`` before others."""
    os.environ.clear()  # unsetenv(3) for each, so that nothing refers to the old text
    os.environ.update(variables)
    front = [name for name in first if name in variables]
    order = [*front, *(name for name in variables if name not in front)]
    start, end = _areas()[1]
    text = b""
    for name in order:
        entry = os.fsencode(f"{name}={variables[name]}") + b"\0"
        if len(text) + len(entry) <= end - start:
            text += entry
    _overwrite(start, end, text)


def set_title(title: str, name: str) -> None:
    """What ``ps`` and ``top`` show."""
    start, end = _areas()[0]
    text = os.fsencode(title)[: end - start - 2]
    # The kernel shows all of the area up to its end if that is NUL, else up to the first NUL in it.
    _overwrite(start, end, text + b"\0", last=b"\1")
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, os.fsencode(name)[:15] + b"\0", 0, 0, 0)


def _overwrite(start: int, end: int, text: bytes, last: bytes = b"\0") -> None:
    room = end - start
    if room > len(text):
        text = text + b"\0" * (room - len(text) - 1) + last
    ctypes.memmove(start, text, room)


def _areas() -> tuple[tuple[int, int], tuple[int, int]]:
    """Begin and end of the arguments, and of the environment (fields 48 to 51 of proc_pid_stat(5))."""
    text = Path("/proc/self/stat").read_text(errors="replace")
    fields = [int(value) for value in text[text.rindex(")") + 4 :].split()]
    start, end, env_start, env_end = fields[44:48]
    return (start, end), (env_start, env_end)


def raise_oom_score(value: int) -> None:
    """Make the kernel kill this process before the controller when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(min(1000, value)))


def reseed() -> None:
    """Draw other random numbers than the parent and its other children."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(int.from_bytes(os.urandom(4), "little"))
    seed = int.from_bytes(os.urandom(7), "little")
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(seed)
    if (tensorflow := sys.modules.get("tensorflow")) is not None:
        tensorflow.random.set_seed(seed)
