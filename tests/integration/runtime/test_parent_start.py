"""How a warm parent is found or started: after another controller, or after one that died or hung."""

import asyncio
import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.options import Options, StartMethod
from model_deployment.runtime import parent_lifecycle
from model_deployment.runtime.parent_connection import ParentUnavailable
from tests.integration.runtime.conftest import PROGRAMS, ForkBench, environment, parents
from tests.integration.runtime.test_forks import ping
from tests.support.waiting import until


async def parent_comes(forks: ForkBench, but: int = 0) -> int:
    await until(lambda: forks.forks.parent_pid not in (0, but), what="the warm parent")
    return forks.forks.parent_pid


@pytest.mark.parametrize("around", ["the same", "another", "none"])
async def test_next_controller_holds_the_ports_of_running_models(
    forks: ForkBench, tmp_path: Path, around: str
) -> None:
    """Without being asked to start anything: the next event may be the end of a model."""
    handle = await forks.serve()
    first = await forks.parent()
    await forks.runtime.close()
    if around == "none":
        os.kill(first, signal.SIGKILL)
        await until(lambda: parents(tmp_path) == [])
    forks.use(preload=("string",) if around == "another" else ())
    assert forks.runtime.warming(Options())
    await until(lambda: forks.runtime.holds(handle.address.port))
    os.kill(handle.ref["pid"], signal.SIGKILL)
    await forks.ended(handle)
    assert forks.runtime.holds(handle.address.port)
    spec = replace(forks.spec(), launch_id="successor", address=handle.address)
    successor = await forks.runtime.start(spec)
    assert await ping(successor.address.port) == b"HTTP/1.1 200 OK"
    assert forks.told == []


async def test_program_that_is_served_keeps_its_socket_to_itself(forks: ForkBench) -> None:
    spec = forks.spec()
    spec = replace(spec, options=Options(start_method=StartMethod.SERVE))
    handle = await forks.runtime.start(spec)
    await until(lambda: forks.runtime.listening(handle))
    await forks.parent()
    assert not forks.runtime.holds(handle.address.port)


async def test_parent_without_ports_is_replaced_too(
    forks: ForkBench,
) -> None:
    first = await forks.parent()
    os.kill(first, signal.SIGKILL)
    await parent_comes(forks, but=first)


async def test_port_that_was_released_meanwhile_is_not_held(forks: ForkBench) -> None:
    address = forks.spec().address
    await forks.parent()
    await forks.forks.hold(address)
    await forks.runtime.close()
    forks.use(linger=5.0)
    await forks.runtime.release(address.port)
    await forks.parent()
    await until(lambda: not forks.runtime.warming(Options()))
    assert not forks.runtime.holds(address.port)


async def test_parent_that_hung_before_it_was_found_is_ended(
    forks: ForkBench, tmp_path: Path
) -> None:
    forks.use(patience=0.3)
    handle = await forks.serve()
    hung = await forks.parent()
    await forks.runtime.close()
    os.kill(hung, signal.SIGSTOP)
    forks.use(patience=0.3)
    # It is followed by another one, which takes over what goes on.
    assert await forks.parent() != hung
    assert hung not in parents(tmp_path)
    await until(lambda: forks.runtime.holds(handle.address.port))
    assert await forks.runtime.poll(handle) is None


async def test_sockets_of_other_programs_do_not_matter(
    forks: ForkBench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    forks.worker.folder.mkdir()
    monkeypatch.chdir(forks.worker.folder)  # an address has room for 108 bytes
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind("foreign.sock")
        assert await forks.parent()
    assert "cannot end the warm parent of" in caplog.text
    assert (forks.worker.folder / "foreign.sock").exists()


@pytest.mark.parametrize("adopted", [False, True])
async def test_parent_that_hangs_is_followed_by_another_at_once(
    forks: ForkBench,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    adopted: bool,
) -> None:
    """Several requests time out at once, and nothing connects to the one that is being killed."""
    monkeypatch.setattr(parent_lifecycle, "STABLE", 0.0)
    forks.use(patience=0.5)
    handle = await forks.serve()
    hung = await forks.parent()
    if adopted:
        await forks.runtime.close()
        forks.use(patience=0.5)
        assert await forks.parent() == hung
    await until(lambda: forks.runtime.holds(handle.address.port))
    os.kill(hung, signal.SIGSTOP)
    addresses = [forks.spec().address for _ in range(3)]
    asked = [forks.forks.hold(address) for address in addresses]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, ParentUnavailable) for answer in answers), answers
    assert await forks.parent() != hung
    assert parents(tmp_path) == [forks.forks.parent_pid]
    assert "models are started with" not in caplog.text
    assert (await forks.serve()).ref["method"] == "fork"


async def test_fork_whose_parent_died_before_the_answer_is_killed(
    forks: ForkBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await forks.parent()
    ask = forks.forks._client.ask

    async def lost(op: str, **more: Any) -> dict[str, Any]:
        answer = await ask(op, **more)
        if op != "start":
            return answer
        os.kill(forks.forks.parent_pid, signal.SIGKILL)
        raise ParentUnavailable("the warm parent is gone")

    monkeypatch.setattr(forks.forks._client, "ask", lost)
    handle = await forks.serve()
    assert handle.ref["method"] == "serve"
    assert [*forks.pids(handle)] == [handle.ref["pid"]]
    assert await ping(handle.address.port) == b"HTTP/1.1 200 OK"


async def test_imports_of_the_parent_delay_nothing(forks: ForkBench) -> None:
    around = {**environment(), "PYTHONPATH": str(PROGRAMS)}
    forks.use(preload=("slow_to_import",), environment=around)
    began = time.monotonic()
    assert forks.runtime.warming(Options())
    spec = forks.spec()
    await forks.runtime.release(spec.address.port)
    served = Options(start_method=StartMethod.SERVE)
    assert not forks.runtime.warming(served)
    handle = await forks.runtime.start(replace(spec, options=served))
    assert forks.runtime.warming(Options())
    assert time.monotonic() - began < 3
    forks.exited.clear()
    await until(lambda: not forks.runtime.warming(Options()))
    assert forks.exited.is_set()  # the controller is told
    assert await forks.runtime.poll(handle) is None
