"""The environment of a launch in every runtime: log, variables, folder, session, descriptors."""

import os
import socket
from pathlib import Path

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
        # A container is found by its labels. With the marker it would be taken for a local launch.
        assert (b"MODEL_DEPLOYMENT_LAUNCH=" in environment) == bench.ports
        assert b"canary" not in environment


async def test_launch_works_in_its_own_folder_and_not_in_the_models(bench: Bench) -> None:
    handle = await bench.serve()
    assert folder_of(bench.main(handle)) == bench.work


async def test_launch_leads_a_session_of_its_own(bench: Bench) -> None:
    pid = bench.main(await bench.serve())
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
        shared = open_files() & open_files(bench.main(handle))
    assert shared <= {"/dev/null"}


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def folder_of(pid: int) -> Path:
    return Path(f"/proc/{pid}/cwd").readlink()
