"""Two runtimes behind one: each launch stays with its own, and one that is away concerns no other."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import pytest

from model_deployment.core.domain import LOST, Address, Exit, Handle, LaunchSpec
from model_deployment.core.measures import Memory, WorkerCounts
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options, StartMethod
from model_deployment.runtime.base import PartlySeen, Runtime
from model_deployment.runtime.by_method import RuntimeByMethod

LOCAL, IN_CONTAINER = Options(), Options(start_method=StartMethod.CONTAINER)


class Place:
    """A runtime whose launches are only names. It refuses handles of any other."""

    def __init__(self, name: str, *, ports: bool) -> None:
        self.name = name
        self.ports = ports
        self.live: dict[str, Handle] = {}
        self.calls: list[str] = []
        self.away = False

    def _mine(self, handle: Handle) -> Handle:
        assert handle.ref["place"] == self.name, f"{self.name} was asked for {handle}"
        return handle

    def _look(self) -> None:
        if self.away:
            raise OSError(f"{self.name} is away")

    async def obstacle(self, options: Options) -> str:
        return f"{self.name} is away" if self.away else ""

    def needs_port(self, options: Options) -> bool:
        return self.ports

    def address(self, launch_id: str, port: int | None) -> Address:
        assert (port is not None) == self.ports
        return Address(self.name, port or 0, "" if self.ports else f"/{launch_id}")

    def occupant(self, port: int) -> str | None:
        return f"a program of {self.name}"

    def warming(self, options: Options, model_path: str = "") -> bool:
        return self.away

    def warming_reason(self, options: Options, model_path: str = "") -> str:
        return f"{self.name} to warm up for {model_path}"

    def holds(self, port: int) -> bool:
        return self.ports

    async def release(self, port: int) -> None:
        self.calls.append(f"release {port}")

    async def start(self, spec: LaunchSpec) -> Handle:
        self._look()
        self.live[spec.launch_id] = Handle(spec.launch_id, spec.address, {"place": self.name})
        return self.live[spec.launch_id]

    async def poll(self, handle: Handle) -> Exit | None:
        return None if self._mine(handle).launch_id in self.live else LOST

    async def stop(self, handle: Handle, *, force: bool) -> None:
        self.live.pop(self._mine(handle).launch_id, None)

    def suspended(self, handle: Handle, options: Options) -> bool:
        return self._mine(handle).launch_id in self.live

    async def listening(self, handle: Handle) -> bool:
        return self._mine(handle).launch_id in self.live

    async def list(self) -> list[Handle]:
        self._look()
        return [*self.live.values()]

    async def find(self, launch_id: str, options: Options) -> Handle | None:
        self._look()
        return self.live.get(launch_id)

    async def memory(self, handles: Sequence[Handle]) -> Mapping[str, Memory]:
        self._look()
        return {self._mine(one).launch_id: Memory(1, None) for one in handles}

    def workers(self, handle: Handle) -> WorkerCounts | None:
        return WorkerCounts(1, 2, self._mine(handle).ref["place"])

    def identity(self, handle: Handle) -> Mapping[str, str | int]:
        return {"place": self._mine(handle).ref["place"]}

    async def update_log(self, launch_id: str) -> None:
        self._look()
        self.calls.append(f"update {launch_id}")

    async def tail(self, launch_id: str, lines: int) -> str:
        return f"{self.name}\n" if launch_id in self.live else ""

    async def tidy(self, keep: Iterable[str]) -> None:
        self.calls.append(f"tidy {sorted(keep)}")
        self._look()

    async def close(self) -> None:
        self.calls.append("close")


class Both:
    """Two places, and the runtime before them."""

    def __init__(self) -> None:
        self.local, self.container = Place("here", ports=True), Place("engine", ports=False)
        first: Runtime = self.local
        second: Runtime = self.container
        self.runtime: Runtime = RuntimeByMethod(first, second)

    async def start(self, launch_id: str, options: Options = LOCAL) -> Handle:
        port = 8001 if self.runtime.needs_port(options) else None
        address = self.runtime.address(launch_id, port)
        key = ModelKey("m", 1)
        return await self.runtime.start(LaunchSpec(launch_id, key, "/m", address, options))


@pytest.fixture
def both() -> Both:
    return Both()


async def test_options_choose_the_runtime_and_its_address(both: Both) -> None:
    here, there = await both.start("a"), await both.start("b", IN_CONTAINER)
    assert (here.address, there.address) == (Address("here", 8001), Address("engine", 0, "/b"))
    assert ([*both.local.live], [*both.container.live]) == (["a"], ["b"])


async def test_handle_of_a_local_launch_is_the_one_that_there_was_before_containers(
    both: Both,
) -> None:
    assert (await both.start("a")).ref == {"place": "here"}


async def test_every_call_for_a_launch_goes_to_its_own_runtime_whatever_the_options_say_now(
    both: Both,
) -> None:
    handles = [await both.start("a"), await both.start("b", IN_CONTAINER)]
    stored = [replace(one, ref=json.loads(json.dumps(dict(one.ref)))) for one in handles]
    for handle, place in zip(stored, ("here", "engine"), strict=True):
        assert await both.runtime.poll(handle) is None
        assert await both.runtime.listening(handle)
        assert both.runtime.suspended(handle, IN_CONTAINER)
        assert both.runtime.workers(handle) == WorkerCounts(1, 2, place)
        assert both.runtime.identity(handle) == {"place": place}
        await both.runtime.stop(handle, force=False)
        assert await both.runtime.poll(handle) == LOST


async def test_list_and_find_give_the_handles_that_start_gave(both: Both) -> None:
    handles = [await both.start("a"), await both.start("b", IN_CONTAINER)]
    assert await both.runtime.list() == handles
    assert await both.runtime.find("a", Options()) == handles[0]
    assert await both.runtime.find("b", IN_CONTAINER) == handles[1]
    assert await both.runtime.find("b", Options()) is None


async def test_runtime_that_is_away_hides_no_launch_of_the_other(both: Both) -> None:
    handle = await both.start("a")
    await both.start("b", IN_CONTAINER)
    both.container.away = True
    with pytest.raises(PartlySeen, match="engine is away") as caught:
        await both.runtime.list()
    assert caught.value.seen == [handle]
    assert await both.runtime.find("a", Options()) == handle
    with pytest.raises(OSError, match="engine is away"):
        await both.runtime.find("b", IN_CONTAINER)
    assert (await both.start("c")).address.host == "here"
    with pytest.raises(OSError, match="engine is away"):
        await both.start("d", IN_CONTAINER)
    assert [*both.local.live] == ["a", "c"], "a launch that is to be contained was not"


async def test_list_when_both_are_away_says_so_and_has_nothing(both: Both) -> None:
    both.local.away = both.container.away = True
    with pytest.raises(PartlySeen, match="here is away; engine is away") as caught:
        await both.runtime.list()
    assert caught.value.seen == []


async def test_launches_seen_in_a_part_of_one_runtime_are_passed_on(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = await both.start("b", IN_CONTAINER)

    async def seen_in_part() -> list[Handle]:
        raise PartlySeen("node 2 is away", [Handle("b", there.address, {"place": "engine"})])

    monkeypatch.setattr(both.container, "list", seen_in_part)
    with pytest.raises(PartlySeen, match="node 2 is away") as caught:
        await both.runtime.list()
    assert caught.value.seen == [there]


async def test_memory_of_those_that_can_be_measured(both: Both) -> None:
    handles = [await both.start("a"), await both.start("b", IN_CONTAINER)]
    assert set(await both.runtime.memory(handles)) == {"a", "b"}
    assert await both.runtime.memory([]) == {}
    both.container.away = True
    assert set(await both.runtime.memory(handles)) == {"a"}
    with pytest.raises(OSError, match="engine is away"):
        await both.runtime.memory(handles[1:])


async def test_warming_concerns_launches_of_one_runtime_only(both: Both) -> None:
    both.container.away = True
    assert not both.runtime.warming(Options(), "/m")
    assert both.runtime.warming(IN_CONTAINER, "/m")
    assert await both.runtime.obstacle(Options()) == ""
    assert await both.runtime.obstacle(IN_CONTAINER) == "engine is away"
    assert both.runtime.warming_reason(IN_CONTAINER, "/m") == "engine to warm up for /m"


async def test_ports_are_those_of_this_machine(both: Both) -> None:
    assert both.runtime.holds(8001)
    await both.runtime.release(8001)
    assert (both.local.calls, both.container.calls) == (["release 8001"], [])
    assert both.runtime.occupant(8001) == "a program of here"


async def test_logs_of_both_are_read_and_tidied_also_when_one_fails(both: Both) -> None:
    await both.start("a")
    await both.start("b", IN_CONTAINER)
    assert await both.runtime.tail("a", 5) == "here\n"
    assert await both.runtime.tail("b", 5) == "engine\n"
    assert await both.runtime.tail("c", 5) == ""
    both.local.away = True
    with pytest.raises(OSError, match="here is away"):
        await both.runtime.tidy(iter(["a", "b"]))
    assert both.container.calls == ["tidy ['a', 'b']"]


async def test_log_of_a_local_launch_can_be_read_while_the_engine_is_away(both: Both) -> None:
    both.container.away = True
    with pytest.raises(OSError, match="engine is away"):
        await both.runtime.update_log("a")
    assert both.local.calls == ["update a"]


async def test_both_do_not_tidy_at_the_same_time(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have the logs of launches in common: one would copy what the other has just cut."""
    under_way: list[str] = []

    def slow(name: str) -> Callable[[Iterable[str]], Awaitable[None]]:
        async def tidy(keep: Iterable[str]) -> None:
            under_way.append(name)
            await asyncio.sleep(0)
            assert under_way == [name]
            under_way.remove(name)

        return tidy

    monkeypatch.setattr(both.local, "tidy", slow("here"))
    monkeypatch.setattr(both.container, "tidy", slow("engine"))
    await both.runtime.tidy([])


async def test_close_closes_both(both: Both) -> None:
    await both.runtime.close()
    assert both.local.calls == both.container.calls == ["close"]
