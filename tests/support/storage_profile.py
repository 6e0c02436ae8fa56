"""The services of the compose profile ``storage`` without containers: PostgreSQL, SeaweedFS, MLflow.

``docker/storage.py`` makes the keys, prepares both stores, and becomes the server, as in its containers.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.harness import ROOT
from tests.support.object_store import ObjectStore
from tests.support.ports import HOST
from tests.support.postgresql import PostgreSQL
from tests.support.tracking_server import tracking_server


class StorageProfile:
    """Both stores, with the keys of a new project."""

    def __init__(self, folder: Path) -> None:
        self.keys = folder / "keys"
        self.keys.mkdir(parents=True)
        (self.keys / "prefect").mkdir()
        self.program("keys")
        self.postgresql = PostgreSQL(self.key("postgres.password"))
        config = json.loads(self.key("s3.json"))
        access, secret = self.key("s3.key").split("\n")
        self.s3 = ObjectStore(folder / "s3", config, (access, secret))

    def key(self, name: str) -> str:
        return (self.keys / name).read_text()

    def program(self, *arguments: str, **variables: str) -> str:
        """Run ``docker/storage.py``; its output. A failure is a RuntimeError with what it said."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-I", str(ROOT / "docker/storage.py"), *arguments]

    @property
    def database(self) -> str:
        """The address of MLflow's database."""
        user = f"mlflow:{self.key('mlflow.password')}"
        return f"postgresql+psycopg2://{user}@{HOST}:{self.postgresql.port}/mlflow"

    @property
    def environment(self) -> dict[str, str]:
        stores = {}
        if hasattr(self, "s3"):
            address = f"{HOST}:{self.postgresql.port}"
            stores = {"STORAGE_POSTGRESQL": address, "STORAGE_S3": self.s3.url}
        own = {
            "PROFILES": "demo,storage",
            "STORAGE_KEYS": str(self.keys),
            "STORAGE_PREFECT_KEY": str(self.keys / "prefect"),
            "STORAGE_PATIENCE": "20",
        }
        return {**os.environ, **own, **stores}

    def start(self) -> None:
        self.postgresql.start()
        self.s3.start()

    def kill(self) -> None:
        self.postgresql.kill()
        self.s3.kill()

    def end(self) -> None:
        self.postgresql.end()
        self.s3.end()

    @contextmanager
    def mlflow(self, folder: Path) -> Iterator[str]:
        """The address of a server of MLflow that keeps everything in both stores."""
        folder.mkdir()
        before = self.command("run", "mlflow")
        with tracking_server(folder=folder, before=before, environment=self.environment) as address:
            yield address


@contextmanager
def storage_profile(folder: Path) -> Iterator[StorageProfile]:
    """Both stores, prepared."""
    profile = StorageProfile(folder)
    with ExitStack() as stack:
        stack.callback(profile.end)
        profile.start()
        profile.program("prepare")
        yield profile
