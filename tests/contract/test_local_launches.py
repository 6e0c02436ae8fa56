"""What is particular to launches that are processes of this machine: pids that others may get."""

import errno
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from model_deployment.core.domain import LOST, Handle
from model_deployment.core.options import Options, StartMethod
from model_deployment.runtime import identity
from tests.support.runtime_bench import Bench, make_serve, open_files


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not ours, and that leads a group of its own."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_foreign_process_with_the_same_pid_is_never_signalled(
    local_bench: Bench, victim: subprocess.Popen[bytes]
) -> None:
    handle = await local_bench.serve()
    await local_bench.runtime.stop(handle, force=True)
    await local_bench.ended(handle)
    # The victim started before the launch did, so this is surely another time than its own.
    later = handle.ref["started"] + 1
    reused = replace(handle, ref={**handle.ref, "pid": victim.pid, "started": later})
    assert await local_bench.runtime.poll(reused) == LOST
    assert not await local_bench.runtime.listening(reused)
    for force in (False, True):
        await local_bench.runtime.stop(reused, force=force)
    assert await local_bench.runtime.poll(reused) == LOST
    assert victim.poll() is None


async def test_launch_of_another_boot_is_lost_and_not_signalled(local_bench: Bench) -> None:
    handle = await local_bench.serve()
    old = replace(handle, ref={**handle.ref, "boot": "another boot"})
    assert await local_bench.runtime.poll(old) == LOST
    await local_bench.runtime.stop(old, force=True)
    assert await local_bench.runtime.poll(handle) is None
    assert await local_bench.runtime.listening(handle)


async def test_stop_reaches_a_launch_that_has_no_environment_yet(
    local_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the moment between the start of a program and its first instruction."""
    handle = await local_bench.serve()
    with monkeypatch.context() as patched:
        patched.setattr(identity, "marker_of", lambda pid: None)
        await local_bench.runtime.stop(handle, force=True)
        assert (await local_bench.ended(handle)).code == -signal.SIGKILL


async def test_identity_is_the_pid(local_bench: Bench) -> None:
    handle = await local_bench.serve()
    assert local_bench.runtime.identity(handle) == {"pid": local_bench.main(handle), "threads": 1}


@pytest.mark.parametrize("step", ["read_process", "is_running"])
async def test_launch_that_cannot_be_watched_is_ended_at_once(
    local_bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    await local_bench.ready()  # so that what is needed for all is open
    before = open_files()
    spec = local_bench.spec(ignore_sigterm=True)
    with monkeypatch.context() as patched:
        patched.setattr(identity, step, fail)
        with pytest.raises(OSError, match="Too many open files"):
            await local_bench.runtime.start(spec)
    assert local_bench.pids(Handle(spec.launch_id, spec.address)) == {}
    assert await local_bench.runtime.list() == []
    assert open_files() <= before


async def test_launch_that_wants_a_container_is_not_started_without_one(tmp_path: Path) -> None:
    bench = Bench(make_serve, tmp_path)
    spec = replace(bench.spec(), options=Options(start_method=StartMethod.CONTAINER))
    assert await bench.runtime.obstacle(spec.options) == "this controller starts no containers"
    with pytest.raises(OSError, match="starts no containers"):
        await bench.runtime.start(spec)
    assert await bench.runtime.list() == []
    await bench.close()
