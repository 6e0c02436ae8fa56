"""What the steps of one pass of the control loop share."""

from dataclasses import dataclass

from model_deployment.core.domain import Deployment, State
from model_deployment.core.names import ModelKey


@dataclass(slots=True)
class Tick:
    """One pass: the rows as far as it has come with them, and what was known when it began."""

    rows: list[Deployment]
    #: Parked deployments that a request waits for.
    wake_requests: frozenset[ModelKey] = frozenset()
    #: Deployments to park because launches of others found no place in the pass before.
    evicted: frozenset[ModelKey] = frozenset()
    #: The controller is shutting down and takes its models with it.
    closing: bool = False
    #: Launches that found no free port, or no memory, in this pass.
    unplaced: int = 0
    #: Deployments that are starting now.
    starting: int = 0

    def __post_init__(self) -> None:
        self.starting = sum(row.state is State.STARTING for row in self.rows)

    def update(self, place: int, row: Deployment) -> None:
        """Replace the row at an index."""
        before, self.rows[place] = self.rows[place], row
        self.starting += (row.state is State.STARTING) - (before.state is State.STARTING)

    def freed_a_place(self) -> None:
        """Count a port that was given up: one launch less needs the place of another deployment."""
        self.unplaced = max(0, self.unplaced - 1)
