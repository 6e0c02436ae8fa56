"""The memory of warm parents: as it is, and as it was last, for admission when one is started again."""

import contextlib
import json
import re
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

#: Lines of ``/proc/<pid>/smaps_rollup``, see proc_pid_smaps(5): what the process has written itself, with
#: what its forks share of that. What is mapped from files can be read again, and is not counted.
_ANONYMOUS = re.compile(rb"^Anonymous:\s+(\d+) kB$", re.MULTILINE)
#: Relative differences below this are not written.
_MIN_CHANGE = 0.05


def memory_of(pid: int) -> int | None:
    """Bytes that a parent takes, with what its forks share; None where that cannot be read."""
    try:
        found = _ANONYMOUS.search(Path(f"/proc/{pid}/smaps_rollup").read_bytes())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


class ParentMemory:
    """Bytes by the digest of the environment, in a file; may be used from several threads."""

    def __init__(self, path: Path | None) -> None:
        """``path``: the file; None remembers it in this object only."""
        self._path = path
        self._lock = threading.Lock()
        self._known = _read(path) if path else {}

    def known(self, digest: str) -> int | None:
        """What its parent took last; None if there was none."""
        return self._known.get(digest)

    def measure(self, pids: Mapping[str, int]) -> None:
        """Measure living parents, by the digests of their environments. Blocking."""
        found = {digest: memory_of(pid) for digest, pid in pids.items() if pid}
        with self._lock:
            changed = {
                digest: size
                for digest, size in found.items()
                if size and _differs(size, self._known.get(digest))
            }
            if changed:
                self._write({**self._known, **changed})

    def keep(self, digests: Collection[str]) -> None:
        """Forget all others. Blocking."""
        with self._lock:
            kept = {digest: size for digest, size in self._known.items() if digest in digests}
            if kept != self._known:
                self._write(kept)

    def _write(self, known: Mapping[str, int]) -> None:
        self._known = dict(known)
        if self._path is None:
            return
        draft = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk costs an estimate
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps(known), encoding="utf-8")
            draft.replace(self._path)


def _differs(size: int, before: int | None) -> bool:
    return before is None or abs(size - before) > _MIN_CHANGE * before


def _read(path: Path) -> dict[str, int]:
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        return {str(name): int(size) for name, size in json.loads(path.read_bytes()).items()}
    return {}
