"""What happens to launches when the engine, the controller or an administrator does something to them."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import docker
from model_deployment.core.domain import LOST
from model_deployment.core.options import Options
from model_deployment.runtime.container.folders import LaunchFolders
from tests.support.container_bench import FOLDER, ContainerBench
from tests.support.engine import TestEngine
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def faulty(own_engine: TestEngine, tmp_path: Path) -> ContainerBench:
    it = ContainerBench(own_engine, tmp_path)
    await it.prepare()
    return it


async def test_container_that_is_removed_by_hand_is_lost(bench: ContainerBench) -> None:
    handle = await bench.serve()
    with bench.engine.client() as client:
        client.containers.get(str(handle.ref["id"])).remove(force=True)
    assert await bench.ended(handle) in (LOST, await bench.runtime.poll(handle))
    assert await bench.runtime.list() == []


async def test_container_with_the_name_of_a_launch_is_not_the_launch(bench: ContainerBench) -> None:
    handle = await bench.serve()
    with bench.engine.client() as client:
        client.containers.get(str(handle.ref["id"])).remove(force=True)
        await until(lambda: bench.runtime.poll(handle))
        foreign = client.containers.run(
            "stubs",
            ["sleep", "60"],
            name=str(handle.ref["container"]),
            network_mode="none",
            detach=True,
        )
        assert await bench.runtime.poll(handle) == LOST
        await bench.runtime.stop(handle, force=True)
        foreign.reload()
        assert foreign.status == "running"
        foreign.remove(force=True)


@pytest.mark.parametrize("own_engine", [True], indirect=True)
@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_with_live_restore_models_answer_while_the_engine_is_away(
    faulty: ContainerBench, own_engine: TestEngine, how: str
) -> None:
    handle = await faulty.serve()
    getattr(own_engine, how)()
    assert (await asyncio.to_thread(faulty.ask, handle, "GET", "/ping"))[0] == 200
    # Nothing is known of it, so it is neither given up nor started again.
    assert await faulty.runtime.poll(handle) is None

    def waits() -> bool:
        warming = faulty.runtime.warming(Options(), str(faulty.root))
        return warming and "does not answer" in faulty.runtime.warming_reason(Options())

    await until(waits, timeout=20)
    assert faulty.runtime.warming(Options(), str(faulty.root))
    with pytest.raises(OSError, match="does not answer"):
        await faulty.runtime.list()
    with pytest.raises(OSError, match="does not answer"):
        await faulty.runtime.stop(handle, force=True)
    own_engine.start()
    assert await until(faulty.runtime.list, timeout=30) == [handle]
    assert await faulty.runtime.poll(handle) is None
    assert (await asyncio.to_thread(faulty.ask, handle, "GET", "/ping"))[0] == 200
    await faulty.runtime.stop(handle, force=False)
    await faulty.ended(handle)
    await faulty.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_without_live_restore_launches_end_with_the_engine_and_their_end_is_told(
    faulty: ContainerBench, own_engine: TestEngine, how: str
) -> None:
    handle = await faulty.serve()
    getattr(own_engine, how)()
    assert await faulty.runtime.poll(handle) is None
    own_engine.start()
    ended = await faulty.ended(handle)
    assert ended.code is not None
    assert "stub: listening" in await faulty.runtime.tail(handle.launch_id, 100)
    # The next launch starts as if nothing had been.
    await faulty.prepare()
    again = await faulty.serve()
    assert await faulty.runtime.poll(again) is None
    await faulty.close()


async def test_engine_that_hangs_holds_nobody_up(
    faulty: ContainerBench, own_engine: TestEngine
) -> None:
    handle = await faulty.serve()
    loop = asyncio.get_running_loop()
    os.kill(own_engine.pid, signal.SIGSTOP)
    try:
        for allowed in (6.0, 1.5, 1.5):  # after it was slow once, nobody waits for it
            faulty.runtime._containers.outdated()  # type: ignore[attr-defined]
            began = loop.time()
            assert await faulty.runtime.poll(handle) is None
            assert loop.time() - began < allowed
        assert (await asyncio.to_thread(faulty.ask, handle, "GET", "/ping"))[0] == 200
    finally:
        os.kill(own_engine.pid, signal.SIGCONT)
    assert await until(faulty.runtime.list, timeout=30) == [handle]
    await faulty.close()


async def test_instance_without_containers_needs_no_engine(
    engine: TestEngine, tmp_path: Path
) -> None:
    bench = ContainerBench(engine, tmp_path)
    bench.runtime._engine.url = f"unix://{tmp_path}/none"  # type: ignore[attr-defined]
    assert await bench.runtime.list() == []
    await bench.runtime.tidy([])
    assert await bench.runtime.memory([]) == {}
    await bench.close()


#: A controller that is killed at a moment of the start of a launch.
CONTROLLER = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.support.engine import TestEngine
from tests.support.container_bench import ContainerBench
from model_deployment.runtime.container import engine, hand_over

moment = sys.argv[3]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

class Slow(hand_over.HandOver):
    async def _serve(self):
        await asyncio.sleep(3600)

async def main():
    bench = ContainerBench(TestEngine(Path(sys.argv[1])), Path(sys.argv[2]))
    bench.instance = sys.argv[4]
    await bench.replace_runtime()
    if moment == "before the container":
        engine.Engine.create = die
    if moment == "before its start":
        engine.Engine.start = die
    if moment == "before the hand-over":
        import model_deployment.runtime.container.runtime as runtime
        runtime.HandOver = Slow
    await bench.start()
    die()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "moment",
    ["before the container", "before its start", "before the hand-over", "after the start"],
)
async def test_next_controller_goes_on_where_one_was_killed(
    bench: ContainerBench, tmp_path: Path, moment: str
) -> None:
    root = tmp_path / "killed"
    root.mkdir()
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CONTROLLER, str(bench.engine.root), str(root), moment, bench.instance],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    await bench.runtime.close()
    (root / "logs").rename(tmp_path / "moved")
    (root / "work").rmdir()
    (tmp_path / "moved").rename(root / "left-logs")
    later = ContainerBench(bench.engine, root)
    later.instance = bench.instance
    await later.replace_runtime()
    found = await later.runtime.find("launch1", Options())
    if moment in ("before the container", "before its start"):
        assert found is None
        await later.runtime.tidy([])
        with later.engine.client() as client:
            label: dict[str, str | list[str] | bool] = {
                "label": f"model-deployment.instance={bench.instance}"
            }
            assert client.containers.list(all=True, filters=label) == []
        assert LaunchFolders(root / FOLDER).launches() == []
    else:
        assert found is not None
        # Somebody listens for callers at once, and offers the socket to the container.
        assert await later.runtime.poll(found) is None
        answer = await until(
            lambda: asyncio.to_thread(later.ask, found, "GET", "/ping"), timeout=20
        )
        assert answer[0] == 200
    await later.close()


async def test_socket_of_a_launch_is_for_its_owner_alone(bench: ContainerBench) -> None:
    handle = await bench.serve()
    folder = Path(handle.address.path).parent
    assert folder.stat().st_mode & 0o077 == 0
    assert folder.parent.stat().st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(handle.address.path)


async def test_launch_that_begins_while_the_rest_is_tidied_goes_on(
    bench: ContainerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.serve()
    begun = threading.Event()
    images = bench.runtime._images  # type: ignore[attr-defined]
    monkeypatch.setattr(images, "tidy", lambda: begun.wait(30))
    tidying = asyncio.create_task(bench.runtime.tidy([]))
    await asyncio.sleep(0)  # what is to be kept is read
    handle = await bench.serve()
    begun.set()
    await tidying
    assert await bench.runtime.poll(handle) is None
    assert (await asyncio.to_thread(bench.ask, handle, "GET", "/ping"))[0] == 200


async def test_container_without_a_folder_is_removed(bench: ContainerBench) -> None:
    """A call that the controller gave up may have made it later."""
    handle = await bench.serve()
    await bench.replace_runtime()
    shutil.rmtree(bench.root / FOLDER / handle.launch_id)
    await bench.runtime.tidy([])
    with bench.engine.client() as client, pytest.raises(docker.errors.NotFound):
        client.containers.get(str(handle.ref["id"]))


async def test_path_of_the_data_directory_may_be_longer_than_the_address_of_a_socket(
    engine: TestEngine, tmp_path: Path
) -> None:
    folder = tmp_path / ("long-" * 30)
    folder.mkdir()
    bench = ContainerBench(engine, folder)
    await bench.prepare()
    try:
        handle = await bench.serve()
        assert bench.ask(handle, "GET", "/ping")[0] == 200
        await bench.replace_runtime()
        assert await bench.runtime.listening(handle)
    finally:
        await bench.close()
