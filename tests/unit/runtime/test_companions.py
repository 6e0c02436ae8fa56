"""Companions: real processes with a marker, that outlive who started them and are found again."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_deployment.runtime import companions, identity
from model_deployment.runtime.companions import Companion
from tests.support import audit
from tests.support.waiting import until, until_sync

PROGRAM = """
import json, os, signal, socket, sys
from model_deployment.runtime.companions import read_config
config = read_config()
rest = sys.stdin.buffer.read()
if config.get("stubborn"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "fd" in config:
    socket.socket(fileno=config["fd"]).sendall(b"inherited")
said = json.dumps({"config": config, "rest": len(rest), "arguments": sys.argv[1:]})
os.write(1, f"{said}\\n".encode())  # at once, since several write to the same file
if "status" in config:
    sys.exit(config["status"])
signal.pause()
"""

#: Starts a companion, and is killed.
STARTER = """
import os, signal, sys
from pathlib import Path
from model_deployment.runtime import companions
companions.spawn(
    "drain", "program", {"x": 1}, instance=sys.argv[1], log=Path(sys.argv[2]), build="b",
    environment=os.environ,
)
os.kill(os.getpid(), signal.SIGKILL)
"""


ENVIRONMENT = {"PATH": os.defpath}


class Companions:
    """Starts companions of one instance; none outlives the test."""

    def __init__(self, folder: Path) -> None:
        self.instance = f"companions-{secrets.token_hex(4)}"
        self.log = folder / "log"
        self._started: list[Companion] = []
        (folder / "program.py").write_text(PROGRAM)

    def spawn(self, kind: str = "drain", build: str = "b", **config: Any) -> Companion:
        fds = (config["fd"],) if "fd" in config else ()
        made = companions.spawn(
            kind, "program", config, instance=self.instance, log=self.log, build=build,
            environment=ENVIRONMENT | {"PYTHONPATH": str(self.log.parent)}, pass_fds=fds,
        )  # fmt: skip
        self._started.append(made)
        return made

    def living(self, kind: str = "drain") -> list[tuple[str, int, str]]:
        return [(one.id, one.pid, one.build) for one in companions.living(self.instance, kind)]

    @property
    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().split("\n")[:-1]]

    def up(self, number: int = 1) -> None:
        until_sync(lambda: self.log.exists() and len(self.said) == number, what="a greeting")

    def close(self) -> None:
        audit.kill_all(self.instance)
        for one in self._started:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(one.pid, 0)
            one.forget()


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Companions]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    it = Companions(tmp_path)
    yield it
    it.close()


def test_companion_gets_its_configuration_and_nobody_else_sees_it(bench: Companions) -> None:
    one = bench.spawn(url="mongodb://u:hunter2@h")
    bench.up()
    assert bench.said == [{"config": {"url": "mongodb://u:hunter2@h"}, "rest": 0, "arguments": []}]
    shown = [Path(f"/proc/{one.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    assert not [text for text in shown if b"hunter2" in text]
    assert identity.marker_of(one.pid) == f"{bench.instance}/drain.{one.id}"


def test_long_configuration_arrives_whole(bench: Companions) -> None:
    bench.spawn(text="x" * 200_000)
    bench.up()
    assert bench.said[0]["config"]["text"] == "x" * 200_000


def test_companions_of_a_kind_are_listed_and_are_no_launches(bench: Companions) -> None:
    first, second = bench.spawn(build="old"), bench.spawn(build="new")
    other = bench.spawn("proxy")
    bench.up(3)
    assert bench.living() == [(first.id, first.pid, "old"), (second.id, second.pid, "new")]
    assert bench.living("proxy") == [(other.id, other.pid, "b")]
    assert not [*identity.launched_processes(bench.instance)]
    assert len([*identity.companions(bench.instance)]) == 3
    assert not companions.living(f"{bench.instance}x", "drain")


def test_companion_outlives_the_kill_of_its_parent(bench: Companions) -> None:
    command = [sys.executable, "-c", STARTER, bench.instance, str(bench.log)]
    ended = subprocess.run(command, timeout=30, check=False)
    assert ended.returncode == -signal.SIGKILL
    bench.up()
    (found,) = companions.living(bench.instance, "drain")
    assert (found.build, found.own, found.is_running()) == ("b", False, True)
    assert os.getsid(found.pid) == found.pid


async def test_end_of_an_adopted_companion_is_noticed(bench: Companions) -> None:
    one = bench.spawn()
    await asyncio.to_thread(bench.up)
    (found,) = companions.living(bench.instance, "drain")
    watch = asyncio.create_task(found.ended())
    await asyncio.sleep(0)
    found.kill()
    assert await watch is None  # not its parent
    assert await one.ended() == -signal.SIGKILL
    assert await found.ended() is None
    assert not one.is_running()


async def test_status_of_a_companion_is_told(bench: Companions) -> None:
    assert await bench.spawn(status=3).ended() == 3


async def test_companion_stops_when_it_is_asked(bench: Companions) -> None:
    one = bench.spawn()
    await asyncio.to_thread(bench.up)
    assert await one.stop(30) == -signal.SIGTERM


@pytest.mark.parametrize("suspended", [False, True])
async def test_companion_that_does_not_stop_is_killed(bench: Companions, suspended: bool) -> None:
    one = bench.spawn(stubborn=not suspended)
    await asyncio.to_thread(bench.up)
    if suspended:
        os.kill(one.pid, signal.SIGSTOP)
        await until(lambda: (seen := identity.read_process(one.pid)) and seen.stopped)
    assert await one.stop(0.1) == -signal.SIGKILL


async def test_end_is_noticed_without_a_descriptor(
    bench: Companions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: int) -> int:
        raise OSError(24, os.strerror(24))

    one = bench.spawn()
    await asyncio.to_thread(bench.up)
    monkeypatch.setattr(companions, "_LOOK", 0.01)
    with monkeypatch.context() as full:
        full.setattr(os, "pidfd_open", none_left)
        watch = asyncio.create_task(one.ended())
        await asyncio.sleep(0)
        os.kill(one.pid, signal.SIGKILL)
        assert await watch == -signal.SIGKILL


@pytest.mark.parametrize("stubborn", [False, True])
async def test_all_companions_of_a_kind_are_ended(bench: Companions, stubborn: bool) -> None:
    made = [bench.spawn(stubborn=stubborn) for _ in range(2)]
    other = bench.spawn("proxy")
    await asyncio.to_thread(bench.up, 3)
    # Beside, since a parent has to wait for its children.
    ended = asyncio.create_task(asyncio.to_thread(companions.end_all, bench.instance, "drain", 0.2))
    number = -(signal.SIGKILL if stubborn else signal.SIGTERM)
    assert [await one.ended() for one in made] == [number, number]
    assert await ended == 2
    assert other.is_running()
    assert companions.end_all(bench.instance, "drain", 0) == 0


def test_descriptors_are_inherited(bench: Companions) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        bench.spawn(fd=theirs.fileno())
        theirs.close()
        assert ours.recv(100) == b"inherited"


def test_companion_without_a_configuration_ends(bench: Companions, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "program"],
        input=b'{"x": 1',
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 1
    assert b"EOFError" in ended.stderr


def test_output_is_appended_and_is_private(bench: Companions) -> None:
    bench.spawn()
    bench.spawn()
    bench.up(2)
    assert bench.log.stat().st_mode & 0o777 == 0o600


async def test_no_companion_without_its_log(bench: Companions, tmp_path: Path) -> None:
    before = descriptors()
    bench.log = tmp_path / "missing" / "log"
    with pytest.raises(FileNotFoundError):
        bench.spawn()
    assert descriptors() == before
    assert not await asyncio.to_thread(bench.living)


def test_build_differs_with_the_configuration() -> None:
    config = {"a": 1, "b": [2]}
    assert companions.build_of(config) == companions.build_of(dict(reversed(config.items())))
    assert companions.build_of(config) != companions.build_of({**config, "b": [3]})


async def test_nothing_follows_an_awaited_end_that_was_cancelled(bench: Companions) -> None:
    one = bench.spawn()
    await asyncio.to_thread(bench.up)
    before = descriptors()
    watch = asyncio.create_task(one.ended())
    await until(lambda: descriptors() == before + 1)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    assert descriptors() == before
