"""Who a process is: real processes, living, dead and mistaken for each other."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from model_deployment.runtime import identity
from model_deployment.runtime.identity import ENDPOINT, MARKER, Process
from tests.support import audit
from tests.support.waiting import until_sync

SLEEP: Sequence[str | bytes] = (shutil.which("sleep") or "sleep", "300")
#: Above the kernel's PID_MAX_LIMIT, so nobody's.
NOBODY = 4194305


class Family(contextlib.ExitStack):
    """Processes of a test; none outlives it."""

    def __init__(self) -> None:
        super().__init__()
        self.instance = f"identity-{secrets.token_hex(4)}"

    def start(
        self,
        launch_id: str | None = None,
        command: Sequence[str | bytes] = SLEEP,
        environment: Mapping[str, str] | None = None,
        **more: Any,
    ) -> subprocess.Popen[bytes]:
        """A process, marked as one of a launch if that is named."""
        marker = {MARKER: f"{self.instance}/{launch_id}"} if launch_id is not None else {}
        child = subprocess.Popen(
            command, env={"PATH": os.defpath, **marker, **(environment or {})}, **more
        )
        self.callback(_end, child)
        # For a moment after the exec a process has no environment yet.
        until_sync(Path(f"/proc/{child.pid}/environ").read_bytes, what="its environment")
        return child

    def members(self, launch_id: str, group: int) -> set[int]:
        """The pids that are found."""
        found = identity.members(self.instance, launch_id, group)
        assert len(found) == len({process.pid for process in found})
        return {process.pid for process in found}


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait(timeout=10)
    if child.stdout:
        child.stdout.close()


@pytest.fixture
def family() -> Iterator[Family]:
    with Family() as family:
        try:
            yield family
        finally:
            audit.kill_all(family.instance)


def seen(child: subprocess.Popen[bytes]) -> Process:
    process = identity.read_process(child.pid)
    assert process is not None
    return process


def make_zombie(child: subprocess.Popen[bytes]) -> None:
    """End a child and wait for its end, without reaping it."""
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def test_boot_id_is_constant() -> None:
    assert len(identity.boot_id()) == 36
    assert identity.boot_id() == identity.boot_id()


def test_read_process_finds_itself() -> None:
    me = identity.read_process(os.getpid())
    assert me is not None
    assert (me.pid, me.group, me.session) == (os.getpid(), os.getpgrp(), os.getsid(0))
    assert not me.zombie


def test_read_process_has_group_and_session(family: Family) -> None:
    leader, follower = family.start(start_new_session=True), family.start(process_group=0)
    assert (seen(leader).group, seen(leader).session) == (leader.pid, leader.pid)
    assert (seen(follower).group, seen(follower).session) == (follower.pid, os.getsid(0))
    assert seen(leader).started <= seen(follower).started


@pytest.mark.parametrize("pid", [NOBODY, 0, -1])
def test_read_process_without_a_process_is_none(pid: int) -> None:
    assert identity.read_process(pid) is None
    assert not identity.is_running(pid, 0)
    assert identity.marker_of(pid) is None


@pytest.mark.parametrize(
    "name", [b"a b", b") S 1 (", b"((((", b"\xff\xfe", b"line\nline", "\u6a21\u578b".encode()]
)
def test_odd_command_name_does_not_mislead_read_process(
    family: Family, tmp_path: Path, name: bytes
) -> None:
    program = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118 - names no str can hold
    os.symlink(SLEEP[0], program)  # noqa: PTH211
    child = family.start("launch", [program, "300"], start_new_session=True)
    assert (seen(child).group, seen(child).zombie) == (child.pid, False)
    assert identity.is_running(child.pid, seen(child).started)
    assert family.members("launch", child.pid) == {child.pid}


def test_same_pid_with_another_start_time_is_another_process(family: Family) -> None:
    child = family.start()
    started = seen(child).started
    assert identity.is_running(child.pid, started)
    assert not identity.is_running(child.pid, started + 1)
    assert not identity.is_running(child.pid, started - 1)


def test_zombie_does_not_run(family: Family) -> None:
    child = family.start("launch")
    started = seen(child).started
    make_zombie(child)
    assert seen(child) == Process(child.pid, started, os.getpgrp(), os.getsid(0), zombie=True)
    assert not identity.is_running(child.pid, started)
    assert identity.marker_of(child.pid) is None
    child.wait()
    assert identity.read_process(child.pid) is None
    assert not identity.is_running(child.pid, started)


def test_marker_is_that_of_the_initial_environment(family: Family) -> None:
    child = family.start("launch", environment={ENDPOINT: "127.0.0.1:8001"})
    assert identity.marker_of(child.pid) == f"{family.instance}/launch"
    assert identity.environment_variable(child.pid, ENDPOINT) == "127.0.0.1:8001"
    assert identity.environment_variable(child.pid, "ABSENT") is None


def test_marker_is_the_whole_of_one_variable(family: Family) -> None:
    child = family.start(
        environment={"OTHER": f"{MARKER}=x/y", f"X{MARKER}": "x/y", f"{MARKER}ED": "x/y"}
    )
    assert identity.marker_of(child.pid) is None
    child = family.start(environment={MARKER: "a=b/c=d \udcff"})
    assert identity.marker_of(child.pid) == "a=b/c=d \ufffd"


def test_launched_processes_are_the_living_ones_of_an_instance(family: Family) -> None:
    one, two = family.start("one"), family.start("two")
    dead = family.start("dead")
    make_zombie(dead)
    for stranger in ("", f"{family.instance}/", f"{family.instance}x/one", "one", family.instance):
        family.start(environment={MARKER: stranger})
    family.start()
    assert {*identity.launched_processes(family.instance)} == {
        ("one", seen(one)),
        ("two", seen(two)),
    }


def test_members_are_found_by_their_marker_wherever_they_went(family: Family) -> None:
    # The shell's child leads a session of its own; the shell stays to reap it.
    leader = family.start(
        "launch",
        ["sh", "-c", "setsid sleep 300 & echo $!; wait"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert leader.stdout is not None
    grandchild = int(leader.stdout.readline())
    command = Path(f"/proc/{grandchild}/cmdline")
    until_sync(lambda: command.read_bytes().startswith(b"sleep"), what="the grandchild")
    family.start("other", start_new_session=True)
    family.start(start_new_session=True)
    try:
        process = identity.read_process(grandchild)
        assert process is not None
        assert process.session == grandchild != leader.pid
        assert family.members("launch", leader.pid) == {leader.pid, grandchild}
    finally:
        os.kill(grandchild, signal.SIGKILL)
        assert leader.wait(timeout=10) == 0


def test_members_are_found_when_the_leader_is_gone(family: Family) -> None:
    leader = family.start("launch", start_new_session=True)
    worker = family.start("launch", start_new_session=True)
    make_zombie(leader)
    assert family.members("launch", leader.pid) == {worker.pid}
    leader.wait()
    assert family.members("launch", leader.pid) == {worker.pid}


def test_members_without_a_marker_are_found_by_their_group(family: Family) -> None:
    leader = family.start("launch", process_group=0)
    unmarked = family.start(process_group=leader.pid)
    family.start(process_group=0)
    assert family.members("launch", leader.pid) == {leader.pid, unmarked.pid}
    make_zombie(unmarked)
    assert family.members("launch", leader.pid) == {leader.pid}


def test_group_without_a_marked_process_is_foreign(family: Family) -> None:
    # Its number was given out again: nothing in it is the launch's.
    stranger = family.start(process_group=0)
    away = family.start("launch", start_new_session=True)
    assert family.members("launch", stranger.pid) == {away.pid}
    assert family.members("gone", stranger.pid) == set()


def test_marked_zombie_does_not_vouch_for_its_group(family: Family) -> None:
    leader = family.start("launch", process_group=0)
    family.start(process_group=leader.pid)
    make_zombie(leader)
    assert family.members("launch", leader.pid) == set()


def test_members_of_another_instance_are_foreign(family: Family) -> None:
    child = family.start(environment={MARKER: "another/launch"}, process_group=0)
    assert family.members("launch", child.pid) == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signal_reaches_the_process_it_is_for(family: Family, number: signal.Signals) -> None:
    child, bystander = family.start(), family.start()
    identity.send_signal(seen(child), number)
    assert child.wait(timeout=10) == -number
    assert identity.is_running(bystander.pid, seen(bystander).started)


@pytest.mark.parametrize("off", [-1, 1])
def test_signal_never_reaches_another_process_with_the_same_pid(family: Family, off: int) -> None:
    child = family.start()
    process = seen(child)
    stranger = Process(process.pid, process.started + off, process.group, process.session, False)
    identity.send_signal(stranger, signal.SIGKILL)
    # Had it been hit, it would have died of that one.
    identity.send_signal(process, signal.SIGTERM)
    assert child.wait(timeout=10) == -signal.SIGTERM


def test_signal_to_an_ended_process_is_no_error(family: Family) -> None:
    child = family.start()
    process = seen(child)
    make_zombie(child)
    identity.send_signal(process, signal.SIGTERM)
    child.wait()
    identity.send_signal(process, signal.SIGTERM)
    identity.send_signal(Process(NOBODY, 1, 1, 1, False), signal.SIGTERM)


def test_process_that_ends_between_check_and_signal_is_no_error(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = family.start()
    process = seen(child)
    opened = os.pidfd_open

    def end_then_open(pid: int) -> int:
        descriptor = opened(pid)
        child.kill()
        child.wait()
        return descriptor

    monkeypatch.setattr(os, "pidfd_open", end_then_open)
    monkeypatch.setattr(identity, "is_running", lambda *_: True)  # it was, a moment ago
    identity.send_signal(process, signal.SIGTERM)
    assert child.returncode == -signal.SIGKILL


def test_signals_leave_no_descriptors_open(family: Family) -> None:
    child = family.start()
    process = seen(child)
    before = {*Path("/proc/self/fd").iterdir()}
    identity.send_signal(process, signal.SIGCONT)
    identity.send_signal(Process(process.pid, 0, 0, 0, False), signal.SIGCONT)
    assert {*Path("/proc/self/fd").iterdir()} <= before
