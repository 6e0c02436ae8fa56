"""What a proxy takes."""

from pathlib import Path

from tests.support.data_plane import proxies
from tests.support.harness import Controllers
from tests.support.marked_callers import MarkedCallers

LIMIT = 60 * 1024 * 1024


def proportional_bytes(pid: int) -> int:
    """The proportional set size, see proc_pid_smaps_rollup in proc(5)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("Pss:")]
    return int(line.split()[1]) * 1024


def test_a_proxy_stays_small_under_load(controllers: Controllers) -> None:
    controller = controllers(PROXIES=2, programs=True).up()
    controller.deploy("stub-1")
    with MarkedCallers(controller.port, "stub-1", callers=64) as callers:
        callers.more(2000)
        sizes = [proportional_bytes(process.pid) for process in proxies(controller)]
    assert len(sizes) == 2
    assert max(sizes) < LIMIT
