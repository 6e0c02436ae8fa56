"""Forks of the warm parent: many, each with its own chance, name, descriptors and end."""

import asyncio
import os
import re
import signal
import socket
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from model_deployment.core.domain import Exit
from model_deployment.core.measures import WorkerCounts
from model_deployment.core.options import Options
from model_deployment.runtime import identity
from model_deployment.runtime.launch_memory import measure
from model_deployment.runtime.worker_counts import worker_counts
from model_deployment.worker import socket_copy
from tests.integration.runtime.conftest import PROGRAMS, ForkBench
from tests.support.runtime_bench import open_files
from tests.support.stubs import HOST
from tests.support.waiting import until

#: By hand: FORKS=1000.
FORKS = int(os.environ.get("FORKS", "50"))


async def test_fork_after_fork_starts_and_ends(forks: ForkBench) -> None:
    forks.use(PROGRAMS / "at_once.py", preload=("numpy",))
    spec = forks.spec()
    for number in range(FORKS):
        handle = await forks.runtime.start(replace(spec, launch_id=f"many{number}"))
        ended = await forks.ended(handle)
        assert ended == Exit("the process exited with status 0", 0)
    assert forks.told == []


async def test_forks_draw_different_random_numbers(forks: ForkBench) -> None:
    forks.use(PROGRAMS / "draws.py", preload=("random", "numpy"))
    drawn: list[str] = []
    for _ in range(3):
        handle = await forks.start()
        assert await forks.ended(handle) == Exit("the process exited with status 0", 0)
        drawn += forks.log(handle).read_text().splitlines()[1:]
    assert len(drawn) == 9
    assert len(set(drawn)) == 9


async def test_fork_has_its_own_descriptors_and_no_other(forks: ForkBench) -> None:
    first, second = await forks.serve(), await forks.serve()
    own = open_files(second.ref["pid"])
    files = {name for name in own if not name.startswith("socket:")}
    assert files == {"/dev/null", str(forks.log(second))}
    assert len(own - files) == 1  # the socket it listens with
    assert not open_files(first.ref["pid"]) & own - {"/dev/null"}
    # What it shares with the parent is that socket.
    assert open_files(await forks.parent()) & own - {"/dev/null"} == own - files


async def test_fork_is_identified_by_title_name_and_environment(forks: ForkBench) -> None:
    handle = await forks.serve()
    process = Path("/proc", str(handle.ref["pid"]))
    assert (process / "cmdline").read_bytes() == b"mlflow models serve stub-1\0"
    assert (process / "comm").read_text() == "stub-1\n"
    own, its = (Path(f"/proc/{pid}/oom_score_adj") for pid in ("self", handle.ref["pid"]))
    assert int(its.read_text()) == min(1000, int(own.read_text()) + 300)
    first = forks.log(handle).read_text().splitlines()[0]
    assert re.fullmatch(r"\S+Z \$ # a fork of the warm parent \d+: stub-1", first)
    shown = identity.environment_variable(
        handle.ref["pid"], "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT"
    )
    assert shown == "60"
    assert identity.environment_variable(handle.ref["pid"], "MODEL_DEPLOYMENT_PADDING") is None
    taken = measure(forks.instance, [handle])[handle.launch_id]
    assert taken.forked
    assert taken.uss is not None
    assert taken.uss < taken.rss


async def test_request_to_a_dead_model_is_answered_by_its_successor(forks: ForkBench) -> None:
    spec = forks.spec()
    handle = await forks.runtime.start(spec)
    os.kill(handle.ref["pid"], signal.SIGKILL)
    await forks.ended(handle)
    assert forks.runtime.holds(spec.address.port)
    waiting = asyncio.create_task(ping(spec.address.port))
    with socket.socket() as stranger:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            stranger.setsockopt(socket.SOL_SOCKET, option, 1)
        with pytest.raises(OSError, match="in use"):
            stranger.bind((HOST, spec.address.port))
    await forks.runtime.start(replace(spec, launch_id="successor"))
    assert await waiting == b"HTTP/1.1 200 OK"


async def test_socket_that_a_process_shuts_down_listens_again(
    forks: ForkBench,
) -> None:
    handle = await forks.serve()
    address = (handle.address.host, handle.address.port)
    shared = socket_copy.listener([handle.ref["pid"]], address)
    assert shared is not None
    with shared:
        shared.shutdown(socket.SHUT_RDWR)
    await forks.runtime.stop(handle, force=True)
    await forks.ended(handle)
    spec = replace(forks.spec(), launch_id="successor", address=handle.address)
    await forks.runtime.start(spec)
    assert await ping(handle.address.port) == b"HTTP/1.1 200 OK"


async def test_port_is_held_until_it_is_released(forks: ForkBench) -> None:
    address = forks.spec().address
    await forks.parent()
    for _ in range(2):
        await forks.forks.hold(address)
    assert forks.runtime.holds(address.port)
    for _ in range(2):
        await forks.runtime.release(address.port)
    assert not forks.runtime.holds(address.port)
    with socket.create_server((HOST, address.port)), pytest.raises(OSError, match="in use"):
        await forks.forks.hold(address)


async def test_several_workers_share_a_port_and_replace_each_other(forks: ForkBench) -> None:
    spec = replace(forks.spec(), options=Options(workers=2))
    handle = await forks.runtime.start(spec)
    await until(lambda: len(forks.pids(handle)) == 3)
    leader = handle.ref["pid"]
    workers = forks.pids(handle).keys() - {leader}
    assert {os.getpgid(pid) for pid in workers} == {leader}
    await until(lambda: worker_counts(handle) == WorkerCounts(2, 2))
    victim = workers.pop()
    os.kill(victim, signal.SIGKILL)
    await until(lambda: len(forks.pids(handle)) == 3 and victim not in forks.pids(handle))
    await until(lambda: worker_counts(handle) == WorkerCounts(2, 2))
    assert {psutil.Process(pid).name() for pid in workers} == {"stub-1"}
    assert await forks.runtime.poll(handle) is None
    os.kill(leader, signal.SIGKILL)
    assert (await forks.ended(handle)).code == -signal.SIGKILL
    assert forks.pids(handle) == {}
    assert worker_counts(handle) is None


async def test_workers_end_when_they_are_asked(forks: ForkBench) -> None:
    spec = replace(forks.spec(), options=Options(workers=2))
    handle = await forks.runtime.start(spec)
    await until(lambda: forks.log(handle).read_text().count("stub: listening") == 2)
    await forks.runtime.stop(handle, force=False)
    assert await forks.ended(handle) == Exit("the process exited with status 0", 0)


async def ping(port: int) -> bytes:
    """The first line of an answer, however long it takes."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"GET /ping HTTP/1.1\r\nHost: model\r\n\r\n")
    try:
        return (await reader.readline()).rstrip()
    finally:
        writer.close()
        await writer.wait_closed()
