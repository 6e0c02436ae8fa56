"""The processors that this process, and those that it starts, may use."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def processors(root: Path = Path("/")) -> int:
    """How many, at least 1: by the affinity, and by the quotas of the control groups (cgroups(7)).

    ``os.cpu_count()`` counts those of the machine, also in a container that may use fewer.
    """
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([affine or 1, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield from _quotas_in(root / "sys/fs/cgroup", path, _unified)
            elif "cpu" in controllers.split(","):
                for name in ("cpu", "cpu,cpuacct"):
                    yield from _quotas_in(root / "sys/fs/cgroup" / name, path, _earlier)


def _unified(group: Path) -> float:
    quota, period = (group / "cpu.max").read_text().split()
    return int(quota) / int(period)  # "max" is no number


def _earlier(group: Path) -> float:
    quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    return int(quota) / int(period) if int(quota) > 0 else math.inf


def _quotas_in(top: Path, path: str, read: Callable[[Path], float]) -> Iterator[float]:
    # In a container the path may be that of the host, and not exist.
    folder = top if ".." in path else top / path.lstrip("/")
    for group in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError):
            quota = read(group)
            if quota < math.inf:
                yield quota
        if group == top:
            return
