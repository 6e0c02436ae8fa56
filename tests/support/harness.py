"""A controller in a process of its own, on ports and a data directory of its own."""

import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx

from model_deployment.core.users import Role
from model_deployment.credentials import htpasswd
from tests.support import audit
from tests.support.controller_environment import DEFAULTS, program_environment
from tests.support.controller_forks import ControllerForks
from tests.support.forks import ForkedProcess
from tests.support.listening import listeners
from tests.support.ports import claim_ports, release_ports
from tests.support.tools import check_problem
from tests.support.waiting import until_sync

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"

#: What a stub with ``spam_log_bytes`` writes as a request arrives.
NOTED = "stub: spam"
#: Users of a controller that has any.
OPERATOR, CALLER = ("olga", "o" * 16), ("carl", "c" * 16)
#: Signs in a controller's log of something that went wrong unseen.
TROUBLE = ("Traceback", "never retrieved", "never awaited", "Unclosed")


class Controller:
    """Starts, ends and asks one controller. Settings are named without their prefix."""

    def __init__(
        self,
        folder: Path,
        registry: str,
        *,
        forks: ControllerForks | None = None,
        programs: bool = False,
        ports: int = 8,
        **settings: Any,
    ) -> None:
        """A controller that does not run yet.

        Args:
            registry: its tracking URI; empty for the one it makes in its data directory.
            forks: starts it in little time; None starts a program of its own.
            programs: its drain and its proxies are programs of their own in any case.
            ports: how many models it has room for.
        """
        self.forks = forks
        self._programs = programs
        first = claim_ports(ports + 1)
        self.data = folder / "data"
        self.log = folder / "controller.log"
        self.port = first
        self.ports = (first + 1, first + ports)
        self.settings = DEFAULTS | settings
        self.registry = registry
        #: What is started, with stub model servers.
        self.program = [sys.executable, "-m", "tests.support.stub_controller"]
        #: Of ``serve``.
        self.arguments: list[str] = []
        #: Further variables of its environment, as they are named there.
        self.variables: dict[str, str] = {}
        self.trouble_expected = False
        #: Name and password that calls are made with.
        self.user: tuple[str, str] | None = None
        self._folder = folder
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self._instance = ""
        self._clients = [self._client()]

    @property
    def url(self) -> str:
        host = self.settings.get("HOST", HOST)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def state_db(self) -> Path:
        return self.data / "state.db"

    @property
    def instance(self) -> str:
        """The name its model processes carry; known once it was up."""
        return self._instance

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    # Its life

    def start(self, **settings: Any) -> Self:
        """Start the program, and do not wait for it. ``settings`` stay for later starts."""
        assert not self.running
        self.settings |= settings
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            if self.forks is not None:
                self._process = self.forks.start(
                    ["serve", *self.arguments],
                    self._folder,
                    self.environment(),
                    log.fileno(),
                    programs=self._programs,
                )
            else:
                self._process = subprocess.Popen(
                    self.command("serve", *self.arguments),
                    cwd=self._folder,
                    env=self.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        return self

    def up(self, **settings: Any) -> Self:
        """Start the program, and wait until it is ready."""
        return self.start(**settings).wait_ready()

    def with_users(self) -> Self:
        """Give it two users; calls are made by the operator."""
        htpasswd.set_user(self.data / "credentials", *OPERATOR, Role.OPERATOR)
        htpasswd.set_user(self.data / "credentials", *CALLER, Role.CALLER)
        self.user = OPERATOR
        return self

    def wait_ready(self, timeout: float = 60) -> Self:
        def ready() -> bool:
            if not self.running:
                raise RuntimeError("the controller ended")
            return self.call("GET", "/ready").status_code == 200

        until_sync(ready, timeout=timeout, what="the controller to be ready")
        self._instance = audit.read_state(self.state_db).instance or ""
        return self

    def kill(self) -> None:
        """SIGKILL: no time to tidy up."""
        self.send(signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.send(signal.SIGTERM)
        return self.wait()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, timeout: float = 30) -> int:
        """Wait for its end; the exit status."""
        assert self._process is not None
        code = self._process.wait(timeout)
        # Connections to it are of no use any more, but other threads may be hanging on them.
        self._clients.append(self._client())
        return code

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return [*self.program, *arguments]

    def environment(self) -> dict[str, str]:
        """What the program is started with: nothing of ours that could change what it does."""
        own = {
            "DATA_DIR": self.data,
            "PORT": self.port,
            "PORTS": f"{self.ports[0]}-{self.ports[1]}",
            **self.settings,
        }
        return program_environment(own, self.registry, self.variables)

    # Asking it

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One HTTP call. A connection that broke is a ConnectionError, which waits know."""
        try:
            more.setdefault("auth", self.user)
            return self._clients[-1].request(method, path, **more)
        except httpx.TransportError as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error

    def get(self, path: str, status: int = 200, **params: Any) -> Any:
        return self._json(self.call("GET", path, params=params or None), status)

    def post(self, path: str, status: int = 200, body: Any = None, **params: Any) -> Any:
        return self._json(self.call("POST", path, params=params or None, json=body), status)

    def deploy(self, key: str, *, status: int = 200, wait: float = 60, **options: Any) -> Any:
        """Deploy ``<model>-<version>``."""
        model, _, version = key.rpartition("-")
        return self.post(f"/deploy/{model}/{version}", status, options or None, wait=wait)

    def undeploy(self, key: str, *, status: int = 200, wait: float = 60) -> Any:
        return self.post(f"/undeploy/{key}", status, wait=wait)

    def row(self, key: str) -> Any:
        return self.get(f"/model/{key}")

    def events(self, key: str) -> Any:
        """What happened to a deployment, oldest first."""
        return self.get(f"/model/{key}/events")[::-1]

    def predict(self, key: str, *values: Any, timeout: float = 30) -> httpx.Response:
        body = {"instances": list(values or (1,))}
        return self.call("POST", f"/{key}", json=body, timeout=timeout)

    def arrived(self, key: str, number: int = 1) -> None:
        """Wait until so many requests have reached the model server; for models that note them."""
        log = f"/model/{key}/logs"
        until_sync(
            lambda: self.call("GET", log).text.count(NOTED) >= number, what=f"requests to {key}"
        )

    def wait_for(self, key: str, state: str, timeout: float = 20) -> Any:
        """The deployment, once it is in a state."""

        def arrived() -> Any:
            row = self.row(key)
            assert row["state"] == state, f"{row['state']}: {row['reason']}"
            return row

        return until_sync(arrived, timeout=timeout, what=f"{key} to be {state}")

    # Looking past it

    def companions(self) -> list[audit.Marked]:
        """Living processes of the drain and of the proxies."""
        return [one for one in audit.marked_processes(self.instance) if one.is_companion]

    def processes(self, key: str = "") -> list[audit.Marked]:
        """Living processes of a deployment's launch, or of all launches."""
        launches = {row.launch_id for row in audit.read_state(self.state_db).rows if row.key == key}
        found = audit.marked_processes(self.instance)
        launched = [process for process in found if not process.is_companion]
        return [process for process in launched if not key or process.launch_id in launches]

    def leftovers(self) -> list[str]:
        """Processes of launches, and listeners on the ports of launches.

        Also companions, unless the controller was killed or keeps models: they go on without it.
        """
        keeps = self.settings.get("KEEP_MODELS") == "true"
        orderly = not keeps and (self._process is None or self._process.returncode == 0)
        marked = audit.marked_processes(self.instance)
        processes = [str(process) for process in marked if orderly or not process.is_companion]
        # At its end a process loses its environment first, and its sockets a moment later.
        with suppress(AssertionError):
            until_sync(lambda: None not in listeners(*self.ports).values(), timeout=2)
        listening = listeners(*self.ports).items()
        sockets = audit.control_sockets(self.data) if orderly else ()
        stale = [f"the control socket of proxy {id}" for id in sockets]
        return [
            *processes,
            *stale,
            *(f"pid {pid} listens on port {port}" for port, pid in listening),
        ]

    def held_up(self) -> float:
        """Seconds it was ready to run, and had to leave the processor to other programs."""
        assert self._process is not None
        with suppress(FileNotFoundError):  # not every kernel keeps these figures
            _, waited, _ = Path(f"/proc/{self._process.pid}/schedstat").read_text().split()
            return int(waited) / 1e9
        return 0.0

    def logged(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def logged_by_proxies(self) -> str:
        log = self.data / "logs" / "proxy.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def drain_logged(self) -> str:
        """What the drain said."""
        log = self.data / "logs" / "drain.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def destroy(self) -> None:
        """The last resort: nothing of it may outlive its test."""
        if self.running:
            self.kill()
        if self._instance:
            audit.kill_all(self._instance)
        for client in self._clients:
            client.close()
        release_ports(self.port)

    def _client(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
        # Without TLS: to read the certificates of all authorities takes 20 ms of the processor.
        return httpx.Client(
            base_url=self.url, timeout=90, limits=limits, trust_env=False, verify=False
        )

    def _json(self, answer: httpx.Response, status: int) -> Any:
        assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
        if status >= 400:
            check_problem(answer)
        return answer.json()


#: Makes controllers that do not run yet, and that end with the test.
Controllers = Callable[..., Controller]
