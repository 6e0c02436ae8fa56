"""One registry, and one tracking server of it, for all workers of a run of the tests.

Its server is a program of its own: ``python -m tests.support.shared_registry FOLDER``. It ends when the
last process has ended that holds it, however that ended.
"""

import contextlib
import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.tracking_server import tracking_server
from tests.support.waiting import until_sync

_ROOT = Path(__file__).parents[2]
#: Seconds that the process which started a server waits for its end.
_PATIENCE = 30


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, kind)
        yield


def filled(shared: Path) -> Path:
    """The folder of the registry, filled by whoever comes first."""
    root = shared / "stub_registry"
    with _locked(shared / "stub_registry.lock", fcntl.LOCK_EX):
        if not (root / "complete").exists():
            root.mkdir()
            done = subprocess.run(
                [sys.executable, "-m", "tests.support.filled_registry", str(root)],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, f"cannot fill the registry:\n{done.stdout}{done.stderr}"
            (root / "complete").touch()
    return root


@contextlib.contextmanager
def served(root: Path) -> Iterator[str]:
    """The address of a server of this registry, which goes on until nobody holds it."""
    address = root / "address"
    server = None
    # The order of these locks: a server that ends waits for neither.
    with _locked(root / "users.lock", fcntl.LOCK_SH):
        with _locked(root / "server.lock", fcntl.LOCK_EX):
            if not address.exists():
                server = subprocess.Popen(
                    [sys.executable, "-m", "tests.support.shared_registry", str(root)],
                    cwd=_ROOT,
                    stdin=subprocess.DEVNULL,
                    # What ends the tests at once is not to end it before its server.
                    start_new_session=True,
                )
                until_sync(address.exists, timeout=120, interval=0.1, what="the tracking server")
        yield address.read_text()
    if server is not None:
        # Others may hold it for longer than this process lives.
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(_PATIENCE)


def _serve(root: Path) -> None:
    work = root / f"server-{time.time_ns()}"
    work.mkdir()
    with tracking_server(root / "mlflow.db", work) as url:
        (root / "address.new").write_text(url)
        (root / "address.new").rename(root / "address")
        with _locked(root / "users.lock", fcntl.LOCK_EX):
            (root / "address").unlink()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
