"""What launches wait for, what they are told, and what is kept: with a scripted store."""

import asyncio
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, Options, StartMethod
from model_deployment.environments.environment import BuildFailed, Building, Environment, Failed
from model_deployment.runtime.base import StartFailed
from model_deployment.runtime.environment_views import BuildState
from model_deployment.runtime.model_environments import ModelEnvironments
from tests.support.scripted_environments import ScriptedParents, ScriptedStore

UV = EnvManager.UV
OPTIONS = Options(UV)
KEYS = [ModelKey("m", number) for number in range(1, 9)]
CONFLICT = BuildFailed("a needs b<2, and c needs b>2", permanent=True)
AWAY = BuildFailed("the index does not answer", permanent=False)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.store, self.parents = ScriptedStore(folder), ScriptedParents()
        self.told: list[tuple[ModelKey, str]] = []
        self.environments = self.restarted()

    def restarted(self, grace: float = 0.0) -> ModelEnvironments:
        """Those of the next controller."""
        return ModelEnvironments(
            self.store, cast(Any, self.parents), lambda *note: self.told.append(note), grace
        )

    def warming(self, model: str = "a", *, forks: bool = True) -> bool:
        return self.environments.warming(OPTIONS, Path(model), forks=forks)

    def take(self, key: ModelKey = KEYS[0], model: str = "a") -> Environment:
        return self.environments.take(key, OPTIONS, Path(model))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_launch_waits_for_the_build_and_then_for_the_parent(bench: Bench) -> None:
    assert bench.warming()
    assert bench.environments.waits_for(OPTIONS, Path("a")) == "its environment: resolving"
    assert bench.parents.wanted == []
    bench.store.finish("a")
    bench.parents.waits = True
    assert bench.warming()
    assert "the warm parent" in bench.environments.waits_for(OPTIONS, Path("a"))
    bench.parents.waits = False
    assert not bench.warming()
    assert bench.take().digest == "a"
    assert bench.store.builds == 1


@pytest.mark.parametrize(("serves", "forks"), [(False, True), (True, False)])
def test_no_parent_is_started_where_none_forks(bench: Bench, serves: bool, forks: bool) -> None:
    bench.store.finish("a", serves=serves)
    assert not bench.warming(forks=forks)
    assert bench.parents.wanted == []


@pytest.mark.parametrize("error", [CONFLICT, AWAY])
def test_all_that_waited_fail_with_the_one_build(bench: Bench, error: BuildFailed) -> None:
    models = [f"a{number}" for number in range(8)]
    assert [bench.warming(model) for model in models] == [True] * 8
    bench.store.states["a"] = Failed(error)
    for key, model in zip(KEYS, models, strict=True):
        assert not bench.warming(model)
        with pytest.raises(StartFailed, match=str(error)) as failed:
            bench.take(key, model)
        assert failed.value.permanent == error.permanent
    assert bench.store.builds == 1
    # The next try is one for all of them, too.
    assert [bench.warming(model) for model in models] == [True] * 8
    assert bench.store.builds == 2


def test_who_comes_later_has_a_failed_build_tried_again(bench: Bench) -> None:
    bench.warming("a1")
    bench.store.states["a"] = Failed(AWAY)
    with pytest.raises(StartFailed):
        bench.take(model="a1")
    assert bench.warming("a2")
    assert bench.store.builds == 2


def test_events_tell_once_where_an_environment_is_from(bench: Bench) -> None:
    bench.warming()
    bench.store.finish("a")
    for key in (*KEYS[:2], *KEYS[:2]):
        bench.warming()
        bench.take(key)
    (first, built), (second, shared) = bench.told
    assert (first, second) == (KEYS[0], KEYS[1])
    assert built.startswith("the environment a (Python 3.11.7, MLflow 2.22.0) was built in ")
    assert shared.endswith("was there already, and is shared by models with the same needs")
    del bench.store.states["a"]
    bench.warming()
    bench.store.finish("a")
    bench.warming()
    bench.take(KEYS[1])
    assert "was rebuilt, since it was gone, in" in bench.told[-1][1]
    assert len(bench.told) == 3


def test_build_that_a_start_had_begun_is_told_of_too(bench: Bench) -> None:
    bench.store.finish("a")
    bench.take()
    # It turns out at the start that it is not whole any longer.
    bench.store.states["a"] = Building("resolving")
    with pytest.raises(BlockingIOError):
        bench.take()
    bench.store.finish("a")
    bench.warming()
    bench.take()
    assert "was rebuilt, since it was gone, in" in bench.told[-1][1]


async def test_view_begins_nothing(bench: Bench, tmp_path: Path) -> None:
    view = bench.environments.view
    assert await view(Options(), Path("a")) is None
    assert await view(Options(UV, start_method=StartMethod.CONTAINER), Path("a")) is None
    seen = await view(OPTIONS, Path("a"))
    assert seen is not None
    assert (seen.state, seen.has_log, bench.store.builds) == (BuildState.MISSING, False, 0)
    bench.warming()
    (tmp_path / "a.log").write_text("")
    seen = await view(OPTIONS, Path("a"))
    assert seen is not None
    assert (seen.state, seen.progress, seen.has_log) == (BuildState.BUILDING, "resolving", True)
    bench.store.states["a"] = Failed(CONFLICT)
    bench.warming()
    with pytest.raises(StartFailed):
        bench.take()
    seen = await view(OPTIONS, Path("a"))
    assert seen is not None
    assert (seen.state, seen.progress) == (BuildState.FAILED, str(CONFLICT))
    # A controller that was started since knows what the one before has kept.
    bench.store.failures["a"] = "a needs b<2"
    seen = await bench.restarted().view(OPTIONS, Path("a"))
    assert seen is not None
    assert (seen.state, seen.progress) == (BuildState.FAILED, "a needs b<2")
    bench.store.finish("a")
    seen = await view(OPTIONS, Path("a"))
    assert seen is not None
    assert (seen.state, seen.python_version, seen.mlflow_version) == (
        BuildState.READY,
        "3.11.7",
        "2.22.0",
    )


async def test_what_living_models_need_is_built_ahead(bench: Bench) -> None:
    local, contained = Options(), Options(UV, start_method=StartMethod.CONTAINER)
    models = [
        (OPTIONS, Path("a1")),
        (OPTIONS, Path("a2")),
        (local, Path("b")),
        (contained, Path("c")),
    ]
    bench.environments.prepare(models)
    assert {*bench.store.states} == {"a"}
    seen = await bench.environments.view(OPTIONS, Path("a1"))
    assert seen is not None
    assert seen.state is BuildState.BUILDING
    # One that failed waits for a start, which tells it.
    bench.store.states["a"] = Failed(AWAY)
    bench.environments.prepare(models)
    assert bench.store.builds == 1
    seen = await bench.environments.view(OPTIONS, Path("a1"))
    assert seen is not None
    assert seen.state is BuildState.FAILED
    bench.store.finish("a")
    bench.environments.prepare(models)
    assert not bench.warming("a1")
    assert bench.take(model="a1").digest == "a"
    assert bench.store.builds == 1


@pytest.mark.parametrize(
    ("options", "model", "needs"),
    [
        (Options(), "a", ("", 0)),
        (Options(UV, start_method=StartMethod.SERVE), "a", ("", 0)),
        (OPTIONS, None, ("", 100)),
        (OPTIONS, "", (".", 100)),  # it cannot be read, so nothing is known
        (OPTIONS, "a", ("a", 100)),
        (OPTIONS, "there", ("t", 0)),
        (OPTIONS, "served by MLflow", ("", 0)),
    ],
)
def test_memory_of_the_parent_that_is_missing(
    bench: Bench, options: Options, model: str | None, needs: tuple[str, int]
) -> None:
    bench.parents.pids["t"] = 1
    bench.store.finish("t")
    bench.store.finish("s", serves=False)
    place = None if model is None else Path(model)
    if model and model != "a":
        bench.environments.state(OPTIONS, Path(model))
    assert bench.environments.missing_parent(options, place, 100) == needs


async def test_what_a_parent_runs_from_is_kept(bench: Bench) -> None:
    for digest in "abc":
        bench.store.finish(digest)
    needed = await bench.environments.needed([(OPTIONS, Path("a1")), (Options(), Path("b1"))])
    assert needed == {"a"}
    bench.parents.pids["b"] = 1
    environments = bench.restarted(grace=60.0)
    await environments.tidy(needed)
    # Of one that is seen for the first time it is not known how long nobody has needed it.
    assert bench.store.tidied[-1] == {"a", "b", "c"}
    await bench.environments.tidy(needed)
    assert bench.store.tidied[-1] == {"a", "b"}
    assert {one.digest for one in await bench.environments.built() if one.needed} == {"a", "b"}


async def test_a_build_that_begins_while_others_are_removed_is_told_of(bench: Bench) -> None:
    environments = bench.environments = bench.restarted(grace=60.0)
    needed = await environments.needed([])
    assert bench.warming("a1")
    assert bench.warming("a2")
    await environments.tidy(needed)  # which was asked before
    bench.store.states["a"] = Failed(AWAY)
    for model in ("a1", "a2"):
        with pytest.raises(StartFailed):
            bench.take(model=model)
    assert bench.store.builds == 1


async def test_environment_that_was_removed_is_shown_no_longer(bench: Bench) -> None:
    bench.warming()
    bench.store.finish("a")
    assert [one.digest for one in await bench.environments.built()] == ["a"]
    del bench.store.states["a"]
    await bench.environments.tidy(())
    assert await bench.environments.built() == []


async def test_environment_that_was_removed_before_a_failure_is_shown_no_longer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removes_and_fails(needed: Collection[str]) -> None:
        del bench.store.states["a"]
        raise OSError("cannot remove b")

    bench.store.finish("a")
    assert [one.digest for one in await bench.environments.built()] == ["a"]
    monkeypatch.setattr(bench.store, "tidy", removes_and_fails)
    with pytest.raises(OSError, match="cannot remove b"):
        await bench.environments.tidy(())
    assert await bench.environments.built() == []


async def test_sizes_that_were_read_before_a_removal_are_not_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, removed = threading.Event(), threading.Event()
    plain = bench.store.sizes

    def slow() -> Mapping[str, int]:
        monkeypatch.setattr(bench.store, "sizes", plain)
        found = plain()
        began.set()
        assert removed.wait(20)
        return found

    bench.store.finish("a")
    monkeypatch.setattr(bench.store, "sizes", slow)
    reading = asyncio.create_task(bench.environments.built())
    assert await asyncio.to_thread(began.wait, 20)
    del bench.store.states["a"]
    await bench.environments.tidy(())
    removed.set()
    await reading
    assert await bench.environments.built() == []
