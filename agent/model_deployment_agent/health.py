"""How the device is: figures that go with each ping."""

import contextlib
import os
import shutil
import time
from pathlib import Path


def memory(pid: int) -> int:
    """Bytes of memory of a process, shared pages in shares (PSS); 0 if it is not there."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def temperature() -> float | None:
    """Degrees Celsius of the hottest zone; None where the device does not say."""
    found: list[float] = []
    for path in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(path.read_text()) / 1000)
    return max(found, default=None)


def health(folder: Path, model_pid: int | None) -> dict[str, float | str]:
    """At most 20 numbers or short texts."""
    own = memory(os.getpid())
    model = memory(model_pid) if model_pid else 0
    figures: dict[str, float | str] = {
        "memory": own + model,
        "memory_agent": own,
        "memory_model": model,
    }
    with contextlib.suppress(OSError):
        figures["disk_free"] = shutil.disk_usage(folder).free
        figures["load"] = round(os.getloadavg()[0], 2)
    if (degrees := temperature()) is not None:
        figures["temperature"] = degrees
    figures["uptime"] = round(time.clock_gettime(time.CLOCK_BOOTTIME))
    return figures
