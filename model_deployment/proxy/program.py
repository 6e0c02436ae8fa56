"""A proxy: answers predictions on the shared address, as its controller's route table says.

It goes on without a controller, with the table that it got last.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.model_kind import ModelKind
from model_deployment.core.names import ModelKey
from model_deployment.core.routes import Route
from model_deployment.credentials.access import Access
from model_deployment.credentials.verify import Credentials
from model_deployment.gate import Gate
from model_deployment.http.process import most_tunnels
from model_deployment.proxy import protocol
from model_deployment.proxy.context import ExchangeContext
from model_deployment.proxy.control_server import ControlServer
from model_deployment.proxy.forwarder import Forwarder
from model_deployment.proxy.held_bytes import HeldBytes
from model_deployment.proxy.protocol import Message, ProxyConfig
from model_deployment.proxy.route_reports import RouteReports
from model_deployment.proxy.routes import Routes
from model_deployment.proxy.server import ProxyServer
from model_deployment.proxy.shared_limits import DeploymentUsage, SharedLimits, unshared_usage
from model_deployment.proxy.spare_memory import give_memory_back
from model_deployment.proxy.tunnel import Tunnels
from model_deployment.proxy.upstream import UpstreamLimits
from model_deployment.recording.count_report import CountReport
from model_deployment.recording.counters import RequestCounters
from model_deployment.recording.recorder import Recorder
from model_deployment.recording.spool import Spool
from model_deployment.recording.spool_upkeep import SpoolUpkeep
from model_deployment.recording.windows import TrafficWindows
from model_deployment.registry.artifacts import ArtifactCache
from model_deployment.registry.mlmodel import MLmodelReader
from model_deployment.registry.mlmodel_cache import MLmodelCache
from model_deployment.runtime.logs import LaunchLogs

_log = logging.getLogger(__name__)

#: Seconds between two reports, if something changed; at most.
_PERIOD, _HEARTBEAT = 0.2, 1.0
#: Seconds within which a new proxy gets a route table. One that nobody knows of ends: its controller was
#: killed as it started it.
_FORGOTTEN = 60.0


class _Phase(Enum):
    STARTING = auto()  # it has no route table yet, so it takes no connections
    SERVING = auto()
    RETIRING = auto()  # it takes no connections any more; the first order to retire counts


@dataclass(frozen=True, slots=True)
class _Retirement:
    #: No other process will take connections at this address.
    last: bool
    #: Seconds that the requests under way may take.
    patience: float


class ProxyProgram:
    """Everything of one proxy, in one event loop. Made while that loop runs."""

    def __init__(self, config: ProxyConfig, listener: socket.socket) -> None:
        """
        Args:
            listener: the socket that callers connect to, which others may share.

        Raises:
            CredentialsError: the users cannot be read.
            OSError, ValueError: the data directory cannot be used.
        """
        self._config = config
        self._listener = listener
        data = Path(config.data_dir)
        self._credentials = _open_credentials(config)
        self._artifacts = ArtifactCache(data / "models")
        self._descriptions = MLmodelCache(MLmodelReader())
        self._usage = _open_limits(config)
        self._routes = Routes(
            UpstreamLimits(**config.limits),
            usage=self._usage_of,
            gates=self._gate,
            kinds=self._kind,
            on_failure=lambda: self._control.send({"event": "look"}),
            add_event=self._note,
            wake=self._wake,
        )
        self._spool = Spool(data / "spool", max_bytes=config.spool_bytes)
        self._spool.open()
        self._counters = RequestCounters()
        windows = TrafficWindows(config.id)
        self._counts = CountReport(self._counters, windows, lambda: self._spool.dropped)
        self._reports = RouteReports(self._routes)
        self._control = ControlServer(
            config.folder, config.socket, listener, self._handle, self._on_controller
        )
        self._recorder = Recorder(self._spool, windows, self._counters)
        self._held = _held_bytes(config, self._usage)
        context = ExchangeContext(
            config.max_body_bytes,
            body_timeout=config.body_timeout,
            held=self._held,
            recorder=self._recorder,
            log_failure=LaunchLogs(data / "logs", config.log_max_bytes).append,
        )
        self._forwarder = Forwarder(
            config.folder / protocol.API_SOCKET,
            lambda: self._control.connected,
            context,
            config.streamed_calls,
        )
        self._server = ProxyServer(
            self._forwarder,
            self._routes,
            context,
            Access(self._credentials, config.hosts, config.open_calls).admit,
            trusted_proxies=config.trusted_proxies,
            tunnels=_tunnels(config),
        )
        self._phase = _Phase.STARTING
        self._retirement: asyncio.Future[_Retirement] = asyncio.get_running_loop().create_future()

    def retire(self, *, last: bool = False, patience: float | None = None) -> None:
        """Take no connections any more, and end when the requests under way are answered.

        Args:
            last: no other process will take connections at this address.
            patience: seconds that the requests may take.
        """
        if self._phase is _Phase.RETIRING:
            if patience is None:
                self._routes.publish(())  # told twice: in a hurry
            return
        self._phase = _Phase.RETIRING
        seconds = self._config.drain_timeout if patience is None else patience
        if not self._retirement.done():  # it was cancelled with the program
            self._retirement.set_result(_Retirement(last, seconds))

    def tell(self, message: Message) -> None:
        """Send a message to the controller, if there is one."""
        self._control.send(message)

    async def run(self) -> None:
        """Serve until told to retire.

        Raises:
            OSError: the control socket cannot be made.
        """
        await self._control.start()
        upkeep = SpoolUpkeep(self._spool, self._recorder)
        beside = [
            asyncio.create_task(upkeep.run()),
            asyncio.create_task(self._report_changes()),
            asyncio.create_task(self._end_if_forgotten()),
            asyncio.create_task(give_memory_back(self._held)),
        ]
        try:
            retirement = await self._retirement
            self._routes.stop_waiting()
            await self._server.stop(last=retirement.last, patience=retirement.patience)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            self._send_report()
            await self._control.close()
            await self._routes.close()
            if self._usage is not None:
                self._usage.close()
            await self._forwarder.close()
            self._recorder.write_errors(everything=True)
            self._spool.close()
            self._credentials.close()

    def _usage_of(self, route: Route) -> DeploymentUsage:
        return unshared_usage() if self._usage is None else self._usage.row(route.usage_row)

    def _gate(self, route: Route) -> Gate:
        path = self._artifacts.path(route.artifact)
        return self._descriptions.gate(path, route.options.validation)

    def _kind(self, route: Route) -> ModelKind | None:
        path = self._artifacts.path(route.artifact)
        return self._descriptions.kind(path) if (path / "MLmodel").exists() else None

    def _note(self, key: ModelKey, text: str) -> None:
        self._control.send({"event": "note", "key": [key.model, key.version], "text": text})

    def _wake(self, key: ModelKey) -> None:
        self._control.send({"event": "wake", "key": [key.model, key.version]})

    def _on_controller(self, connected: bool) -> None:
        if connected:
            self._send_report(everything=True)
        else:
            _log.warning("the controller is gone; predictions go on with its last route table")

    async def _handle(self, message: Message) -> Message | None:
        match message.get("op"):
            case "hello":
                return {"protocol": protocol.VERSION}
            case "table":
                await self._replace_table(message)
            case "report":
                return {"report": self._changes()}
            case "stored":
                self._counts.stored(message["revisions"])
            case "discard":
                self._counts.discard(ModelKey(*message["key"]))
            case "refuse":
                self._routes.fail_waiting(*protocol.refusal_of(message))
            case "dismiss":
                self._routes.stop_waiting()
            case "drop":
                self._routes.publish(())
            case "retire":
                self.retire(last=message["last"], patience=message["patience"])
            case other:
                _log.warning("the controller asks for something unknown: %s", other)
        return None

    async def _replace_table(self, message: Message) -> None:
        routes = [protocol.route_of(one) for one in message["routes"]]
        endpoints = [protocol.endpoint_of(one) for one in message["endpoints"]]
        timeseries = EndpointName(*named) if (named := message.get("timeseries")) else None
        await asyncio.to_thread(self._read_signatures, routes)
        complete = self._routes.publish(routes, endpoints, timeseries)
        self._counters.keep(route.key for route in routes)
        if self._phase is _Phase.STARTING:
            self._phase = _Phase.SERVING
            await self._server.start(self._listener, shared=self._config.shared)
        self._control.send(
            {
                "event": "acknowledged",
                "number": message["number"],
                "complete": complete,
                "report": self._changes(),
            }
        )

    def _read_signatures(self, routes: Sequence[Route]) -> None:
        """On a thread and before they are needed: a large signature takes a tenth of a second."""
        for route in routes:
            if route.artifact:
                with contextlib.suppress(Exception):  # publishing says why
                    self._gate(route)
                    self._kind(route)

    def _changes(self, *, everything: bool = False) -> dict[str, Any]:
        counts = self._counts.changes(time.time(), everything=everything)
        return {**counts, **self._reports.changes(everything=everything)}

    def _send_report(self, *, everything: bool = False) -> None:
        report = self._changes(everything=everything)
        self._control.send({"event": "report", "report": report})
        while report.get("more"):
            report = self._changes()
            self._control.send({"event": "report", "report": report})

    async def _end_if_forgotten(self) -> None:
        await asyncio.sleep(_FORGOTTEN)
        if self._phase is _Phase.STARTING:
            _log.warning("no controller gave a route table within %g s", _FORGOTTEN)
            self.retire()

    async def _report_changes(self) -> None:
        """Report each moment what changed, and each second that this process lives."""
        loop = asyncio.get_running_loop()
        sent = loop.time()
        while True:
            await asyncio.sleep(_PERIOD)
            if not self._control.connected:
                continue
            try:
                report = self._changes()
            except Exception:
                _log.exception("cannot report")
                continue
            if report or loop.time() - sent >= _HEARTBEAT:
                self._control.send({"event": "report", "report": report})
                sent = loop.time()


def _open_credentials(config: ProxyConfig) -> Credentials:
    found = Credentials(Path(config.credentials_dir), required=config.credentials_required)
    found.open()
    return found


def _open_limits(config: ProxyConfig) -> SharedLimits | None:
    """The table of shared limits; None where there is none: to predict is worth more than to share."""
    try:
        return SharedLimits.open(config.folder / protocol.LIMITS_FILE, config.column)
    except (OSError, ValueError) as error:
        _log.error("this proxy has limits of its own: %s", error)
        return None


def _tunnels(config: ProxyConfig) -> Tunnels:
    most = most_tunnels(config.sockets)
    return Tunnels(config.folder / protocol.API_SOCKET, most, config.trusted_proxies)


def _held_bytes(config: ProxyConfig, usage: SharedLimits | None) -> HeldBytes:
    budget = config.held_bytes
    return HeldBytes.unshared(budget) if usage is None else usage.held_bytes(budget)
