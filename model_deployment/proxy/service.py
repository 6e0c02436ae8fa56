"""What serves the requests for one deployment: its gate, and the targets that answer."""

import asyncio
import os
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from itertools import count

from model_deployment.core.options import Validation
from model_deployment.core.routes import Route
from model_deployment.gate import Gate
from model_deployment.proxy.batch import Batcher
from model_deployment.proxy.upstream import Upstream


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """What gate and batchers are made for; it can change while the launches go on."""

    artifact: str
    validation: Validation
    max_batch_rows: int

    @classmethod
    def of(cls, route: Route) -> "ServiceOptions":
        return cls(route.artifact, route.options.validation, route.max_batch_rows)


@dataclass(frozen=True, slots=True, eq=False)
class ServiceTarget:
    """One of the launches that answer."""

    upstream: Upstream
    batcher: Batcher | None
    options: ServiceOptions


@dataclass(frozen=True, slots=True)
class Service:
    """What serves the requests for one deployment."""

    gate: Gate | None
    options: ServiceOptions
    #: At least one.
    targets: tuple[ServiceTarget, ...]
    #: Proxies begin with different targets, so that their first requests meet different ones.
    _turns: Iterator[int] = field(default_factory=lambda: count(os.getpid()), compare=False)

    def choose(self) -> ServiceTarget:
        """The target that the next request goes to."""
        return self.choose_but(()) or self.targets[0]

    def choose_but(self, gone: Container[str | None]) -> ServiceTarget | None:
        """The target with the least in flight, in turns among equals.

        A target that has broken is left out. After a while it gets one request at a time, until it answers.
        If all have broken, none is left out.

        Args:
            gone: ids of launches that turned out to be gone.

        Returns:
            None if there is no other launch.
        """
        targets = self.targets
        if len(targets) == 1:
            return targets[0] if targets[0].upstream.launch_id not in gone else None
        found = [one for one in targets if one.upstream.launch_id not in gone]
        if not found:
            return None
        now = asyncio.get_running_loop().time()
        sound = []
        for one in found:
            left_out_until = one.upstream.left_out_until
            if left_out_until is None:
                sound.append(one)
            elif now >= left_out_until and not one.upstream.callers:
                return one
        candidates = sound or found
        first = next(self._turns) % len(candidates)
        return min(candidates[first:] + candidates[:first], key=lambda one: one.upstream.callers)
