"""Has a process yield the processor to those that answer requests.

Kernels give each session an equal share of the processor (``sched_autogroup``, on in most distributions):
there niceness counts between processes of one session only, and each companion is a session of its own. So
the niceness of the session is raised too.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

#: The highest that there is.
_MOST = 19
#: Without privileges, one process of a machine may change that of a session each tenth of a second.
_TRIES, _PAUSE = 20, 0.05


def yield_to_others(steps: int, process: int = 0) -> None:
    """Raise the niceness of a process, and of the session that it leads. May block for a second.

    Args:
        steps: by how much.
        process: its id; 0 is this one.
    """
    wanted = min(os.getpriority(os.PRIO_PROCESS, process) + steps, _MOST)
    os.setpriority(os.PRIO_PROCESS, process, wanted)
    leader = process or os.getpid()
    if os.getsid(leader) == leader:
        _yield_session(Path(f"/proc/{leader}/autogroup"), wanted)


def _yield_session(group: Path, wanted: int) -> None:
    for _ in range(_TRIES):
        try:
            group.write_text(str(wanted))
        except BlockingIOError:
            time.sleep(_PAUSE)
        except OSError:  # a kernel without such groups has no such file
            return
        else:
            return
