"""What was measured of memory, and what the machine has."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from model_deployment.control.memory import INTERVAL, SOON, MemorySampler, reclaimable_bytes
from model_deployment.core.domain import Handle, State
from model_deployment.core.measures import Memory
from model_deployment.core.options import EnvManager, Options
from model_deployment.runtime.memory import machine_memory
from tests.support.stored import Store, opened

MB = 1024 * 1024


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(tmp_path) as it:
        yield it


async def test_what_is_measured_is_noted_and_kept_for_the_same_model(store: Store) -> None:
    looks: list[int] = []
    found = Memory(9000, 7000, 5000, forked=True)

    async def measure(handles: Sequence[Handle]) -> dict[str, Memory]:
        looks.append(len(handles))
        return {handle.launch_id: found for handle in handles}

    ready = await store.bring(State.READY)
    sampler = MemorySampler(store.launches, measure)
    for now in (0.0, 0.5):
        sampler.maybe_sample([ready], now)
        await sampler.close()
    ready = await store.reread(ready)
    assert ready.memory == 5000
    assert looks == [1]
    # From now on seldom; a small difference is not written down, and where there is no more the RSS is.
    for now, seen, expected in (
        (INTERVAL - 1, Memory(1, 1, 1), 5000),
        (INTERVAL, Memory(9000, 7000, 5100), 5000),
        (2 * INTERVAL, Memory(9000, None), 9000),
    ):
        found = seen
        sampler.maybe_sample([ready], now)
        await sampler.close()
        ready = await store.reread(ready)
        assert ready.memory == expected
    await store.deployments.want_stopped(ready.key)
    stopped = await store.end(await store.reread(ready), State.STOPPED)
    assert stopped.memory == 9000
    again, _ = await store.deployments.want_running(ready.key, Options(), ready.artifact, 9)
    assert again.memory == 9000
    await store.deployments.want_stopped(ready.key)
    await store.end(await store.reread(again), State.STOPPED)
    other, _ = await store.deployments.want_running(
        ready.key, Options(workers=2), ready.artifact, 9
    )
    assert other.memory is None


async def test_a_fork_that_was_served_otherwise_is_not_noted(store: Store) -> None:
    looks: list[int] = []

    async def measure(handles: Sequence[Handle]) -> dict[str, Memory]:
        looks.append(len(handles))
        return {handle.launch_id: Memory(9000, 7000, 5000, forked=False) for handle in handles}

    ready = await store.bring(State.READY)
    assert ready.options.forks
    sampler = MemorySampler(store.launches, measure)
    for now in (0.0, SOON, INTERVAL - 1):
        sampler.maybe_sample([ready], now)
        await sampler.close()
    assert (await store.reread(ready)).memory is None
    assert looks == [1]


async def test_what_cannot_be_forked_in_its_environment_is_measured(store: Store) -> None:
    async def measure(handles: Sequence[Handle]) -> dict[str, Memory]:
        return {handle.launch_id: Memory(9000, 7000, 5000, forked=False) for handle in handles}

    ready = await store.bring(State.READY)
    own = [replace(one, options=Options(EnvManager.UV)) for one in ready.launches]
    sampler = MemorySampler(store.launches, measure)
    sampler.maybe_sample([replace(ready, launches=tuple(own))], 0.0)
    await sampler.close()
    assert (await store.reread(ready)).memory == 7000


def test_what_is_shared_counts_where_no_parent_keeps_it() -> None:
    assert reclaimable_bytes(Memory(9, 7, 5), forks=False) == 7
    assert reclaimable_bytes(Memory(9, 7, 5), forks=True) == 5
    assert (
        reclaimable_bytes(Memory(9, None), forks=True)
        == reclaimable_bytes(Memory(9, None), forks=False)
        == 9
    )


def group(folder: Path, version: int, limit: str, used: int, cached: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = [
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ("memory.max", "memory.current", "inactive_file"),
    ][version - 1]
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {cached}\n")


def member(root: Path, line: str) -> Path:
    """The folder of control groups on a machine whose process is in this one."""
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text(f"12:cpu,cpuacct:/x\n{line}\n")
    return root / "sys/fs/cgroup"


def test_a_machine_without_limits_has_what_it_has(tmp_path: Path) -> None:
    assert machine_memory(tmp_path).available > MB
    assert machine_memory().available > 0
    top = member(tmp_path, "0::/a")
    group(top / "a", 2, "max", 7)
    assert machine_memory(tmp_path).available > MB


@pytest.mark.parametrize(
    ("version", "line", "below"),
    [(2, "0::/a/b", ""), (1, "5:memory,hugetlb:/a/b", "memory")],
)
def test_the_narrowest_limit_on_the_way_up_counts(
    tmp_path: Path, version: int, line: str, below: str
) -> None:
    top = member(tmp_path, line) / below
    group(top / "a" / "b", version, "5000", 3000, 500)
    assert machine_memory(tmp_path).available == 2500
    group(top / "a", version, "1000", 400)
    assert machine_memory(tmp_path).available == 600
    group(top / "a" / "b", version, "100", 900)
    assert machine_memory(tmp_path).available == 0


def test_the_path_of_the_host_is_not_there_in_a_container(tmp_path: Path) -> None:
    top = member(tmp_path, "0::/../docker/x")
    group(top, 2, "800", 300)
    assert machine_memory(tmp_path).available == 500
    member(tmp_path, "0::/docker/not/there")
    assert machine_memory(tmp_path).available == 500
