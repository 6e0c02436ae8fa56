"""Files beside the segments: the drain's state for the controller and the next drain, and its lock."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from model_deployment.recording.file_lock import try_lock

STATE_FILE = "drain.json"
_LOCK = "drain.lock"


@dataclass(frozen=True, slots=True)
class DrainState:
    written: int = 0
    #: Captures that the store refuses.
    dead: int = 0
    #: Captures that were too old, or damaged on the disk.
    lost: int = 0
    #: Why the store takes nothing; empty while it does.
    error: str = ""
    #: By name of segment: bytes that have been written. The next drain begins there, so it does not write
    #: again what was deleted from the store meanwhile.
    offsets: Mapping[str, int] = field(default_factory=dict)


def write_state(spool: Path, state: DrainState) -> None:
    """Replace the state.

    Raises:
        OSError: the disk fails.
    """
    # By pid: an earlier drain that is about to end may be writing too.
    temporary = spool / f"{STATE_FILE}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(asdict(state)), encoding="utf-8")
    temporary.rename(spool / STATE_FILE)


def read_state(spool: Path) -> DrainState:
    """The last state that a drain wrote."""
    try:
        return DrainState(**json.loads((spool / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return DrainState()


@contextlib.contextmanager
def only_one(spool: Path) -> Iterator[bool]:
    """Whether this process is the only drain of a spool. It stays so meanwhile.

    Raises:
        OSError: the folder cannot be used.
    """
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(spool / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with try_lock(descriptor) as locked:
        yield locked
