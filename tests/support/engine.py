"""A container engine of a test's own: a real one, with its data in a folder of its own, and base images.

Nothing can be pulled in tests. So a base image is made of the Python that runs the tests: its interpreter,
the shared libraries that this needs, and some of the installed packages with all that they require.
"""

import contextlib
import ctypes
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import docker
from tests.support.waiting import until_sync

#: What a base image for stubs has, and one for real models.
SMALL: tuple[str, ...] = ("pip",)
WHOLE: tuple[str, ...] = (
    "mlflow",
    "skops",
    "scikit-learn",
    "uvicorn",
    "uvloop",
    "httptools",
    "orjson",
    "pip",
)
#: Parts of Python that no model needs.
_LEFT_OUT = re.compile(
    r"/(test|tests|idlelib|tkinter|lib2to3|ensurepip|turtledemo)(/|$)|\.a$|/config-3"
)


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

    def _end(self, number: signal.Signals) -> None:
        if self._daemon is not None:
            self._daemon.send_signal(number)
            self._daemon.wait(60)
            self._daemon = None

    def destroy(self) -> None:
        """Leave nothing: no container, no image, no process, no folder."""
        if self._daemon is not None:
            with contextlib.suppress(docker.errors.DockerException), self.client() as client:
                for one in client.containers.list(all=True):
                    with contextlib.suppress(docker.errors.DockerException):
                        one.remove(force=True, v=True)
            self.stop()
        self._end_rest()
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if (place := line.split()[4]).startswith(f"{self.root}/"):
                subprocess.run(["umount", "--lazy", place], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.root, ignore_errors=True)

    def _end_rest(self) -> None:
        """End what the daemon leaves when it is killed: programs that name its folder, and containers."""
        name, here = os.fsencode(f"{self.root}/"), Path("/proc/self/ns/mnt").readlink()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                program = b"containerd" in words[0] and any(word.startswith(name) for word in words)
                # The file system of a container is made of folders there.
                inside = (folder / "ns/mnt").readlink() != here
                if program or (inside and name in (folder / "mountinfo").read_bytes()):
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
            with tarfile.open(fileobj=file, mode="w", dereference=True) as archive:
                _add_python(archive)
                for path, content in files.items():
                    _text(archive, path.lstrip("/"), content)
            file.flush()
            _append_packages(file.name, distributions)
            file.seek(0)
            client.api.import_image(
                file,
                repository=name,
                tag="latest",
                changes=[f"LABEL {label}={value}" for label, value in labels.items()],
            )
        return f"{name}:latest"


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


def _add_python(archive: tarfile.TarFile) -> None:
    prefix = Path(sys.base_prefix)
    program = prefix / "bin" / f"python3.{sys.version_info.minor}"
    modules = Path(os.__file__).parent

    def wanted(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if _LEFT_OUT.search(f"/{info.name}") or "/site-packages/" in f"/{info.name}":
            return None
        return _as_root(info)

    archive.add(program, _inside(program), filter=_as_root)
    archive.add(modules, _inside(modules), filter=wanted)
    sleep = Path("/bin/sleep").resolve()
    archive.add(sleep, "usr/local/bin/sleep", filter=_as_root)
    for library in _libraries([program, sleep, *modules.glob("lib-dynload/*.so")]):
        archive.add(library.resolve(), _inside(library), filter=_as_root)
    for name in ("python3", f"python3.{sys.version_info.minor}"):
        _link(archive, f"usr/local/bin/{name}", str(program))
    for folder in ("tmp", "root", "proc", "sys", "dev", "run"):
        info = tarfile.TarInfo(folder)
        info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
        archive.addfile(info)
    _text(archive, "etc/passwd", b"root:x:0:0:root:/root:/usr/sbin/nologin\n")
    _text(archive, "etc/group", b"root:x:0:\n")


def _append_packages(archive: str, distributions: Sequence[str]) -> None:
    """Append them to an archive, with the program that does it in a tenth of Python's time."""
    target = _inside(Path(os.__file__).parent / "site-packages")
    names: dict[str, set[str]] = {}
    for one in _closure(distributions):
        folder = str(one.locate_file(""))
        names.setdefault(folder, set()).update(
            str(file)
            for file in one.files or ()
            if file.parts[0] != ".."
            and not _LEFT_OUT.search(f"/{file}")
            and Path(str(file.locate())).is_file()
        )
    for folder, wanted in names.items():
        command = [
            "tar", "--append", "--file", archive, "--directory", folder, "--dereference",
            "--hard-dereference", "--owner=0", "--group=0", "--numeric-owner", "--mode=a+rX",
            "--transform", f"flags=r;s,^,{target}/,", "--null", "--files-from=-",
        ]  # fmt: skip
        subprocess.run(command, input="\0".join(sorted(wanted)).encode(), check=True)


def _closure(names: Sequence[str]) -> list[metadata.Distribution]:
    """The distributions with all that they require, as far as that is installed."""
    found: dict[str, metadata.Distribution] = {}
    left = [*names]
    while left:
        name = left.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[key] = metadata.distribution(name)
            for text in found[key].requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                    left.append(needed.name)
    return [*found.values()]


def _libraries(programs: Sequence[Path]) -> set[Path]:
    """The shared libraries that these load, and what compiled packages commonly need besides."""
    found: set[Path] = set()
    for program in programs:
        said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
        found |= {Path(path) for path in re.findall(r"(/\S+) \(0x", said.stdout)}
    (libc,) = (path for path in found if path.name == "libc.so.6")
    extra = (
        "libstdc++.so.6",
        "libgcc_s.so.1",
        "libnss_files.so.2",
        "librt.so.1",
        "libpthread.so.0",
        "libdl.so.2",
    )
    for folder in (libc.parent, Path("/usr/lib") / libc.parent.name):
        found |= {folder / name for name in extra if (folder / name).exists()}
    return found


def _inside(path: Path) -> str:
    return str(path).lstrip("/")


def _as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.mode |= 0o444 | (0o111 if info.isdir() else 0)
    return info


def _link(archive: tarfile.TarFile, name: str, target: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    archive.addfile(info)


def _text(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    archive.addfile(info, io.BytesIO(content))
