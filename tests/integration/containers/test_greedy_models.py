"""Models that take all they can get of processors, memory and log: nobody else is harmed."""

import asyncio
import json
import time

from model_deployment.core.domain import Handle
from tests.support.container_bench import ContainerBench
from tests.support.hostile_launches import MEGABYTE, Hostiles
from tests.support.waiting import until

#: Seconds in which another model answers while a hostile one does what it can. Alone: milliseconds.
PATIENCE = 5.0


async def slowest_answer(bench: ContainerBench, handle: Handle, seconds: float) -> float:
    """The slowest of the predictions of a model within some seconds; all have to be right."""
    end, slowest = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        began = time.monotonic()
        status, body = await asyncio.to_thread(
            bench.ask, handle, "POST", "/invocations", b'{"inputs": [7]}'
        )
        assert (status, json.loads(body)["predictions"]) == (200, [7])
        slowest = max(slowest, time.monotonic() - began)
    return slowest


FORKS = """
import os, sys
print("{}", flush=True)
while True:
    try:
        os.fork()
    except OSError:
        pass
"""


async def test_model_that_forks_for_ever_is_limited_and_can_be_killed(
    bench: ContainerBench, hostiles: Hostiles
) -> None:
    other = await bench.serve()
    bomb = await hostiles.attack(FORKS, memory_limit=128 * MEGABYTE)
    await until(lambda: hostiles.has_written(bomb, "{}"), timeout=30)
    assert await slowest_answer(bench, other, 3.0) < PATIENCE
    with hostiles.engine.client() as client:
        limit = client.api.inspect_container(bomb.ref["id"])["HostConfig"]["PidsLimit"]
    assert 0 < limit <= 2048
    if await hostiles.runtime.poll(bomb) is None:  # else its memory was used up first
        await hostiles.runtime.stop(bomb, force=True)
    await hostiles.ended(bomb)
    assert await bench.runtime.poll(other) is None


MEMORY = """
print("{}", flush=True)
held = []
while True:
    held.append(bytearray(8 * 1024 * 1024))
    for place in range(0, len(held[-1]), 4096):
        held[-1][place] = 1
"""


async def test_model_that_fills_memory_is_killed_and_told_its_limit(
    bench: ContainerBench, hostiles: Hostiles
) -> None:
    other = await bench.serve()
    greedy = await hostiles.attack(MEMORY, memory_limit=128 * MEGABYTE)
    assert await slowest_answer(bench, other, 2.0) < PATIENCE
    ended = await hostiles.ended(greedy)
    assert ended.reason == (
        "the container was killed, since it needs more memory than its memory_limit of 128 MB; deploy the "
        "model with a larger memory_limit"
    )
    assert await bench.runtime.poll(other) is None


SPAM = """
import os
line = b"x" * 8191 + b"\\n"
for _ in range(12_000):
    os.write(1, line)
os.write(1, b'\\n{}\\n')
"""


async def test_model_that_writes_without_end_fills_no_disk(hostiles: Hostiles) -> None:
    handle = await hostiles.attack(SPAM)
    folder = hostiles.engine.root / "data" / "containers" / str(handle.ref["id"])
    sizes = []

    async def ended() -> bool:
        with_logs = [path.stat().st_size for path in folder.glob("*-json.log*")]
        sizes.append(sum(with_logs))
        return await hostiles.runtime.poll(handle) is not None

    await until(ended, timeout=90, interval=0.2)
    assert max(sizes) < 25 * MEGABYTE, max(sizes)
    assert hostiles.log(handle).stat().st_size < 25 * MEGABYTE
    assert "{}" in await hostiles.runtime.tail(handle.launch_id, 3)


PROCESSORS = """
import os, threading
print("{}", flush=True)
for _ in range(16):
    if os.fork() == 0:
        while True:
            pass
while True:
    pass
"""


async def test_model_that_computes_without_end_gets_its_share(
    bench: ContainerBench, hostiles: Hostiles
) -> None:
    other = await bench.serve()
    busy = await hostiles.attack(PROCESSORS, cpu_limit=0.5)
    await until(lambda: hostiles.has_written(busy, "{}"), timeout=30)
    with hostiles.engine.client() as client:

        def used() -> float:
            stats = client.api.stats(busy.ref["id"], stream=False, one_shot=True)
            return float(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9

        before, began = used(), time.monotonic()
        assert await slowest_answer(bench, other, 3.0) < PATIENCE
        share = (used() - before) / (time.monotonic() - began)
    assert share < 0.6, share
    await hostiles.runtime.stop(busy, force=False)
    ended = await hostiles.ended(busy)
    assert ended.code is not None
