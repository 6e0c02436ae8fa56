"""Puts the parts of the agent together, and runs them until it is told to stop."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from model_deployment_agent import __version__, ownership, update_store
from model_deployment_agent.clock import Clock
from model_deployment_agent.commands import Commands
from model_deployment_agent.controller import Address, Controller
from model_deployment_agent.conversation import Conversation
from model_deployment_agent.database import Database
from model_deployment_agent.errors import AgentError
from model_deployment_agent.folder import Folder
from model_deployment_agent.health import health
from model_deployment_agent.http_server import HttpServer
from model_deployment_agent.link import Link
from model_deployment_agent.local_api import LocalApi
from model_deployment_agent.log_lines import LogLines
from model_deployment_agent.model_child import ModelLimits
from model_deployment_agent.outbox import Outbox
from model_deployment_agent.recorder import Recorder
from model_deployment_agent.release_folders import ReleaseFolders
from model_deployment_agent.serving import Serving
from model_deployment_agent.update_steps import UpdateSteps
from model_deployment_agent.updater import Updater
from model_deployment_agent.wanted_release import WantedRelease

log = logging.getLogger(__name__)

#: Seconds between two writes of what was counted.
FLUSH = 5.0
#: Seconds that the parts have to end.
_END = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """What ``run`` was told."""

    host: str = "127.0.0.1"
    port: int = 8650
    limits: ModelLimits = ModelLimits()
    #: Bytes of a request.
    max_body: int = 1024 * 1024
    #: Share of the predictions that are captured, 0 to 1.
    capture_rate: float = 0.1
    #: Bytes of unsent messages.
    outbox: int = 16 * 1024 * 1024
    #: Seconds for which a new release has to prove itself.
    watch: float = 300.0
    #: The model that serves is ended while another one is tried.
    one_model: bool = False
    #: Seconds between two rounds of polling; None: a socket.
    poll: float | None = None
    #: Program that is told of commands, and seconds that it has.
    on_command: str | None = None
    command_seconds: float = 10.0


class Agent:
    """All parts of one device."""

    def __init__(self, folder: Folder, options: AgentOptions) -> None:
        """
        Raises:
            AgentError: the device is not enrolled, or its folder cannot be used.
        """
        identity = folder.identity()
        address = Address.of(identity.url, insecure=identity.insecure)
        self._folder, self._options, self._identity = folder, options, identity
        self._clock = Clock()
        self._lines = LogLines(self._clock)
        logging.getLogger().addHandler(self._lines)
        self._store = Database(folder.database)
        self._outbox = Outbox(self._store, self._clock, options.outbox)
        folders = ReleaseFolders(folder, identity.public)
        ownership.begin(self._store, folder, folders, identity)
        self._recorder = Recorder(self._store, self._clock, capture_rate=options.capture_rate)
        self._serving = Serving(folders, self._recorder, options.limits, watch=options.watch)
        self._commands = Commands(
            self._store,
            folder,
            self._clock,
            self._outbox,
            program=options.on_command,
            seconds=options.command_seconds,
        )
        wanted = WantedRelease(self._store, self._clock, identity)
        steps = UpdateSteps(
            folder,
            identity,
            self._store,
            self._clock,
            self._outbox,
            Controller(address, folder.certificates),
            folders,
            self._serving,
            options.limits,
            wanted,
            one_model=options.one_model,
        )
        self._updater = Updater(
            self._store,
            self._clock,
            self._outbox,
            folders,
            self._serving,
            wanted,
            steps,
            watch=options.watch,
        )
        self._conversation = Conversation(
            identity=identity,
            folder=folder,
            controller=Controller(address, folder.certificates),
            clock=self._clock,
            outbox=self._outbox,
            commands=self._commands,
            offered=self._updater.offered,
            running=self._running,
            health=self._health,
        )
        self._link = Link(self._conversation, poll=options.poll)

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            AgentError: the port cannot be had.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        # One for the download, two for calls: each thread takes memory.
        loop.set_default_executor(ThreadPoolExecutor(max_workers=3, thread_name_prefix="agent"))
        api = LocalApi(self._serving, self.status)
        server = HttpServer(api.handle, max_body=self._options.max_body)
        try:
            listening = await server.start(self._options.host, self._options.port)
        except OSError as error:
            raise AgentError(
                f"cannot listen at {self._options.host}:{self._options.port}: {error}; "
                "choose another --port"
            ) from error
        port = listening.sockets[0].getsockname()[1]
        log.info(
            "agent %s of %s predicts at %s:%d",
            __version__,
            self._identity.device,
            self._options.host,
            port,
        )
        parts = (
            self._serving.run,
            self._updater.run,
            self._commands.run,
            self._link.run,
            self._keep_records,
        )
        tasks = [asyncio.create_task(_for_ever(part)) for part in parts]
        await stop.wait()
        log.info("the agent ends")
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_END)
        self._conversation.controller.abort()
        self._flush()
        self._store.close()

    async def _keep_records(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            self._flush()

    def _flush(self) -> None:
        try:
            self._recorder.flush()
            self._lines.flush_to(self._store)
            self._outbox.trim()
        except AgentError as error:
            log.warning("%s", error)
        self._outbox.changed.set()

    def _running(self) -> int | None:
        active = self._serving.active
        return active.manifest.number if active else None

    def _health(self) -> dict[str, float | str]:
        active = self._serving.active
        figures = health(self._folder.path, active.child.pid if active else None)
        with contextlib.suppress(AgentError):
            figures["unsent"] = self._outbox.waiting()
        return figures

    def status(self) -> dict[str, Any]:
        """What ``GET /status`` says."""
        active, state = self._serving.active, self._conversation.state
        with self._store.transaction() as connection:
            row, failed = update_store.load(connection), update_store.failed(connection)
        return {
            "agent": __version__,
            "device": self._identity.device,
            "project": self._identity.project,
            "link": {"state": state.state, "reason": state.reason, "generation": state.generation},
            "serving": None
            if active is None
            else {
                "release": active.manifest.number,
                "model": active.manifest.model,
                "version": active.manifest.version,
                "form": active.child.form,
                "pid": active.child.pid,
                "seconds": round(time.monotonic() - self._serving.since),
            },
            "update": None
            if row is None
            else {"release": row.number, "state": row.stage, "reason": row.reason},
            "failed": {str(number): reason for number, reason in failed.items()},
            "values": self._commands.values(),
            "health": self._health(),
        }


async def _for_ever(part: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a part again if it ends with an error: the others, above all predictions, go on."""
    while True:
        try:
            await part()
        except AgentError as error:
            log.error("%s", error)
        except Exception:
            log.exception("a part of the agent failed; it begins again")
        await asyncio.sleep(1)
