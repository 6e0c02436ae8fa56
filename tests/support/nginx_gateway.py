"""The gateway for tests: a real nginx, started by ``nginx/start.sh`` with the files that are shipped."""

import base64
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import bcrypt
import psutil
import pytest

from tests.support.missing import missing
from tests.support.ports import free_port
from tests.support.stubs import HOST, Answer
from tests.support.waiting import until_sync

START = Path(__file__).parents[2] / "nginx" / "start.sh"
#: Where Debian has it is not in everybody's path.
PATH = f"{os.defpath}:/usr/sbin:/usr/local/sbin"

#: Not even a test run that is killed leaves it behind; SIGTERM ends nginx's workers too. (A function
#: between fork and exec would do as well, but not beside threads.)
_ENDS_WITH_US = ["setpriv", "--pdeathsig", "SIGTERM"] if shutil.which("setpriv") else []

#: Names and passwords that :func:`credentials` makes, by role.
USERS = {"operator": ("admin", "operator's pw"), "caller": ("caller", "a:colon")}


def basic(name: str, password: str) -> dict[str, str]:
    """The header that carries them."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


AS = {role: basic(*user) for role, user in USERS.items()}


class Gateway:
    """One gateway on ports of its own."""

    def __init__(
        self,
        folder: Path,
        controller: str,
        *,
        credentials: Path,
        certificates: Path | None = None,
        **environment: str,
    ) -> None:
        """A gateway that is not started.

        Args:
            controller: ``host:port``.
            certificates: a folder with ``tls.crt`` and ``tls.key``; None for plain HTTP.
            environment: more of start.sh's variables.
        """
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "PATH": os.defpath,
            "CONTROLLER": controller,
            "CREDENTIALS": str(credentials),
            "CERTIFICATES": str(certificates or folder / "none"),
            "HTTP_PORT": f"{HOST}:{free_port()}",
            "HTTPS_PORT": f"{HOST}:{free_port()}",
            "GATEWAY_RUN": str(folder / "run"),
            "AUTH_DELAY": "0",
            **environment,
        }

    @property
    def port(self) -> int:
        return int(self.environment["HTTP_PORT"].rpartition(":")[2])

    @property
    def https_port(self) -> int:
        return int(self.environment["HTTPS_PORT"].rpartition(":")[2])

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def https_url(self) -> str:
        return f"https://{HOST}:{self.https_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self, stdout: int | None = None) -> subprocess.Popen[bytes]:
        """Start it, and do not wait for it. The access log goes to a file, or to a descriptor."""
        if shutil.which("nginx", path=PATH) is None:
            missing("nginx is not installed (Debian: apt-get install nginx-light)")
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "access.log").open("ab") as out, self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [*_ENDS_WITH_US, str(START)],
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=errors,
                env=self.environment,
            )
        return self._process

    def start(self, stdout: int | None = None) -> None:
        """Start it, and wait until it takes connections."""
        self.launch(stdout)
        until_sync(self._listens, what=f"nginx, see {self._errors}")

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"nginx ended: {self.errors()}")
        with self.connect():
            return True

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> int:
        """Tell it to end; its exit status. The default lets requests in flight finish."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(20)

    def reload(self) -> None:
        """Have nginx read its configuration again, and wait for workers that have."""
        before = self.workers()
        os.kill(self.pid, signal.SIGHUP)
        until_sync(lambda: self.workers() - before, what="workers after a reload")

    def workers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.pid).children()}

    def end(self) -> None:
        """Whatever became of it, it is gone after this."""
        if self._process is not None and self._process.poll() is None:
            self.stop(signal.SIGTERM)

    @property
    def _errors(self) -> Path:
        return self.folder / "error.log"

    def errors(self) -> str:
        """All that it and start.sh wrote to standard error."""
        return self._errors.read_text(errors="replace")

    def logged(self) -> list[str]:
        """Lines of the access log."""
        return (self.folder / "access.log").read_text().splitlines()

    def connect(self) -> socket.socket:
        return socket.create_connection((HOST, self.port), timeout=15)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] = {}, body: Any = None
    ) -> Answer:
        """Send one request on a connection of its own; an iterator as body is sent chunked."""
        connection = HTTPConnection(HOST, self.port, timeout=15)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()


def credentials(folder: Path) -> Path:
    """A folder with the two files of passwords, as ``model-deployment users`` makes them."""
    folder.mkdir()
    lines = {role: htpasswd(*user) for role, user in USERS.items()}
    (folder / "operators.htpasswd").write_text(lines["operator"])
    (folder / "callers.htpasswd").write_text(lines["operator"] + lines["caller"])
    return folder


def htpasswd(name: str, password: str) -> str:
    """A line of such a file; of the least cost, since tests ask often."""
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    return f"{name}:$2y{hashed[3:]}\n"


def certificates(folder: Path) -> Path:
    """A folder with a certificate of this machine's own making."""
    if shutil.which("openssl") is None:
        missing("openssl is not installed")
    folder.mkdir()
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=localhost",
            "-addext", f"subjectAltName=DNS:localhost,IP:{HOST}",
            "-keyout", folder / "tls.key", "-out", folder / "tls.crt",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return folder
