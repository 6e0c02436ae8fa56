"""Control groups of launches: what is written where, and what is left; and what the kernel makes of it."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model_deployment.core.domain import Exit
from model_deployment.core.options import Options, StartMethod
from model_deployment.runtime.control_groups import ControlGroups, Limits, limits_of

MB = 1024 * 1024
LIMITS = Limits(100 * MB, 0.5, 300)
KILLED = Exit("the process was killed by SIGKILL", -signal.SIGKILL)


def unified(root: Path, own: str = "service", subtree: str = "memory cpu pids") -> Path:
    """The files of a system with version 2, where the group of this process has all controllers."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"0::/{own}\n")
    top = root / "sys/fs/cgroup"
    for group in (
        top,
        top / own,
        top / own / "model_deployment",
        top / own / "model_deployment/one",
    ):
        group.mkdir(exist_ok=True, parents=True)
        (group / "cgroup.controllers").write_text("cpu memory pids\n")
        (group / "cgroup.subtree_control").write_text(f"{subtree}\n")
    return top / own / "model_deployment/one/a"


def test_limits_in_version_2(tmp_path: Path) -> None:
    group = unified(tmp_path)
    groups = ControlGroups("one", tmp_path)
    assert groups.make("a", LIMITS) == (str(group / "cgroup.procs"),)
    written = {path.name: path.read_text() for path in group.iterdir()}
    assert written == {
        "memory.max": str(100 * MB),
        "memory.swap.max": "0",
        "cpu.max": "50000 100000",
        "pids.max": "300",
    }


@pytest.mark.parametrize(
    ("limits", "files"),
    [
        (Limits(100 * MB, 0, 300), {"memory.max", "memory.swap.max", "pids.max"}),
        (Limits(0, 2, 300), {"cpu.max", "pids.max"}),
    ],
)
def test_only_what_is_asked_for_is_limited(tmp_path: Path, limits: Limits, files: set[str]) -> None:
    group = unified(tmp_path)
    ControlGroups("one", tmp_path).make("a", limits)
    assert {path.name for path in group.iterdir()} == files


def test_a_controller_in_its_own_group_beside_launches_finds_the_same_place(tmp_path: Path) -> None:
    group = unified(tmp_path)
    (tmp_path / "sys/fs/cgroup/service/model_deployment.rest").mkdir()
    (tmp_path / "proc/self/cgroup").write_text("0::/service/model_deployment.rest\n")
    assert ControlGroups("one", tmp_path).make("a", LIMITS) == (str(group / "cgroup.procs"),)


@pytest.mark.parametrize("controllers", ["", "cpu", "pids cpu"])
def test_a_system_without_the_controller_says_so(tmp_path: Path, controllers: str) -> None:
    unified(tmp_path)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text(controllers)
    why = ControlGroups("one", tmp_path).obstacle(Limits(100 * MB, 0, 300))
    assert why.startswith("cannot make a control group: the system has no controller for memory; ")
    assert "Delegate=yes" in why
    assert "start_method=container" in why


def test_a_read_only_system_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unified(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    groups = ControlGroups("one", tmp_path)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert groups.obstacle(LIMITS).startswith(
        "cannot make a control group: read-only file system; run it as a service of systemd"
    )


@pytest.mark.parametrize(
    ("gone", "events", "stopped", "said"),
    [
        (KILLED, "oom 1\noom_kill 1\n", False, True),
        (Exit("the process exited with status 137", 137), "oom_kill 2\n", False, True),
        (KILLED, "oom 0\noom_kill 0\n", False, False),
        (KILLED, "oom_kill 1\n", True, False),
        (Exit("the process exited with status 1", 1), "oom_kill 1\n", False, False),
    ],
)
def test_the_end_says_that_memory_ran_out(
    tmp_path: Path, gone: Exit, events: str, stopped: bool, said: bool
) -> None:
    group = unified(tmp_path)
    groups = ControlGroups("one", tmp_path)
    groups.make("a", LIMITS)
    (group / "memory.events").write_text(events)
    found = groups.end("a", gone, stopped=stopped)
    more = (
        "the process was killed, since it needs more memory than its memory_limit of 100 MB; deploy the "
        "model with a larger memory_limit"
    )
    assert (found.reason, found.code) == (more if said else gone.reason, gone.code)


def test_groups_are_asked_for_by_options() -> None:
    assert limits_of(Options()) is None
    assert limits_of(Options(start_method=StartMethod.CONTAINER, memory_limit=2**30)) is None
    assert limits_of(Options(memory_limit=2**30, workers=2)) == Limits(2**30, 0.0, 2112)
    assert limits_of(Options(cpu_limit=0.5)) == Limits(0, 0.5, 1088)


def test_the_kernel_ends_what_needs_more_and_leaves_no_group() -> None:
    groups = ControlGroups(f"test-{os.getpid()}")
    limits = Limits(100 * MB, 0, 300)
    if why := groups.obstacle(limits):
        pytest.skip(why)
    entered = groups.make("a", limits)
    program = f"""
for path in {entered!r}:
    open(path, "w").write("0")
print("in", flush=True)
bytearray({200 * MB})
"""
    try:
        words = [sys.executable, "-c", program]
        ended = subprocess.run(words, check=False, capture_output=True, timeout=60)
        assert ended.stdout == b"in\n"
        found = groups.end("a", Exit("", ended.returncode), stopped=False)
        assert found.code == -signal.SIGKILL
        assert "memory_limit of 100 MB" in found.reason
        groups.make("b", limits)
        groups.tidy(["c"])
        assert not [path for path in entered if Path(path).parent.parent.exists()]
    finally:
        groups.remove("a")
        groups.remove("b")
