"""Controllers that are killed while they build leave nothing that looks whole, and nothing that goes on."""

import asyncio
import random
import subprocess
import sys

import psutil

from model_deployment.core.options import EnvManager
from model_deployment.environments import sessions
from tests.support import environment_bench
from tests.support.environment_bench import EnvironmentBench, installed
from tests.support.tiny_wheels import sdist, wheel
from tests.support.waiting import until, until_sync

KILLS = 4


def controller(bench: EnvironmentBench, name: str) -> "subprocess.Popen[bytes]":
    """Another process that builds for a model."""
    program = [sys.executable, "-m", environment_bench.__name__, str(bench.folder), name]
    return subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def programs(bench: EnvironmentBench) -> list[int]:
    """What builds below the folder of a bench have started, and still runs."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(sessions.MARKER, "").startswith(str(bench.root)):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


async def test_kill_at_any_point_leaves_a_whole_environment_or_none(
    bench: EnvironmentBench,
) -> None:
    model = bench.model("a", "learner\n")
    digest = bench.store.digest(model, EnvManager.UV)
    log, points = bench.store.log(digest), random.Random(20)
    whole = 0
    for _ in range(KILLS):
        log.unlink(missing_ok=True)
        child = controller(bench, "a")
        try:
            await until(log.exists, timeout=30)
            await asyncio.sleep(points.uniform(0.0, 0.8))  # the point, not a wait for something
        finally:
            child.kill()
            child.wait()
        bench.restart()
        found = bench.store.find(digest)
        if found is not None:
            whole += 1
            assert installed(found)["learner"] == "1.5"
        assert [path.name for path in bench.root.iterdir() if path.name == digest] == (
            [digest] if found else []
        )
        bench.store.tidy({digest} if points.random() < 0.5 else set())
        assert bench.drafts() == []
        assert programs(bench) == []
    assert whole < KILLS
    assert installed(await bench.built(model))["learner"] == "1.5"


async def test_program_that_survived_its_controller_harms_no_other_build(
    bench: EnvironmentBench,
) -> None:
    backend = (
        "import os, pathlib, sys, time\n"
        "def build_wheel(*_, **__):\n"
        "    pathlib.Path(os.environ['HOME'], 'slow').write_text('x')\n"
        "    sys.stdout = sys.stderr = None\n"
        "    time.sleep(600)\n"
    )
    archive = sdist(bench.index, "slow", "1.0", backend)
    model = bench.model("a", "slow\n")
    child = controller(bench, "a")
    slow = bench.folder / "cache/slow"
    until_sync(slow.exists, timeout=30)
    child.kill()
    child.wait()
    # The next controller builds beside it, from what is there now, and ends what is left.
    archive.unlink()
    wheel(bench.index, "slow", "1.0")
    bench.restart()
    found = await bench.built(model)
    assert installed(found)["slow"] == "1.0"
    bench.store.tidy({found.digest})
    await until(lambda: programs(bench) == [])
    assert bench.drafts() == []
    assert bench.store.find(found.digest) == found
