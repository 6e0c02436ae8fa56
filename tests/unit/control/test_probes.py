"""A model is blamed for what it does, and not for descriptors that its controller has run out of."""

import asyncio
import errno
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_deployment.control.probes import Prober, Target
from model_deployment.core.domain import Address, Handle
from model_deployment.core.measures import Health
from model_deployment.runtime import identity
from tests.support.stubs import HOST, Stub, Stubs
from tests.support.waiting import until


class Counting(Prober):
    """A prober that counts its rounds."""

    rounds = 0

    async def _ping(self, handle: Handle) -> bool:
        self.rounds += 1
        return await super()._ping(handle)


class Listening:
    """What tells that a launch listens, and may be out of descriptors as well."""

    error: OSError | None = None

    async def __call__(self, handle: Handle) -> bool:
        if self.error:
            raise self.error
        return True


@pytest.fixture
def listening() -> Listening:
    return Listening()


@pytest.fixture
async def prober(listening: Listening) -> AsyncIterator[Counting]:
    it = Counting(timeout=5, listening=listening)
    yield it
    await it.close()


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    with Stubs(tmp_path) as stubs:
        yield stubs.serve()


def watch(prober: Prober, stub: Stub) -> None:
    prober.watch([Target(Handle("launch", Address(HOST, stub.port)), 0.01)])


async def rounds(prober: Counting, number: int) -> None:
    """Wait until so many more have been made."""
    end = prober.rounds + number
    await until(lambda: prober.rounds >= end)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Take every descriptor there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    try:
        while True:
            try:
                taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                break
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_rounds_without_a_descriptor_do_not_count(prober: Counting, stub: Stub) -> None:
    watch(prober, stub)
    await until(lambda: prober.health("launch").healthy)
    with no_descriptors():
        await rounds(prober, 5)
        assert prober.health("launch") == Health(True, 0)
    stub.destroy()
    await until(lambda: prober.health("launch").failures >= 3)
    with no_descriptors():
        await rounds(prober, 2)
        failures = prober.health("launch").failures
        await rounds(prober, 5)
        assert prober.health("launch") == Health(False, failures)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_the_same_where_the_owner_of_the_socket_cannot_be_found(
    prober: Counting, stub: Stub, listening: Listening, number: int
) -> None:
    listening.error = OSError(number, os.strerror(number))
    watch(prober, stub)
    await rounds(prober, 3)
    assert prober.health("launch") == Health()
    listening.error = None
    await until(lambda: prober.health("launch").healthy)


def test_a_process_that_cannot_be_looked_at_is_not_taken_for_one_without_a_marker() -> None:
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        identity.marker_of(os.getpid())


async def test_a_model_that_is_gone_is_blamed(prober: Counting, stub: Stub) -> None:
    watch(prober, stub)
    await until(lambda: prober.health("launch").healthy)
    changed = asyncio.Event()
    prober._changed = changed.set
    stub.destroy()
    async with asyncio.timeout(10):
        await changed.wait()
    assert not prober.health("launch").healthy
