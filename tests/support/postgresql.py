"""A real PostgreSQL server for tests, from Debian's packages; it can be killed and started again.

``MODEL_DEPLOYMENT_TEST_POSTGRESQL`` names another folder with ``initdb`` and ``postgres``.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.support.missing import missing
from tests.support.mongod import end_with_us
from tests.support.ports import HOST, claim_ports
from tests.support.waiting import until_sync

SUPERUSER = "postgres"
#: The server refuses to run as root.
NOBODY = 65534


class PostgreSQL:
    """One server with a port and files of its own; its superuser has a password."""

    def __init__(self, password: str) -> None:
        # Not among pytest's folders, which are closed to the server's user.
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        self._password = password
        self._programs = programs()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = claim_ports(1)

    def url(self, database: str = "postgres", driver: str = "postgresql+psycopg2") -> str:
        return f"{driver}://{SUPERUSER}:{self._password}@{HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Start it, with the files of the one before, and wait until it takes queries."""
        data = self._folder / "data"
        if not data.exists():
            self._create(data)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    "-D", data,
                    "-h", HOST,
                    "-p", str(self.port),
                    "-k", "",
                    # The tests kill the server, not the machine.
                    "-c", "fsync=off",
                    "-c", "shared_buffers=16MB",
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_as_nobody,  # noqa: PLW1509 - three system calls
            )  # fmt: skip
        until_sync(self._answers, timeout=60, interval=0.05, what=f"PostgreSQL: {self._folder}/log")

    def _create(self, data: Path) -> None:
        secret = self._folder / "password"
        secret.write_text(self._password)
        if os.geteuid() == 0:
            os.chown(self._folder, NOBODY, NOBODY)
            os.chown(secret, NOBODY, NOBODY)
        command: Sequence[str | Path] = [
            self._programs / "initdb", "-D", data, "-U", SUPERUSER, "--pwfile", secret,
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync",
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, preexec_fn=_as_nobody, cwd="/"
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _answers(self) -> bool:
        import psycopg2

        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended: {(self._folder / 'log').read_text()[-2000:]}")
        try:
            psycopg2.connect(self.url(driver="postgresql"), connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def create(self, database: str) -> str:
        """Make a database; its URL."""
        import psycopg2

        with closing(psycopg2.connect(self.url(driver="postgresql"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def kill(self) -> None:
        """As the kernel ends what takes too much memory; its backends end with it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def end(self) -> None:
        """End it, and remove its files."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # "immediate shutdown"
            self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)


def programs() -> Path:
    """The folder of the server's programs; without them the test is skipped, and fails in CI."""
    given = os.environ.get("MODEL_DEPLOYMENT_TEST_POSTGRESQL")
    places = [Path(given)] if given else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for place in reversed(places):
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    if found := shutil.which("postgres"):
        return Path(found).parent
    return missing("PostgreSQL is not installed (Debian: apt-get install postgresql)")


def _as_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    end_with_us()
