"""Processes that count their requests, a controller that adds the counts up, and a store for them.

What gets lost between them, and who is killed, is up to chance; the sums have to be right after every step.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from model_deployment.core.names import ModelKey
from model_deployment.recording.reported_counts import ReportedCounts
from tests.support.counting import LocalCounts

_KEYS = ModelKey("a", 1), ModelKey("b-c", 2)


@dataclass
class Served:
    """A process, its connection to the controller, and what is known to have been counted."""

    local: LocalCounts
    counted: Counter[ModelKey] = field(default_factory=Counter)
    #: What it had counted at the last report that arrived at this controller; None before the first.
    arrived: Counter[ModelKey] | None = None
    everything: bool = True
    up: list[tuple[dict[str, Any], Counter[ModelKey]]] = field(default_factory=list)
    down: list[Mapping[str, int]] = field(default_factory=list)
    dead: bool = False
    #: Of a dead one: what this controller and its store have of it.
    kept: Counter[ModelKey] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        return self.local.name


class CountSimulation:
    """Processes that serve, report and die; controllers that are killed; a store that is away."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = 1_700_000_040.0
        self.counts = ReportedCounts()
        self.store: dict[str, Mapping[str, Any]] = {}
        self.processes: list[Served] = []
        self.start()

    @property
    def living(self) -> list[Served]:
        return [one for one in self.processes if not one.dead]

    def start(self) -> None:
        name = f"p{len(self.processes)}"
        self.processes.append(Served(LocalCounts(name, lambda: self.now)))

    def step(self) -> None:
        """Anything may happen; what is rare in life is rare here."""
        usual = (self.request, self.wait, self.report, self.arrive, self.learn, self.flush)
        rare = (self.lose_the_connection, self.kill_process, self.kill_controller)
        self.random.choice(rare if self.random.random() < 0.1 else usual)()
        if not self.living or (len(self.living) < 3 and self.random.random() < 0.1):
            self.start()

    def pick(self) -> Served:
        return self.random.choice(self.living)

    def request(self) -> None:
        one, key = self.pick(), self.random.choice(_KEYS)
        for _ in range(self.random.randrange(1, 4)):
            one.local.traffic.failed(key, self.now, 504)
            one.local.counters.failed(key, "timeout")
            one.counted[key] += 1

    def wait(self) -> None:
        """Some busy minutes."""
        for _ in range(self.random.randrange(1, 6)):
            self.now += self.random.choice([20.0, 60.0])
            self.request()

    def report(self) -> None:
        one = self.pick()
        everything, one.everything = one.everything, False
        while made := one.local.told(everything=everything):
            one.up.append((made, one.counted.copy()))
            everything = False
            if not made.get("more"):
                break

    def arrive(self, one: Served | None = None) -> None:
        one = one or self.pick()
        while one.up:
            made, counted = one.up.pop(0)
            self.counts.apply(one.name, made)
            if not made.get("more"):
                one.arrived = counted

    def learn(self) -> None:
        """A process learns what is stored."""
        one = self.pick()
        while one.down:
            one.local.report.stored(one.down.pop(0))

    def lose_the_connection(self) -> None:
        self._disconnect(self.pick())

    def _disconnect(self, one: Served) -> None:
        one.up.clear()
        one.down.clear()
        one.everything = True

    def kill_process(self) -> None:
        one = self.pick()
        if self.random.random() < 0.5:
            self.arrive(one)
        one.kept = self.shown(one)
        one.dead = True
        late = one.local.told(everything=True)
        self.counts.ended(one.name)
        self.counts.apply(one.name, late)

    def flush(self) -> None:
        """As ``Upkeep.flush`` does, and where it may be interrupted."""
        finished = self.counts.finished()
        half = len(finished) // 2
        for stage in ("deleted", "half written", "written"):
            if self.random.random() < 0.1:
                return
            if self.random.random() < 0.3:
                self.random.choice([self.arrive, self.learn, self.report])()
            if stage == "deleted":
                for window in finished:
                    for id in window.replaces:
                        self.store.pop(id, None)
            else:
                for window in finished[:half] if stage == "half written" else finished:
                    self.store.setdefault(window.id, window.document)
        for name, revisions in self.counts.forget(finished).items():
            (one,) = [one for one in self.processes if one.name == name]
            one.down.append(orjson.loads(orjson.dumps(revisions)))

    def kill_controller(self) -> None:
        self.counts = ReportedCounts()
        for one in self.processes:
            self._disconnect(one)
            one.arrived = None
            if one.dead:  # what was not stored is gone with both
                one.kept = self.shown(one)

    def shown(self, one: Served) -> Counter[ModelKey]:
        """Requests by deployment, as the pages show them: the store, and what may not be in it yet."""
        found = {id: document for id, document in self.store.items() if id.endswith(f"/{one.name}")}
        for key in _KEYS:
            for window in self.counts.unstored(key):
                if window.id.endswith(f"/{one.name}"):
                    for id in window.replaces:
                        found.pop(id, None)
                    found[window.id] = window.document
        shown: Counter[ModelKey] = Counter()
        for document in found.values():
            shown[ModelKey(document["model"], document["version"])] += document["requests"]
        return shown

    def check(self) -> None:
        for one in self.processes:
            if one.dead:
                assert self.shown(one) == one.kept
            elif one.arrived is not None:
                assert self.shown(one) == one.arrived
        total: Counter[ModelKey] = Counter()
        for one in self.processes:
            total += one.arrived or Counter()
        for key in _KEYS:
            assert self.counts.totals.of(key).errors.total() == total[key]
        assert {key: one.errors.total() for key, one in self.counts.totals.all().items()} == total
