"""One controller per data directory: the lock holds between processes, and dies with its owner."""

import contextlib
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from model_deployment.core.errors import StateError
from model_deployment.state.database import Lock

ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from pathlib import Path
from unittest.mock import patch
from model_deployment.state.database import Lock
lock = Lock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "controller.lock"


@contextlib.contextmanager
def started(*command: str, **more: object) -> Iterator[subprocess.Popen[str]]:
    """A process that has said its first line, and is ended."""
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, **more
    )  # type: ignore[call-overload]
    try:
        assert child.stdout.readline() == "held\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def held(path: Path) -> bool:
    """Whether somebody holds the lock; if not, it is not held afterwards either."""
    lock = Lock(path)
    try:
        lock.acquire()
    except StateError:
        return True
    lock.release()
    return False


def test_another_process_is_kept_out_and_told_who_holds_it(path: Path) -> None:
    with started(sys.executable, "-c", HOLD, str(path)) as owner:
        with pytest.raises(StateError) as refused:
            Lock(path).acquire()
        assert refused.value.detail.startswith(f"cannot use the data directory {path.parent}:")
        assert f"(pid {owner.pid})" in refused.value.detail
        # Having been refused changes nothing.
        assert held(path)
        assert path.read_text() == f"{owner.pid}\n"
    assert not held(path)


def test_two_locks_of_one_process_exclude_each_other(path: Path) -> None:
    lock = Lock(path)
    lock.acquire()
    assert held(path)
    lock.release()
    lock.release()
    assert not held(path)


def test_the_file_names_its_owner_and_is_private(path: Path) -> None:
    path.write_text("a much longer text than any pid could be\n")
    lock = Lock(path)
    lock.acquire()
    try:
        assert path.read_text() == f"{os.getpid()}\n"
    finally:
        lock.release()
    path.unlink()
    lock.acquire()
    lock.release()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_holder_that_did_not_write_its_pid_is_unknown(path: Path) -> None:
    lock = Lock(path)
    lock.acquire()
    os.truncate(path, 0)
    try:
        with pytest.raises(StateError, match=r"\(pid unknown\)"):
            Lock(path).acquire()
    finally:
        lock.release()


def test_a_started_process_does_not_inherit_the_lock(path: Path) -> None:
    lock = Lock(path)
    lock.acquire()
    with started("sh", "-c", "echo held; exec cat", close_fds=False):
        lock.release()
        assert not held(path)


def test_being_refused_leaves_no_descriptor_open(path: Path) -> None:
    lock = Lock(path)
    lock.acquire()
    before = {*Path("/proc/self/fd").iterdir()}
    try:
        assert held(path)
        assert {*Path("/proc/self/fd").iterdir()} <= before
    finally:
        lock.release()


def test_a_lock_that_cannot_be_written_is_refused_and_not_held(path: Path) -> None:
    before = {*Path("/proc/self/fd").iterdir()}
    with (
        patch("os.pwrite", side_effect=OSError(errno.ENOSPC, "No space left on device")),
        pytest.raises(StateError, match="No space left on device"),
    ):
        Lock(path).acquire()
    assert {*Path("/proc/self/fd").iterdir()} <= before
    assert not held(path)


def test_a_lock_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "controller.lock"
    with pytest.raises(StateError, match="No such file") as refused:
        Lock(path).acquire()
    assert refused.value.detail.startswith(f"cannot use the data directory {path.parent}:")
