"""Has deployments with a range of replicas follow their requests: feeds ``core/scaling.py``, and writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from model_deployment.control.collaborators import Collaborators
from model_deployment.control.tick import Tick
from model_deployment.core import scaling
from model_deployment.core.domain import Deployment, Desired
from model_deployment.core.names import ModelKey
from model_deployment.core.scaling import Change, History, Look, Scaling
from model_deployment.state.deployments import Deployments
from model_deployment.state.ports import Ports


@dataclass(slots=True)
class _Watched:
    """What is remembered of one deployment."""

    history: History = field(default_factory=History)
    #: Calls that its launches answered, also those that have ended.
    calls: int = 0
    #: The same of each launch that serves, when it was last seen.
    of_launches: dict[str, int] = field(default_factory=dict)
    #: It was noted that more replicas have no room.
    noted: bool = False

    def count_calls(self, now: dict[str, int]) -> int:
        """Add what its launches answered since the last look."""
        before = self.of_launches
        # A count that is lower than before began anew.
        self.calls += sum(
            count - before[id] if count >= before.get(id, 0) else count
            for id, count in now.items()
            if id in before
        )
        self.of_launches = now
        return self.calls


@dataclass(frozen=True, kw_only=True)
class Scaler:
    """Looks at each deployment with a range of replicas, and changes how many are wanted."""

    deployments: Deployments
    ports: Ports
    world: Collaborators
    limits: Scaling
    #: Writes an event of a deployment.
    note: Callable[[ModelKey, str], None]
    _watched: dict[ModelKey, _Watched] = field(default_factory=dict)

    async def scale(self, tick: Tick, row: Deployment) -> Deployment:
        """Look at a deployment, and want more or fewer replicas if the requests say so.

        Returns:
            The deployment as it is afterwards.

        Raises:
            IllegalTransition: the row has changed since it was read; nothing was done.
            DatabaseError: the state could not be written.
        """
        change = None if tick.closing else await self.target(row, tick.rows)
        if change is None:
            return row
        scaled = await self.deployments.scale(row, change.replicas, change.reason)
        if (watched := self._watched.get(row.key)) is not None:
            scaling.record(watched.history, row.replicas, change, self.limits)
        return scaled

    async def target(self, row: Deployment, rows: Sequence[Deployment]) -> Change | None:
        """How many replicas a deployment is to have; None if as many as now.

        Args:
            rows: all deployments, for the memory that launches on their way need.
        """
        wanted = row.options.replicas
        serves = row.desired is Desired.RUNNING and row.rest is None and not row.parking
        if not (serves and (wanted.follows or row.replicas != wanted.clamp(row.replicas))):
            self._watched.pop(row.key, None)
            return None
        watched = self._watched.setdefault(row.key, _Watched())
        workers = row.options.workers
        scaling.observe(watched.history, self._look(row, watched), workers, self.limits)
        if row.replacement is not None and not row.replacement.is_over:
            return None  # one change at a time
        change = scaling.decide(watched.history, row.replicas, wanted, workers, self.limits)
        if change is None or change.replicas < row.replicas:
            watched.noted = watched.noted and change is None
            return change
        return await self._fitting(row, rows, watched, change)

    def forget(self, *, except_for: Sequence[Deployment]) -> None:
        """Forget deployments that are gone."""
        if self._watched:
            for key in self._watched.keys() - {row.key for row in except_for}:
                del self._watched[key]

    def _look(self, row: Deployment, watched: _Watched) -> Look:
        calls = {
            one.launch_id: self.world.traffic(one.launch_id).answered
            for one in row.serving
            if one.launch_id is not None
        }
        return Look(
            at=self.world.clock(),
            in_flight=self.world.counters(row.key).in_flight,
            answered=self.world.answered(row.key),
            calls=watched.count_calls(calls),
            ready=len(row.ready),
        )

    async def _fitting(
        self, row: Deployment, rows: Sequence[Deployment], watched: _Watched, change: Change
    ) -> Change | None:
        """The change as far as ports and memory have room for it; None if they have for no launch."""
        more = change.replicas - row.replicas
        if row.replicas < row.options.replicas.min:
            return change  # as the options say, whenever there is room
        why = ""
        if self.world.runtime.needs_port(row.options):
            usage = await self.ports.usage(self.world.clock())
            if more > (free := max(0, usage.free + usage.quarantined)):
                more, why = free, "no port is free"
        need = self.world.admission.need(row.options, row.memory, row.artifact)
        while more > 0 and (shortage := self._shortage(row, rows, need * more)):
            more, why = more - 1, shortage
        if more == 0:
            if not watched.noted:
                watched.noted = True
                self.note(row.key, f"cannot add a replica, though {change.reason}: {why}")
            return None
        watched.noted = False
        return replace(change, replicas=row.replicas + more)

    def _shortage(self, row: Deployment, rows: Sequence[Deployment], need: int) -> str:
        return self.world.admission.shortage(row.key, row.options, need, rows)
