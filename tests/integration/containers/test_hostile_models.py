"""Models that do what they like: nobody else is harmed, and what they find is nothing."""

import asyncio
import json
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.domain import Handle
from model_deployment.core.options import Options
from tests.support.container_bench import ContainerBench
from tests.support.engine import TestEngine
from tests.support.waiting import until

MEGABYTE = 1024 * 1024
#: Seconds in which another model answers while a hostile one does what it can. Alone: milliseconds.
PATIENCE = 5.0


class Hostiles(ContainerBench):
    """Launches that run the program that is among their artifacts."""

    async def attack(self, program: str, **options: Any) -> Handle:
        spec = self.spec()
        self.write(spec.model_path, program)
        limits = Options(memory_limit=256 * MEGABYTE, cpu_limit=1.0)
        return await self.runtime.start(replace(spec, options=replace(limits, **options)))

    @staticmethod
    def write(model: str, program: str) -> None:
        Path(model, "program.py").write_text(program)

    async def findings(self, handle: Handle) -> Mapping[str, Any]:
        """What a program has written as JSON in its last line, once it has ended."""
        await self.ended(handle)
        found = (await self.runtime.tail(handle.launch_id, 1000)).splitlines()
        assert found[-1].startswith("{"), found[-20:]
        return dict(json.loads(found[-1]))


@pytest.fixture
async def hostiles(engine: TestEngine, tmp_path: Path) -> AsyncIterator[Hostiles]:
    root = tmp_path / "h"
    root.mkdir()
    it = Hostiles(engine, root, program="/model/program.py")
    await it.prepare()
    yield it
    await it.close()


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


DISK = """
import json, os
found = {}
for folder in ("/", "/model", "/opt/model-deployment", "/run", "/run/model-deployment", "/etc",
               "/proc", "/sys", "/var", "/stub", "/root", "/dev", "/usr/local/bin"):
    try:
        os.makedirs(folder, exist_ok=True)
        with open(folder + "/written", "wb") as file:
            file.write(b"x")
        found[folder] = "written"
    except OSError as error:
        found[folder] = error.strerror
for name in ("program.py", "stub.json"):
    for how in ("ab", "wb"):
        try:
            open("/model/" + name, how).close()
            found[name] = "opened"
        except OSError as error:
            found[name] = error.strerror
for folder in ("/tmp", "/dev/shm"):
    size = 0
    try:
        with open(folder + "/filled", "wb") as file:
            while size < 1 << 30:
                size += file.write(b"x" * (1 << 20))
                file.flush()
    except OSError as error:
        found[folder] = [error.strerror, size >> 20]
    os.unlink(folder + "/filled")
print(json.dumps(found))
"""


async def test_model_that_fills_the_disk_finds_nothing_but_a_little_memory(
    hostiles: Hostiles,
) -> None:
    handle = await hostiles.attack(DISK)
    found = dict(await hostiles.findings(handle))
    assert found.pop("/tmp") == ["No space left on device", 64]  # a quarter of its memory
    why, size = found.pop("/dev/shm")
    assert why == "No space left on device"
    assert size < 65
    assert {name: why for name, why in found.items() if "only" not in why} == {
        # Those of the kernel, which nobody can write to.
        "/proc": found["/proc"],
        "/dev": "Permission denied",
    }
    assert found["/proc"] != "written"


async def test_artifacts_of_the_controller_stay_as_they_are(hostiles: Hostiles) -> None:
    handle = await hostiles.attack(DISK)
    await hostiles.findings(handle)
    model = hostiles.root / "model-1"
    assert (model / "program.py").read_text() == DISK
    assert sorted(path.name for path in model.iterdir()) == ["program.py", "stub.json"]


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


NETWORK = """
import json, os, socket
found = {"interfaces": [name for _, name in socket.if_nameindex()], "reached": []}
for family, address in [(socket.AF_INET, (host, port)) for host in HOSTS for port in PORTS] + [
    (socket.AF_UNIX, ABSTRACT)
]:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(address)
            found["reached"].append(address)
        except OSError as error:
            found[str(address)] = error.strerror or str(error)
try:
    socket.getaddrinfo("example.org", 80)
    found["reached"].append("names")
except OSError:
    pass
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    found["reached"].append("packets")
except OSError as error:
    found["packets"] = error.strerror
# Its listening socket is of the network of the controller.
import sys
descriptor = int(sys.argv[-1])
for address in ("\\0" + "other", "/tmp/other"):
    try:
        socket.socket(fileno=os.dup(descriptor)).connect(address)
        found["reached"].append("by the listening socket")
    except OSError as error:
        found["listening"] = error.strerror
print(json.dumps(found))
"""


async def test_model_that_scans_the_network_finds_none(hostiles: Hostiles) -> None:
    own = socket.gethostbyname(socket.gethostname())
    abstract = f"\0{hostiles.instance}"
    with socket.create_server(("", 0)) as victim, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(abstract)
        unix.listen()
        hosts = ["127.0.0.1", own, "172.17.0.1", "10.0.0.1", "169.254.169.254", "192.0.2.1"]
        given = (
            f"HOSTS = {hosts!r}\nPORTS = [{victim.getsockname()[1]}, 80]\nABSTRACT = {abstract!r}\n"
        )
        handle = await hostiles.attack(given + NETWORK)
        found = await hostiles.findings(handle)
    assert found["interfaces"] == ["lo"]
    assert found["reached"] == []
    assert found["packets"] == "Operation not permitted"


SECRETS = """
import json, os, pathlib
found = {"environment": sorted(os.environ), "others": [], "files": [], "sockets": []}
for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
    try:
        if b"canary" in path.read_bytes():
            found["others"].append(str(path))
    except OSError:
        continue
found["processes"] = len([*pathlib.Path("/proc").glob("[0-9]*")])
for folder, names, files in os.walk("/"):
    if folder.startswith(("/proc", "/sys")):
        names[:] = []
        continue
    for name in files:
        path = pathlib.Path(folder, name)
        if path.is_socket():
            found["sockets"].append(str(path))
        elif "canary" in name:
            found["files"].append(str(path))
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
found |= {name: status[name].strip() for name in ("CapEff", "CapBnd", "NoNewPrivs", "Uid", "Seccomp")}
for name, do in {
    "setuid": lambda: os.setuid(0), "mknod": lambda: os.mknod("/tmp/sda", 0o60600, os.makedev(8, 0)),
    "chroot": lambda: os.chroot("/tmp"), "nice": lambda: os.nice(-5), "kill": lambda: os.kill(1, 9),
}.items():
    try:
        do()
        found[name] = "done"
    except OSError as error:
        found[name] = error.strerror
print(json.dumps(found))
"""


async def test_model_finds_no_secret_no_socket_and_no_right(
    hostiles: Hostiles, bench: ContainerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    (hostiles.root / "canary").write_text("beside the artifacts")
    await bench.serve()
    handle = await hostiles.attack(SECRETS)
    found = await hostiles.findings(handle)
    assert "GRANTED" in found["environment"]
    assert not {"AWS_SECRET_ACCESS_KEY", "DOCKER_HOST", "MODEL_DEPLOYMENT_DATA_DIR"} & {
        *found["environment"]
    }
    assert (found["others"], found["files"]) == ([], [])
    # Its own offer may still be there; no socket of another launch, and none of the engine.
    assert {*found["sockets"]} <= {"/run/model-deployment/offer.sock"}
    assert found["processes"] <= 3
    assert (found["CapEff"], found["CapBnd"]) == ("0" * 16, "0" * 16)
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    assert not {"0", str(os.getuid())} & {*found["Uid"].split()}
    assert {name: found[name] for name in ("setuid", "mknod", "chroot", "nice")} == dict.fromkeys(
        ("setuid", "mknod", "chroot", "nice"), "Operation not permitted"
    ) | {"nice": found["nice"]}
    assert found["nice"] != "done"


async def test_launches_of_one_machine_have_users_of_their_own(bench: ContainerBench) -> None:
    first, second = await bench.serve(), await bench.serve()
    users = []
    with bench.engine.client() as client:
        for handle in (first, second):
            users.append(client.api.inspect_container(handle.ref["id"])["Config"]["User"])
    assert len({*users}) == 2, users


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


LINKS = """
import json, os
found = {}
for name in sorted(os.listdir("/model")):
    try:
        with open("/model/" + name, "rb") as file:
            found[name] = len(file.read(100))
    except OSError as error:
        found[name] = error.strerror
print(json.dumps(found))
"""


async def test_links_among_artifacts_lead_nowhere_else(hostiles: Hostiles) -> None:
    secret = hostiles.root / "secret"
    secret.write_text("of the machine")
    spec = hostiles.spec()
    model = Path(spec.model_path)
    (model / "program.py").write_text(LINKS)
    (model / "absolute").symlink_to(secret)
    (model / "relative").symlink_to(f"../{secret.name}")
    (model / "folder").symlink_to("/etc")
    (model / "fine").symlink_to("program.py")
    handle = await hostiles.runtime.start(spec)
    found = await hostiles.findings(handle)
    assert found == {"fine": 100, "program.py": 100, "stub.json": 2}


async def test_files_of_a_launch_outlive_the_folder_that_they_came_from(
    bench: ContainerBench,
) -> None:
    """Another launch of the deployment gets a copy of its own, and the controller removes the first."""
    handle = await bench.serve()
    shutil.rmtree(bench.root / "model-1")
    with bench.engine.client() as client:
        container = client.containers.get(handle.ref["id"])
        assert container.exec_run(["python3", "-c", "open('/model/stub.json')"]).exit_code == 0
