"""How many workers of a launch serve: the fork that leads several workers shows it in its title.

See ``worker/multiprocess.py``. The workers of ``mlflow models serve`` cannot be counted: they run before
they have loaded the model, and are replaced silently.
"""

import re
from pathlib import Path

from model_deployment.core.domain import Handle
from model_deployment.core.measures import WorkerCounts
from model_deployment.runtime import identity

_TITLE = re.compile(r": (\d+) of (\d+) workers serve(?:; ([^\0]*))?")


def worker_counts(handle: Handle) -> WorkerCounts | None:
    """The workers of a launch; None if there is one only, the number is unknown, or the launch is gone."""
    pid, started = int(handle.ref.get("pid", -1)), int(handle.ref.get("started", -1))
    if handle.ref.get("method") != identity.FORK or handle.ref.get("boot") != identity.boot_id():
        return None
    try:
        title = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = _TITLE.search(title)
    if found is None or not identity.is_running(pid, started):
        return None
    return WorkerCounts(int(found[1]), int(found[2]), (found[3] or "").strip("\1 "))
