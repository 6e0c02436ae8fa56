"""A container engine of a test's own: a real one, with its data in a folder of its own, and base images."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import docker
from tests.support import base_image
from tests.support.waiting import until_sync


class TestEngine:
    """``dockerd`` with a socket and a folder of its own; without networks, which nothing here needs."""

    __test__ = False

    def __init__(self, root: Path, *, live_restore: bool = False) -> None:
        self.root = root
        self.url = f"unix://{root}/s"
        self._more = ["--live-restore"] if live_restore else []
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._daemon is not None
        return self._daemon.pid

    def start(self) -> None:
        """Start the daemon, again after :meth:`stop` or :meth:`kill`, and wait until it answers.

        In the main thread: the daemon ends with the thread that started it.
        """
        for attempt in range(3):
            try:
                self._begin()
                return
            except RuntimeError:  # on a busy machine its own programs may be late
                if attempt == 2:
                    raise

    def _begin(self) -> None:
        (self.root / "pid").unlink(missing_ok=True)
        with (self.root / "log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [
                    "dockerd", "--data-root", str(self.root / "data"), "--exec-root", str(self.root / "x"),
                    "--pidfile", str(self.root / "pid"), "--host", self.url, "--bridge=none",
                    "--iptables=false", "--ip6tables=false", *self._more,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=_end_with_us,  # noqa: PLW1509
            )  # fmt: skip
        until_sync(self._answers, timeout=60, interval=0.1, what="the container engine")

    def _answers(self) -> bool:
        assert self._daemon is not None
        if self._daemon.poll() is not None:
            said = (self.root / "log").read_text(errors="replace")[-1000:]
            raise RuntimeError(f"dockerd exited with {self._daemon.returncode}: {said}")
        with socket.socket(socket.AF_UNIX) as knock:
            knock.connect(f"{self.root}/s")
        with contextlib.suppress(docker.errors.DockerException), self.client() as client:
            return bool(client.ping())
        return False

    @contextlib.contextmanager
    def client(self) -> Iterator[docker.DockerClient]:
        client = docker.DockerClient(base_url=self.url, timeout=120)
        try:
            yield client
        finally:
            client.close()

    def stop(self) -> None:
        """As an administrator stops it: without ``live_restore``, its containers end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a crash: its containers go on until it is started again."""
        self._end(signal.SIGKILL)

    def revive(self) -> None:
        """Have it run, and have no container of an earlier test."""
        if self._daemon is None:
            self.start()
        with self.client() as client:
            _remove_all(client)

    def _end(self, number: signal.Signals) -> None:
        if self._daemon is not None:
            self._daemon.send_signal(number)
            self._daemon.wait(60)
            self._daemon = None

    def destroy(self) -> None:
        """Leave nothing: no container, no image, no process, no folder."""
        if self._daemon is not None:
            with contextlib.suppress(docker.errors.DockerException), self.client() as client:
                _remove_all(client)
            self.stop()
        self._end_rest()
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if (place := line.split()[4]).startswith(f"{self.root}/"):
                subprocess.run(["umount", "--lazy", place], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.root, ignore_errors=True)

    def _end_rest(self) -> None:
        """End what the daemon leaves when it is killed: programs that name its folder, and containers."""
        name = f"{self.root}/"
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = os.fsdecode((folder / "cmdline").read_bytes()).split("\0")
                program = "containerd" in words[0] and any(word.startswith(name) for word in words)
                if program or has_root_in(name, os.fsdecode((folder / "mountinfo").read_bytes())):
                    os.kill(int(folder.name), signal.SIGKILL)

    def make_base(
        self,
        name: str,
        distributions: Sequence[str],
        files: Mapping[str, bytes] = {},
        labels: Mapping[str, str] = {},
    ) -> str:
        """A base image with these packages and further files, by their paths; its name."""
        with self.client() as client, tempfile.NamedTemporaryFile(dir=self.root) as file:
            base_image.write(file, distributions, files)
            client.api.import_image(
                file,
                repository=name,
                tag="latest",
                changes=[f"LABEL {label}={value}" for label, value in labels.items()],
            )
        return f"{name}:latest"

    def derive_base(self, name: str, base: str, files: Mapping[str, bytes]) -> str:
        """A base image with further files, from another image: in a tenth of the time; its name."""
        with self.client() as client:
            container = client.containers.create(base, ["sleep"], network_mode="none")
            try:
                container.put_archive("/", base_image.archive(files))
                container.commit(repository=name, tag="latest")
            finally:
                container.remove()
        return f"{name}:latest"


def _remove_all(client: docker.DockerClient) -> None:
    for one in client.containers.list(all=True):
        with contextlib.suppress(docker.errors.DockerException):
            one.remove(force=True, v=True)


def has_root_in(folder: str, mounts: str) -> bool:
    """Whether the root of a process's file system is made of folders in this one.

    Other processes have mounts there as well: what begins a container of another engine, or runs in a
    network namespace, has begun with a copy of all mounts of the machine.

    Args:
        folder: with a slash at its end.
        mounts: the process's ``/proc/PID/mountinfo``.
    """
    lines = [line for line in mounts.splitlines() if line.split()[4] == "/"]
    return any(folder in line for line in lines)


_shared: list[TestEngine] = []


def shared_engine() -> TestEngine:
    """The engine of this process's tests, which the end of the session destroys."""
    if not _shared:
        _shared.append(make_engine())
    return _shared[0]


def destroy_shared() -> None:
    while _shared:
        _shared.pop().destroy()


def _end_with_us() -> None:
    """A test run that is killed leaves no daemon: prctl(2), PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def make_engine(**how: Any) -> TestEngine:
    """An engine that answers; skips the test where there can be none, and fails it in CI."""
    why = ""
    if shutil.which("dockerd") is None:
        why = "no dockerd is installed (Debian: docker.io)"
    elif os.geteuid() != 0:
        why = "dockerd needs root"
    if why:
        _give_up(why)
    # Short: the sockets of the daemon have addresses of 108 bytes at most.
    engine = TestEngine(Path(tempfile.mkdtemp(prefix="md-", dir="/tmp")), **how)
    try:
        engine.start()
    except (RuntimeError, AssertionError) as error:
        engine.destroy()
        _give_up(f"dockerd does not start: {error}")
    return engine


def _give_up(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"no container engine: {why}")
    pytest.skip(f"no container engine: {why}")
