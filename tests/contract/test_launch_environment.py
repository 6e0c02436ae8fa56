"""The environment of a launch in every runtime: log, variables, folder, session, descriptors."""

import errno
import os
import socket
from pathlib import Path

import pytest

from model_deployment.core.domain import Handle
from model_deployment.runtime import identity
from tests.support.runtime_bench import Bench, open_files
from tests.support.stubs import HOST


async def test_output_goes_to_a_log_that_only_its_owner_reads(bench: Bench) -> None:
    handle = await bench.serve()
    log = bench.log(handle)
    assert "stub: listening" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


async def test_launch_sees_no_credentials(bench: Bench) -> None:
    handle = await bench.serve(wrapper=True)
    environments = [environment_of(pid) for pid in bench.pids(handle)]
    assert len(environments) == 2
    for environment in environments:
        assert b"MODEL_DEPLOYMENT_LAUNCH=" in environment
        assert b"canary" not in environment


async def test_launch_works_in_its_own_folder_and_not_in_the_models(bench: Bench) -> None:
    handle = await bench.serve()
    assert folder_of(handle.ref["pid"]) == bench.work


async def test_launch_leads_a_session_of_its_own(bench: Bench) -> None:
    pid = (await bench.serve()).ref["pid"]
    assert os.getsid(pid) == os.getpgid(pid) == pid != os.getsid(0)


async def test_launch_inherits_no_descriptor_of_ours(bench: Bench, tmp_path: Path) -> None:
    with (
        (tmp_path / "secret").open("w") as file,
        socket.create_server((HOST, 0)) as listener,
        socket.create_connection(listener.getsockname()) as connection,
    ):
        for ours in (file, listener, connection):
            os.set_inheritable(ours.fileno(), True)
        handle = await bench.serve()
        shared = open_files() & open_files(handle.ref["pid"])
    assert shared <= {"/dev/null"}


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def folder_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").readlink()


@pytest.mark.parametrize("step", ["read_process", "is_running"])
async def test_launch_that_cannot_be_watched_is_ended_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    await bench.ready()  # so that what is needed for all is open
    before = open_files()
    spec = bench.spec(ignore_sigterm=True)
    with monkeypatch.context() as patched:
        patched.setattr(identity, step, fail)
        with pytest.raises(OSError, match="Too many open files"):
            await bench.runtime.start(spec)
    assert bench.pids(Handle(spec.launch_id, spec.address)) == {}
    assert await bench.runtime.list() == []
    assert open_files() <= before
