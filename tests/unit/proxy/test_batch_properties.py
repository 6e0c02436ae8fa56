"""Merging under random arrivals, failures and departures: everybody gets his own, and nobody waits.

Every row carries a marker of its own, and a good prediction is a function of it.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.core.errors import ModelBroke
from model_deployment.gate import loads
from model_deployment.proxy.answers import UpstreamAnswer
from model_deployment.proxy.upstream import LaunchRemoved
from tests.support.batching import Asked, Desk, predicted, settle

#: Requests of failed calls that are sent again at the same time.
AT_A_TIME = 8
POISONS = ("400", "500", "broken", "error")


@dataclass(frozen=True)
class Arrive:
    """A caller comes, with so many rows, some of which make every call that has them fail."""

    rows: int
    poison: str | None
    place: int
    p: int | None
    #: Others come before he gets anywhere.
    crowd: bool


@dataclass(frozen=True)
class Complete:
    """The model is done with one of its calls; with a merged one it may err."""

    which: int
    length: int | None


@dataclass(frozen=True)
class Leave:
    """A caller hangs up."""

    which: int


def arrivals(rows: int, *poisons: str | None) -> st.SearchStrategy[Arrive]:
    """Callers with up to so many rows."""
    return st.builds(
        Arrive,
        rows=st.integers(1, rows),
        poison=st.sampled_from(poisons),
        place=st.integers(0, 200),
        p=st.sampled_from([None, None, None, 0, 1]),
        crowd=st.booleans(),
    )


completions = st.builds(
    Complete,
    which=st.integers(0, 9),
    length=st.sampled_from([None] * 17 + [0, 1, 1000]),
)
stories = st.lists(
    arrivals(5, None)
    | arrivals(9, None, None, *POISONS)
    | arrivals(120, None, None, None, None, *POISONS)
    | completions
    | st.builds(Leave, st.integers(0, 40)),
    min_size=10,
    max_size=60,
)


@dataclass
class Caller:
    """Somebody who waits."""

    task: asyncio.Task[UpstreamAnswer]
    markers: list[int]
    poison: str | None
    left: bool = False


@dataclass
class Simulation:
    """A batcher, its callers, and a model that does what a story says."""

    desk: Desk
    calls: int
    callers: list[Caller] = field(default_factory=list)
    poisoned: dict[int, str] = field(default_factory=dict)
    markers: Iterator[int] = field(default_factory=count)

    async def step(self, event: Arrive | Complete | Leave) -> None:
        """What happens next."""
        match event:
            case Arrive():
                self._arrive(event)
                if event.crowd:
                    return
            case Complete() if self.desk.open:
                self._complete(self.desk.open[event.which % len(self.desk.open)], event.length)
            case Leave() if event.which < len(self.callers):
                caller = self.callers[event.which]
                caller.left = caller.task.cancel() or caller.left
        await settle()
        assert sum(asked.merged for asked in self.desk.open) <= self.calls
        if self.desk.batcher.merging:
            beside = sum(len(asked.rows) > self.desk.max_rows for asked in self.desk.open)
            assert len(self.desk.open) <= self.calls + AT_A_TIME + beside

    async def finish(self) -> None:
        """The model answers all there is."""
        await settle()
        while self.desk.open:
            await self.step(Complete(0, None))
        assert all(caller.task.done() for caller in self.callers), "somebody waits for ever"

    def check(self) -> None:
        """What everybody got, and how often everything was sent."""
        for caller in self.callers:
            check_answer(caller)
        sent = Counter(marker for asked in self.desk.asked for marker in asked.rows)
        assert max(sent.values(), default=0) <= 2
        alone = [asked for asked in self.desk.asked if not asked.merged]
        sent = Counter(marker for asked in alone for marker in asked.rows)
        assert max(sent.values(), default=0) <= 1
        shared = [len(asked.rows) for asked in self.desk.asked if self._is_shared(asked)]
        assert max(shared, default=0) <= self.desk.max_rows
        assert self.desk.counted == shared
        whole = {tuple(caller.markers) for caller in self.callers}
        assert all(tuple(asked.rows) in whole for asked in alone), "a request was cut"
        assert len(self.desk.told) == (not self.desk.batcher.merging)

    def _is_shared(self, asked: Asked) -> bool:
        """Whether there are rows of more than one caller in a call."""
        rows = set(asked.rows)
        return sum(not rows.isdisjoint(caller.markers) for caller in self.callers) > 1

    def _arrive(self, event: Arrive) -> None:
        markers = [next(self.markers) for _ in range(event.rows)]
        if event.poison is not None:
            self.poisoned[markers[event.place % event.rows]] = event.poison
        task = self.desk.caller(*markers, p=event.p)
        self.callers.append(Caller(task, markers, event.poison))

    def _complete(self, asked: Asked, length: int | None) -> None:
        poison = next((self.poisoned[row] for row in asked.rows if row in self.poisoned), None)
        rows = predicted(*asked.rows)
        if poison in ("400", "500"):
            asked.says({"message": f"poisoned by {asked.rows}"}, int(poison))
        elif poison is not None:
            words = f"poisoned by {asked.rows}"
            error = ModelBroke(words) if poison == "broken" else RuntimeError(words)
            asked.answer.set_exception(error)
        elif length is not None and asked.merged:
            asked.says({"predictions": (rows * length)[:length]})
        else:
            asked.says({"predictions": rows})


def check_answer(caller: Caller) -> None:
    """Whether it is the caller's own."""
    if caller.left:
        assert caller.task.cancelled()
        return
    own = f"poisoned by {caller.markers}"
    if caller.poison in ("broken", "error"):
        error = caller.task.exception()
        assert type(error) is (ModelBroke if caller.poison == "broken" else RuntimeError)
        assert str(error) == own
        return
    answer = caller.task.result()
    if caller.poison is not None:
        assert answer.status == int(caller.poison)
        assert loads(answer.content) == {"message": own}
    else:
        assert answer.status == 200
        assert loads(answer.content) == {"predictions": predicted(*caller.markers)}


Story = list[Arrive | Complete | Leave]


async def begun(story: Story, calls: int, max_rows: int) -> Simulation:
    desk = Desk(max_rows=max_rows, calls=calls)
    simulation = Simulation(desk, calls)
    for event in story:
        await simulation.step(event)
    await settle()
    return simulation


@pytest.mark.slow
@given(stories, st.integers(1, 3), st.integers(1, 50))
@settings(max_examples=100)
def test_batcher_answers_each_caller_with_its_own_rows(
    story: Story, calls: int, max_rows: int
) -> None:
    async def play() -> None:
        simulation = await begun(story, calls, max_rows)
        await simulation.finish()
        simulation.check()

    asyncio.run(play())


@given(stories, st.integers(1, 3), st.integers(1, 50))
@settings(max_examples=50)
def test_launch_removed_ends_every_wait(story: Story, calls: int, max_rows: int) -> None:
    async def play() -> None:
        simulation = await begun(story, calls, max_rows)
        desk = simulation.desk
        waiting = [caller for caller in simulation.callers if not caller.task.done()]
        sent = len(desk.asked)
        desk.gone = True
        for asked in desk.open:
            await asked.fails(LaunchRemoved())
        if waiting:  # those behind others of a failed call take some turns of the loop
            await asyncio.wait([caller.task for caller in waiting], timeout=10)
        assert len(desk.asked) == sent
        assert all(type(caller.task.exception()) is LaunchRemoved for caller in waiting)

    asyncio.run(play())
