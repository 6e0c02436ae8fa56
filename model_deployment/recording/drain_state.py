"""The file beside the segments that tells the drain's state to the controller, and to the next drain."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

STATE_FILE = "drain.json"


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
