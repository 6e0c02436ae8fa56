"""The warm parent: what it survives, what survives it, and when it ends."""

import json
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from model_deployment.runtime.parent_connection import ParentUnavailable
from model_deployment.worker import protocol
from tests.integration.runtime.conftest import PROGRAMS, ForkBench, environment, parents
from tests.integration.runtime.test_forks import ping
from tests.support.runtime_bench import Bench
from tests.support.waiting import until


async def test_models_outlive_the_parent_and_the_next_one_holds_their_ports(
    forks: ForkBench,
) -> None:
    handle = await forks.serve()
    first = await forks.parent()
    os.kill(first, signal.SIGKILL)
    assert await ping(handle.address.port) == b"HTTP/1.1 200 OK"
    assert await forks.runtime.poll(handle) is None
    await until(lambda: forks.forks.parent_pid not in (0, first))
    await until(lambda: forks.runtime.holds(handle.address.port))
    os.kill(handle.ref["pid"], signal.SIGKILL)
    await forks.ended(handle)
    spec = replace(forks.spec(), launch_id="successor", address=handle.address)
    successor = await forks.runtime.start(spec)
    assert await ping(successor.address.port) == b"HTTP/1.1 200 OK"
    assert forks.told == []


async def test_new_controller_finds_parent_and_held_ports(forks: ForkBench) -> None:
    handle = await forks.serve()
    first = await forks.parent()
    await forks.runtime.close()
    forks.use()
    assert await forks.parent() == first
    assert forks.runtime.holds(handle.address.port)
    assert await forks.runtime.list() == [handle]
    os.kill(handle.ref["pid"], signal.SIGKILL)
    # It is no child of this controller's, but the parent tells.
    await until(lambda: forks.forks.seen(handle.launch_id, handle.ref["pid"]) is not None)
    assert (await forks.ended(handle)).code == -signal.SIGKILL


async def test_parent_that_is_not_needed_ends(forks: ForkBench, tmp_path: Path) -> None:
    forks.use(linger=0.1)
    await forks.parent()
    assert len(parents(tmp_path)) == 1
    await forks.runtime.close()
    await until(lambda: not parents(tmp_path))
    assert not [*(tmp_path / "worker").glob("*.sock")]


async def test_parent_of_another_make_ends_with_its_last_launch(
    forks: ForkBench, tmp_path: Path
) -> None:
    handle = await forks.serve()
    old = await forks.parent()
    await forks.runtime.close()
    forks.use(preload=("string",))
    new = await forks.parent()
    assert sorted(parents(tmp_path)) == sorted([old, new])
    assert await ping(handle.address.port) == b"HTTP/1.1 200 OK"
    await forks.runtime.stop(handle, force=True)
    await forks.ended(handle)
    await until(lambda: parents(tmp_path) == [new])
    # The old one held the port until then.
    await forks.forks.hold(handle.address)


async def test_library_that_starts_threads_is_not_preloaded(forks: ForkBench) -> None:
    around = {**environment(), "PYTHONPATH": str(PROGRAMS)}
    forks.use(preload=("string", "threaded", "no_such_module", "calendar"), environment=around)
    await forks.parent()
    hello = forks.forks._client.hello
    assert hello["preloaded"] == ["string", "calendar"]
    assert hello["refused"].keys() == {"threaded", "no_such_module"}
    assert "threads" in hello["refused"]["threaded"]
    assert psutil.Process(hello["pid"]).num_threads() == 1


async def test_models_without_a_parent_are_started_by_mlflow_models_serve(
    forks: ForkBench,
) -> None:
    forks.use(python="/bin/false")
    handles = [await forks.serve() for _ in range(2)]
    for handle in handles:
        assert "stub_model_server" in next(iter(forks.pids(handle).values()))
    assert len(forks.told) == 2
    assert "cannot be used: the warm parent ended with status 1" in forks.told[0]
    with pytest.raises(ParentUnavailable):
        await forks.forks.hold(forks.spec().address)


async def test_parent_that_hangs_is_ended_and_does_not_keep_its_ports(forks: ForkBench) -> None:
    forks.use(patience=0.3)
    first = await forks.serve()
    spec = forks.spec()
    await forks.forks.hold(spec.address)
    os.kill(await forks.parent(), signal.SIGSTOP)
    handle = await forks.runtime.start(spec)
    await until(lambda: "stub: listening" in forks.log(handle).read_text())
    assert "did not answer" in forks.told[0]
    assert not forks.runtime.holds(spec.address.port)
    assert await forks.runtime.poll(first) is None


async def test_requests_that_cannot_be_understood_are_answered(forks: ForkBench) -> None:
    await forks.parent()
    with connected(forks) as own:
        lines = own.makefile("rwb")
        for said in (b"", b"nonsense", b"[]", b'{"op": "dance", "id": 4}', b'{"op": "start"}'):
            lines.write(said + b"\n")
        lines.write(protocol.encode({"op": "hello", "id": 7}))
        lines.flush()
        answers = [json.loads(lines.readline()) for _ in range(6)]
    assert all("error" in answer for answer in answers[:-1])
    assert answers[3]["id"] == 4
    assert answers[-1]["ok"]
    handle = await forks.serve()
    assert await forks.runtime.poll(handle) is None


def connected(bench: Bench) -> socket.socket:
    """Another connection to the warm parent."""
    [path] = bench.worker.folder.glob("*.sock")
    own = socket.socket(socket.AF_UNIX)
    own.settimeout(5)
    folder = os.open(path.parent, os.O_PATH)
    try:
        own.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    return own
