"""The service as a whole: keeps Prefect's server alive, dispatches runs, ends when idle."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from model_deployment.runtime.memory import machine_memory
from model_deployment_flows.service import processes
from model_deployment_flows.service.dispatcher import Dispatcher
from model_deployment_flows.service.log_file import keep_short
from model_deployment_flows.service.options import ServiceOptions
from model_deployment_flows.service.place import Place, ServiceFile, ServiceState
from model_deployment_flows.service.prefect_api import PrefectApi, Unreachable, random_auth
from model_deployment_flows.service.prefect_environment import of_clients, of_server
from model_deployment_flows.service.registration import Registration
from model_deployment_flows.service.run_limits import memory_of_runs, time_of_runs
from model_deployment_flows.service.server_process import ServerProcess, end_process, free_port

_log = logging.getLogger(__name__)

#: Seconds between two looks at the runs.
_TICK = 1.0
#: Seconds for a server to answer, the first time in a new database.
_START_TIMEOUT = 180.0
#: How many flows there are.
_FLOWS = 5
#: Starts of a server that ends before it answers.
_STARTS = 3


class AlreadyRunning(RuntimeError):
    """Another service has the data directory."""


class CannotStart(RuntimeError):
    """Prefect's server does not start."""


class Service:
    """Serves one data directory until it is stopped, or idle."""

    def __init__(
        self,
        place: Place,
        data_dir: Path,
        project: Path,
        options: ServiceOptions,
        base: Mapping[str, str],
    ) -> None:
        """
        Args:
            base: the environment that the server and runs inherit.
        """
        self._place = place
        self._data_dir = data_dir
        self._options = options
        self._stopping = threading.Event()
        before = place.read()
        port = options.port or (_port_of(before) if before else 0)
        living = processes.servers(data_dir)
        if not living or not port:
            port = free_port(options.host, port)
        self._auth = options.auth or (before.auth if before else random_auth())
        local = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host
        self._api_url = f"http://{local}:{port}/api"
        environment = {**base, "MODEL_DEPLOYMENT_DATA_DIR": str(data_dir)}
        self._clients = of_clients(environment, place.prefect, self._api_url, self._auth)
        self._server = ServerProcess(
            options.host,
            port,
            of_server(environment, place.prefect, data_dir, self._auth, options),
            place.log,
        )
        self._left = living
        self._registration = Registration(
            place.prefect / "registered", self._clients, options.database, place.log
        )
        self._api = PrefectApi(self._api_url, self._auth)
        self._dispatcher = Dispatcher(
            self._api,
            data_dir,
            project,
            self._clients,
            place.log,
            priority=options.priority,
            threads=options.threads or max(1, (os.cpu_count() or 1) - 1),
            memory=lambda: memory_of_runs(project),
            most_time=lambda: time_of_runs(project),
            machine=machine_memory,
        )

    def stop(self) -> None:
        """Have ``run`` return soon; safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Serve. Raises CannotStart."""
        try:
            with self._api:
                self._say(ServiceState.STARTING)
                self._adopt_server()
                try:
                    self._start_server()
                    self._serve()
                finally:
                    self._end()
        finally:
            self._server.stop()
            self._place.remove()

    def _serve(self) -> None:
        busy_at = time.monotonic()
        while not self._stopping.is_set():
            try:
                if not self._server.is_alive():
                    _log.error("Prefect's server ended; it is started again")
                    self._say(ServiceState.STARTING)
                    self._start_server()
                if self._dispatcher.tick():
                    busy_at = time.monotonic()
                keep_short(self._place.log)
            except Unreachable as error:
                _log.warning("Prefect's server does not answer: %s", error)
            if (
                self._options.idle_timeout
                and time.monotonic() - busy_at >= self._options.idle_timeout
            ):
                _log.info("no run for %g s: the service ends", self._options.idle_timeout)
                return
            self._stopping.wait(_TICK)

    def _end(self) -> None:
        self._say(ServiceState.STOPPING)
        try:
            self._dispatcher.end_all()
        except Unreachable as error:
            _log.warning("the next service writes down how the runs ended: %s", error)

    def _adopt_server(self) -> None:
        """Take over the server that a killed service left, if it answers; end it otherwise."""
        for process in self._left:
            if len(self._left) == 1 and self._api.healthy():
                self._server.adopt(process)
                _log.info("took over Prefect's server, process %d", process.pid)
            else:
                end_process(process)
        self._left = []

    def _start_server(self) -> None:
        """Returns when it answers and has the flows."""
        end = time.monotonic() + _START_TIMEOUT
        starts = 0
        self._registration.begin()
        try:
            while not self._stopping.is_set():
                if not self._server.is_alive():
                    if starts == _STARTS:
                        raise CannotStart(
                            f"Prefect's server ended {starts} times; {self._place.log} says why"
                        )
                    self._server.start()
                    starts += 1
                    _log.info("Prefect's server starts, process %s", self._server.pid)
                if self._api.healthy() and self._registration.is_done():
                    if self._api.served_flows() >= _FLOWS:
                        self._say(ServiceState.READY)
                        return
                    self._registration.begin(force=True)  # the database was made anew
                if time.monotonic() > end:
                    raise CannotStart(
                        f"Prefect's server did not answer within {_START_TIMEOUT:g} s; "
                        f"{self._place.log} has its log"
                    )
                self._stopping.wait(0.2)
        except RuntimeError as error:
            raise CannotStart(str(error)) from error
        finally:
            self._registration.abandon()

    def _say(self, state: ServiceState) -> None:
        content = ServiceFile(os.getpid(), state, self._api_url, self._auth, time.time())
        try:
            self._place.write(content)
        except OSError as error:
            if self._place.read() is None:
                raise
            _log.error(
                "cannot write %s: %s", self._place.file, error
            )  # it still says where the server is
        _log.info("the service is %s at %s", state.value, self._api_url)


@contextmanager
def only_one(place: Place) -> Iterator[None]:
    """Hold the lock of the service. Raises AlreadyRunning."""
    with place.lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            known = place.read()
            which = f"process {known.pid}" if known else "another process"
            raise AlreadyRunning(
                f"cannot start the service of the flows: {which} serves {place.folder}"
            ) from None
        yield


def stop_on_signals(service: Service) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())


def _port_of(file: ServiceFile) -> int:
    return int(file.api_url.rpartition(":")[2].partition("/")[0])
