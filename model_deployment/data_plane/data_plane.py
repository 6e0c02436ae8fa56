"""The proxies together: one route table for all, and one sum of what they count."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_deployment.core.endpoints import EndpointName, EndpointRoute
from model_deployment.core.errors import NotEnoughMemory
from model_deployment.core.measures import LaunchTraffic, ProxyCounters
from model_deployment.core.names import ModelKey
from model_deployment.core.rollout_counts import RolloutCounts
from model_deployment.core.routes import Route
from model_deployment.data_plane import decide as rules
from model_deployment.data_plane.counts import PlaneCounts
from model_deployment.data_plane.decide import Kill, Phase, Retire, Start, decide
from model_deployment.data_plane.link import LinkClosed
from model_deployment.data_plane.log_records import log_again
from model_deployment.data_plane.member import Member, ProxyProcess
from model_deployment.data_plane.route_table import RouteTable
from model_deployment.http.listener import admit_no_more
from model_deployment.proxy import protocol
from model_deployment.proxy.protocol import Message

_log = logging.getLogger(__name__)

#: Seconds between two looks at the proxies. A look that comes later says nothing of them.
_LOOK, _LATE = 0.5, 1.0
#: Seconds that the newest counts are waited for.
_REFRESH = 0.25
#: Seconds that proxies get to end after they were killed.
_KILLED = 5.0


@dataclass(frozen=True, slots=True)
class PlaneEvents:
    """What proxies have to say to the control loop."""

    #: A model did not answer, or the proxies' view has changed: the processes are worth a look.
    look: Callable[[], None]
    #: A request waits for a parked deployment.
    wake: Callable[[ModelKey], None]
    #: Something happened to a deployment.
    note: Callable[[ModelKey, str], None]


class DataPlane:
    """The living proxies, and how many there are to be."""

    def __init__(
        self,
        listener: socket.socket,
        folder: Path,
        counts: PlaneCounts,
        events: PlaneEvents,
        *,
        wanted: int,
        start: Callable[[Iterable[str]], ProxyProcess],
        patience: float,
    ) -> None:
        """
        Args:
            listener: the socket that callers connect to.
            folder: the one with the control sockets.
            wanted: how many proxies are to serve.
            start: starts one more, beside those with these ids.
            patience: seconds that the requests of a proxy may take that is replaced.
        """
        self.listener = listener
        self.counts = counts
        self._folder = folder
        self._events = events
        self._wanted = wanted
        self._start = start
        self._patience = patience
        self._members: dict[str, Member] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._table = RouteTable(folder / "rows.json")
        self._not_before = 0.0
        self._pause = 0.0
        self._closing = False
        #: Proxies that ended unasked since this controller started.
        self.restarts = 0
        self._due = asyncio.Event()
        #: Set, and replaced by a new event, when a table is acknowledged or a proxy has ended.
        self._changed = asyncio.Event()

    @property
    def serving(self) -> int:
        """Proxies that take connections."""
        return sum(member.phase is Phase.SERVING for member in self._members.values())

    def adopt(self, process: ProxyProcess, *, current: bool) -> None:
        """Take over a proxy that an earlier controller started."""
        _log.info("adopted proxy %s (pid %s)", process.id, process.pid)
        self._add(process, current=current, phase=Phase.SERVING)

    async def run(self) -> None:
        """Start, watch and replace proxies until cancelled."""
        looked = time.monotonic()
        while True:
            now = time.monotonic()
            if now - looked >= _LOOK:
                on_time = now - looked < _LOOK + _LATE
                looked = now
                for member in self._members.values():
                    if on_time:
                        member.look()
            if not self._closing:
                try:
                    self._act(now)
                except Exception:
                    _log.exception("cannot look after the proxies")
            self._due.clear()
            try:
                async with asyncio.timeout(_LOOK):
                    await self._due.wait()
            except TimeoutError:
                continue

    def _act(self, now: float) -> None:
        states = [member.state for member in self._members.values()]
        for action in decide(states, self._wanted, now, self._not_before):
            match action:
                case Start():
                    self._start_one(now)
                case Retire(id):
                    self._members[id].retire(last=False, patience=self._patience)
                case Kill(id, reason):
                    _log.error("killing proxy %s: %s", id, reason)
                    self._members[id].process.kill()

    def _start_one(self, now: float) -> None:
        try:
            process = self._start(self._members)
        except (OSError, ValueError) as error:
            _log.error("cannot start a proxy: %s", error)
            self._rest(now)
            return
        self._add(process, current=True, phase=Phase.STARTING)

    def _rest(self, now: float) -> None:
        self._pause = rules.pause_after(self._pause)
        self._not_before = now + self._pause

    def _add(self, process: ProxyProcess, *, current: bool, phase: Phase) -> None:
        member = Member(
            process, self._folder, current=current, phase=phase, on_event=self._on_event
        )
        self._members[member.id] = member
        task = asyncio.create_task(self._attend(member), name=f"proxy {member.id}")
        self._tasks[member.id] = task

    async def _attend(self, member: Member) -> None:
        status = await member.attend(self._table.push)
        del self._members[member.id], self._tasks[member.id]
        (self._folder / protocol.socket_name(member.id)).unlink(missing_ok=True)  # of one killed
        self.counts.end(member.id)
        if member.phase is not Phase.RETIRING:
            self.restarts += 1
            _log.error("proxy %s has ended with status %s", member.id, status)
        if member.phase is Phase.STARTING:
            self._rest(time.monotonic())
        self._announce()
        self._due.set()

    def _on_event(self, member: Member, message: Message) -> None:
        match message["event"]:
            case "report":
                self.counts.apply(member.id, message["report"])
            case "acknowledged":
                self.counts.apply(member.id, message["report"])
                self._pause = 0.0
                if message["number"] == self._table.number:
                    self._table.trim(self.counts)
                self._table.push(member)
                self._announce()
                self._due.set()
            case "look":
                self._events.look()
            case "log":
                log_again(member.id, message)
            case "wake":
                self._events.wake(ModelKey(*message["key"]))
            case "note":
                self._events.note(ModelKey(*message["key"]), message["text"])

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if self._table.routes is not None and not self._lagging(self._table.number):
            self._events.look()

    def publish(self, routes: Sequence[Route]) -> bool:
        """Give all proxies a route table.

        Returns:
            True once every proxy has it and all routes serve; until then it is to be published again.
        """
        members = self._members.values()
        failed = any(m.acknowledged == self._table.number and not m.complete for m in members)
        if self._table.routes != [*routes] or failed:
            self._table.set_routes(routes)
            self._push_to_all()
        return (
            bool(members)
            and not self._lagging(self._table.number)
            and all(m.complete for m in members if m.acknowledged >= 0)
        )

    def publish_endpoints(self, routes: Sequence[EndpointRoute]) -> None:
        """Give all proxies these endpoints, now or with the first route table."""
        if self._table.endpoints != [*routes]:
            self._table.set_endpoints(routes)
            self._push_to_all()

    def publish_timeseries(self, endpoint: EndpointName | None) -> None:
        """Have all proxies ask this endpoint at the path for time series; None: no endpoint."""
        if self._table.timeseries != endpoint:
            self._table.set_timeseries(endpoint)
            self._push_to_all()

    def rollout_counts(self, rollout_id: int) -> Mapping[str, RolloutCounts]:
        """What was counted of a rollout, by proxy: since the proxy started, as far as it has reported.

        Proxies that have ended since this controller started are in it. All is forgotten once no endpoint
        is published with the rollout.
        """
        return self.counts.rollout(rollout_id)

    def _push_to_all(self) -> None:
        self._table.trim(self.counts)
        for member in self._members.values():
            self._table.push(member)

    def _lagging(self, number: int) -> list[Member]:
        return [member for member in self._members.values() if member.lags(number)]

    async def routed(self) -> None:
        """Wait until every living proxy routes as was published last. A silent one is killed meanwhile."""
        number = self._table.number
        while self._lagging(number) and not self._closing:
            await self._changed.wait()

    async def refresh(self) -> None:
        """Have the newest counts of all proxies that answer within a moment."""
        links = {m.id: m.link for m in self._members.values() if m.link is not None}
        asked = {id: asyncio.ensure_future(link.ask("report")) for id, link in links.items()}
        if not asked:
            return
        await asyncio.wait(asked.values(), timeout=_REFRESH)
        for id, answer in asked.items():
            if not answer.done():
                answer.cancel()
            elif not isinstance(answer.exception(), LinkClosed) and id in self._members:
                self.counts.apply(id, answer.result()["report"])

    def traffic(self, launch_id: str) -> LaunchTraffic:
        certain = not self._lagging(self._table.number)
        return self.counts.traffic(launch_id, certain=certain)

    def counters(self, key: ModelKey) -> ProxyCounters:
        return self.counts.counters(key)

    def refuse(self, key: ModelKey, error: NotEnoughMemory) -> None:
        """Fail the requests that wait for a parked deployment, since it is not started."""
        self._tell(**protocol.refusal_message(key, error))

    def discard(self, key: ModelKey) -> None:
        """Forget what was counted of a name: it stands for another model now."""
        self.counts.served.discard(key)
        self._tell("discard", key=[key.model, key.version])

    def dismiss(self) -> None:
        """Fail, in a moment, the requests that wait for a model."""
        self._tell("dismiss")

    def drop(self) -> None:
        """Cut the requests under way, with an answer that says so."""
        self._tell("drop")

    def stored(self, proxy: str, revisions: Mapping[str, int]) -> None:
        """These windows of a proxy are in the document store."""
        member = self._members.get(proxy)
        if member is not None and member.link is not None:
            member.link.send("stored", revisions=revisions)

    def _tell(self, op: str, **more: object) -> None:
        for member in self._members.values():
            if member.link is not None:
                member.link.send(op, **more)

    async def retire(self, patience: float) -> None:
        """End all proxies: no new connections, and ``patience`` seconds for the requests under way."""
        self._closing = True
        self._changed.set()
        admit_no_more(self.listener)
        for member in self._members.values():
            member.retire(last=True, patience=patience)
        tasks = [*self._tasks.values()]
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=patience + rules.GRACE)
            for member in [*self._members.values()]:
                _log.error("killing proxy %s: its requests took too long", member.id)
                member.process.kill()
            if left:
                await asyncio.wait(left, timeout=_KILLED)

    async def close(self) -> None:
        """Let go of the proxies, which go on if they were not retired."""
        self._closing = True
        self._changed.set()
        for member in self._members.values():
            member.process.forget()
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.listener.close()
