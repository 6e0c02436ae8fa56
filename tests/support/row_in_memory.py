"""The row of a deployment in memory, changed as the state database changes it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from model_deployment.core import launch_lifecycle
from model_deployment.core import replacement as replacements
from model_deployment.core.actions import Vacate
from model_deployment.core.domain import Deployment, Launch, LaunchRole, LaunchState, State, Step
from model_deployment.core.options import Options
from model_deployment.core.replacement import ReplacementState
from tests.support.rows import launch, row

SERVING, COMING, RETIRING = LaunchRole.SERVING, LaunchRole.COMING, LaunchRole.RETIRING


@dataclass
class RowInMemory:
    """One deployment. A move that the tables do not have raises AssertionError."""

    row: Deployment
    now: float = 1000.0
    drain_timeout: float = 30.0
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(2))

    def switch(self, one: Launch) -> None:
        it = self.row.replacement
        assert it is not None
        order = [LaunchState.PENDING, LaunchState.STARTING, LaunchState.STOPPING, LaunchState.READY]
        before = min(
            self.row.serving, key=lambda r: (order.index(r.state), r.replica), default=None
        )
        if before is not None and before.is_live:
            self.retire(before, "it finishes its requests", self.now + self.drain_timeout)
        elif before is not None:
            self.drop(before)
        number = before.replica if before else 0
        self.move(
            one,
            LaunchState.READY,
            role=SERVING,
            replica=number,
            ready_since=self.now,
            deadline=None,
        )
        self.replace(ReplacementState.ROLLING)
        self.become(
            rest=None, options=it.options, generation=one.generation, proven=True, parking=""
        )
        for pending in self.row.serving:
            if not pending.is_live:
                self.update(pending, options=it.options, generation=one.generation)

    def hand_over(self) -> None:
        it = self.row.replacement
        assert it is not None
        assert not any(one.is_live for one in self.row.launches)
        self.replace(ReplacementState.ROLLING)
        self.become(options=it.options, generation=self.row.generation + 1)
        if self.row.rest is not None:
            self.become(rest=None, launches=(*self.row.launches, self.new(it.purpose)))
        for one in self.row.serving:
            self.update(
                one,
                options=it.options,
                generation=self.row.generation,
                tries=0,
                kills=0,
                not_before=0,
            )

    def retire(self, one: Launch, reason: str, until: float) -> None:
        if one.state is LaunchState.PENDING:
            return self.drop(one)
        step, deadline = Step.DRAIN, until
        if one.state is LaunchState.STARTING:
            step, deadline = Step.TERMINATE, 0.0
        elif one.step is not None:
            step, deadline = one.step, one.deadline or 0.0
        self.move(
            one, LaunchState.STOPPING, role=RETIRING, step=step, deadline=deadline, reason=reason
        )
        return None

    def release(self, one: Launch, to: Vacate) -> None:
        self.move(
            one, LaunchState.PENDING, reason=to.reason, tries=to.tries, kills=to.kills,
            not_before=to.not_before, launch_id=None, handle=None, step=None, deadline=None,
            ready_since=None, options=self.row.options, generation=self.row.generation,
        )  # fmt: skip

    def insert(self, role: LaunchRole, options: Options, generation: int, number: int) -> None:
        one = launch(
            LaunchState.PENDING, role, id=next(self.ids), replica=number, options=options,
            generation=generation,
        )  # fmt: skip
        self.become(launches=(*self.row.launches, one))

    def new(self, reason: str) -> Launch:
        taken = {one.replica for one in self.row.serving}
        return launch(
            LaunchState.PENDING,
            id=next(self.ids),
            replica=min({*range(len(taken) + 1)} - taken),
            options=self.row.options,
            generation=self.row.generation,
            reason=reason,
        )

    def move(self, one: Launch, state: LaunchState, **changes: Any) -> None:
        assert launch_lifecycle.check(one.state, state), (one.state, state)
        self.update(one, state=state, **changes)

    def update(self, one: Launch, **changes: Any) -> None:
        changed = [
            replace(each, **changes) if each.id == one.id else each for each in self.row.launches
        ]
        self.become(launches=tuple(changed))

    def drop(self, one: Launch) -> None:
        assert launch_lifecycle.check(one.state, None)
        self.become(launches=tuple(each for each in self.row.launches if each.id != one.id))

    def replace(self, state: ReplacementState | None, **changes: Any) -> None:
        it = self.row.replacement
        assert it is not None
        assert replacements.check(it.state, state), (it.state, state)
        self.become(replacement=replace(it, state=state, **changes) if state else None)

    def become(self, **changes: Any) -> None:
        self.row = replace(self.row, **changes)


def deployed(replicas: int, **options: Any) -> Deployment:
    """A deployment that was asked for a moment ago."""
    chosen = replace(Options(batch_max_rows=0), **options)
    return row(State.PENDING, options=chosen, replicas=replicas)
