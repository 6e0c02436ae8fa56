"""Launches compute with the threads, and within the memory, that their options say."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from model_deployment.core.options import Options, StartMethod
from model_deployment.runtime import identity
from model_deployment.runtime.control_groups import ControlGroups, limits_of
from tests.integration.runtime.conftest import PROGRAMS, ForkBench
from tests.support.waiting import until

MB = 1024 * 1024
WAYS = (StartMethod.FORKSERVER, StartMethod.SERVE)


def own_groups(pid: int) -> set[str]:
    return {line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()}


@pytest.fixture
def limited(forks: ForkBench) -> Options:
    options = Options(memory_limit=128 * MB, cpu_limit=1.0)
    limits = limits_of(options)
    assert limits is not None
    if why := ControlGroups(forks.instance).obstacle(limits):
        pytest.skip(why)
    return options


@pytest.mark.parametrize("way", WAYS)
async def test_threads_are_variables_of_the_process_and_kept_with_the_launch(
    forks: ForkBench, way: StartMethod
) -> None:
    spec = replace(forks.spec(), options=Options(threads=3, start_method=way), threads=3)
    handle = await forks.runtime.start(spec)
    found = identity.environment(int(handle.ref["pid"])) or b""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        assert identity.variable(found, name) == "3"
    assert forks.runtime.identity(handle)["threads"] == 3
    again = await forks.runtime.find(spec.launch_id, spec.options)
    assert again is not None
    assert forks.runtime.identity(again) == forks.runtime.identity(handle)


@pytest.mark.parametrize("way", WAYS)
async def test_a_launch_with_limits_has_control_groups_of_its_own(
    forks: ForkBench, limited: Options, way: StartMethod
) -> None:
    spec = replace(forks.spec(), options=replace(limited, start_method=way))
    assert await forks.runtime.obstacle(spec.options) == ""
    handle = await forks.runtime.start(spec)
    own = f"/{forks.instance}/{spec.launch_id}"
    pid = int(handle.ref["pid"])
    await until(lambda: any(name.endswith(own) for name in own_groups(pid)))
    assert not any(spec.launch_id in name for name in own_groups(os.getpid()))
    await forks.runtime.stop(handle, force=True)
    ended = await forks.ended(handle)
    assert "memory" not in ended.reason
    assert forks.told == []


async def test_what_needs_more_memory_is_ended_and_says_so(
    forks: ForkBench, limited: Options
) -> None:
    forks.use(PROGRAMS / "greedy.py")
    spec = replace(forks.spec(), options=limited)
    handle = await forks.runtime.start(spec)
    ended = await forks.ended(handle)
    assert ended.reason == (
        "the process was killed, since it needs more memory than its memory_limit of 128 MB; deploy the "
        "model with a larger memory_limit"
    )
    unlimited = replace(forks.spec(), options=Options())
    assert (await forks.ended(await forks.runtime.start(unlimited))).code == 0
