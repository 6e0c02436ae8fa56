"""Which warm parents there are: with scripted starters, and without any process."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from model_deployment.core.domain import Address, Handle, LaunchSpec
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, Options
from model_deployment.environments.environment import Environment
from model_deployment.runtime import identity
from model_deployment.runtime.parent_connection import ParentUnavailable
from model_deployment.runtime.parents import DIGEST, EnvironmentForks, Parents
from tests.support.waiting import until

GRACE = 0.1
HERE = Address("127.0.0.1", 7)


class ScriptedStarter:
    """Forks nothing, and remembers what it is asked for."""

    def __init__(self) -> None:
        self.wishes = 0
        self.held: set[Address] = set()
        self.exits: dict[str, int] = {}
        self.started: list[str] = []
        self.ended = self.closed = False
        self.parent_pid = 0
        self.unfit = ""
        self.end_gate = asyncio.Event()
        self.end_gate.set()

    @property
    def is_ready(self) -> bool:
        return bool(self.parent_pid)

    @property
    def is_holding(self) -> bool:
        return bool(self.held)

    def warming(self) -> bool:
        self.wishes += 1
        return False

    def holds(self, address: Address) -> bool:
        return address in self.held

    async def release(self, address: Address) -> None:
        self.held.discard(address)

    def seen(self, launch_id: str, pid: int) -> int | None:
        return self.exits.get(launch_id)

    async def start(self, spec: LaunchSpec) -> Any:
        self.started.append(spec.launch_id)
        self.held.add(spec.address)

    async def end(self) -> None:
        await self.end_gate.wait()
        self.ended = True

    async def close(self) -> None:
        self.closed = True

    async def detach(self) -> None:
        self.closed = True


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[ScriptedStarter] = []
        self.there: dict[str, Environment] = {}
        self.own = ScriptedStarter()
        forks = EnvironmentForks(folder / "worker", self._make, self.there.get)
        self.parents = Parents(cast(Any, self.own), forks, grace=GRACE)

    def _make(self, built: Environment, folder: Path) -> Any:
        assert folder == self.folder / "worker" / built.digest
        self.made.append(ScriptedStarter())
        return self.made[-1]

    def build(self, digest: str = "a", *, serves: bool = True) -> Environment:
        """An environment, whose folder is a new one."""
        place = self.folder / digest
        if place.exists():
            place.rename(self.folder / f"{digest}-before-{len(self.made)}")
        place.mkdir()
        self.there[digest] = Environment(digest, place, "3.11.7", "3.17.2", serves=serves)
        return self.there[digest]


def spec(launch_id: str = "one") -> LaunchSpec:
    return LaunchSpec(launch_id, ModelKey("m", 1), "/m", HERE, Options(EnvManager.UV))


def handle(launch_id: str, digest: str = "a", method: str = identity.FORK) -> Handle:
    return Handle(launch_id, HERE, {"method": method, DIGEST: digest})


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    await made.parents.close()


async def test_an_environment_has_one_parent_from_the_first_wish_to_the_last_launch(
    bench: Bench,
) -> None:
    built = bench.build()
    for launch_id in ("one", "two"):
        bench.parents.warming(built)
        await bench.parents.start(spec(launch_id), built)
        bench.parents.adopt(handle(launch_id))
    (starter,) = bench.made
    assert starter.started == ["one", "two"]
    await bench.parents.release(HERE)
    for launch_id in ("one", "two"):
        await asyncio.sleep(2 * GRACE)  # longer than an unused one lives
        assert not starter.ended
        bench.parents.forget(launch_id)
    await until(lambda: starter.ended)
    assert bench.parents.pids == {}


async def test_a_held_port_keeps_the_parent_for_the_next_launch(bench: Bench) -> None:
    built = bench.build()
    await bench.parents.start(spec(), built)
    (starter,) = bench.made
    await asyncio.sleep(2 * GRACE)
    assert bench.parents.holds(HERE)
    assert not starter.ended
    await bench.parents.release(HERE)
    await until(lambda: starter.ended)


async def test_the_next_parent_waits_for_the_end_of_the_one_before(bench: Bench) -> None:
    built = bench.build()
    bench.parents.warming(built)
    bench.made[0].end_gate.clear()
    await until(lambda: not bench.parents.pids)
    assert bench.parents.warming(built)
    assert len(bench.made) == 1
    bench.made[0].end_gate.set()
    await until(lambda: not bench.parents.warming(built))
    assert len(bench.made) == 2


async def test_a_launch_that_moves_gives_up_its_port_at_the_parent_before(bench: Bench) -> None:
    await bench.parents.start(spec("own"), None)
    assert bench.own.held == {HERE}
    await bench.parents.start(spec("a"), bench.build("a"))
    assert not bench.own.held
    await bench.parents.start(spec("b"), bench.build("b"))
    assert [one.held for one in bench.made] == [set(), {HERE}]
    await bench.parents.start(spec("own again"), None)
    assert bench.own.held == {HERE}
    assert not any(one.held for one in bench.made)


async def test_living_launches_have_their_parent_found_again(bench: Bench) -> None:
    bench.build()
    bench.parents.adopt(handle("one"))
    (starter,) = bench.made
    assert starter.wishes == 1
    starter.exits["one"] = -9
    assert bench.parents.seen("one", 1) == -9
    # One that MLflow's own server serves has none, and neither has one whose environment is gone.
    bench.parents.adopt(handle("two", "b", identity.SERVE))
    bench.parents.adopt(handle("three", "c"))
    assert len(bench.made) == 1


async def test_another_build_at_the_same_place_has_another_parent(bench: Bench) -> None:
    before = bench.build()
    await bench.parents.start(spec(), before)
    bench.parents.adopt(handle("one"))
    await asyncio.sleep(0)
    after = bench.build()
    await until(lambda: not bench.parents.warming(after))
    first, second = bench.made
    # What was forked from it goes on, and the next parent has it end.
    await until(lambda: first.closed)
    assert not first.ended
    assert (await bench.parents.views())[-1].launches == 1
    assert second.wishes == 1


async def test_parent_goes_on_while_its_environment_is_gone(bench: Bench) -> None:
    built = bench.build()
    await bench.parents.start(spec(), built)
    built.folder.rename(bench.folder / "away")
    found: object = bench.parents.of(built)
    assert found is bench.made[0]
    assert len(bench.made) == 1
    assert not bench.made[0].closed


async def test_what_our_server_does_not_fit_into_is_not_forked(bench: Bench) -> None:
    with pytest.raises(ParentUnavailable, match="does not fit the model's requirements"):
        await bench.parents.start(spec(), bench.build(serves=False))
    assert bench.made == []


async def test_an_environment_where_none_can_run_is_not_tried_again(bench: Bench) -> None:
    built = bench.build()
    assert bench.parents.misfit(built) == ""
    bench.parents.warming(built)
    bench.made[0].unfit = "there is no uvicorn"
    assert bench.parents.misfit(built) == "there is no uvicorn"
    await until(lambda: not bench.parents.pids)
    with pytest.raises(ParentUnavailable, match="there is no uvicorn"):
        await bench.parents.start(spec(), built)
    assert len(bench.made) == 1
    # Another build may have it.
    assert bench.parents.misfit(bench.build()) == ""


@pytest.mark.parametrize(("python", "mlflow"), [("3.8.18", "2.17.2"), ("3.11.7", "2.3.0")])
async def test_versions_that_our_server_does_not_know_are_not_tried(
    bench: Bench, python: str, mlflow: str
) -> None:
    built = replace(bench.build(), python_version=python, mlflow_version=mlflow)
    assert bench.parents.misfit(built)
    with pytest.raises(ParentUnavailable):
        await bench.parents.start(spec(), built)
    assert bench.made == []


async def test_memory_counts_until_the_parent_is_there(bench: Bench) -> None:
    assert bench.parents.missing_memory("a", 100) == 100
    bench.parents.warming(bench.build())
    assert bench.parents.missing_memory("a", 100) == 100
    bench.made[0].parent_pid = 1
    assert bench.parents.missing_memory("a", 100) == 0
