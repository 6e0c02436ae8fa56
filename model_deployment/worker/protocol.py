"""The protocol between the controller and the warm parent: a JSON object on each line.

A request has ``op`` and an ``id``; its answer has the same ``id`` and ``ok``, or ``error`` (a text) and
perhaps ``errno``. A line that cannot be understood is answered with an error too.

==========  ====================================  ===================================================
op          members                               answer
==========  ====================================  ===================================================
hello                                             protocol, code, package, python, pid, preloaded,
                                                  refused (module: why), launches (launch_id: pid),
                                                  held ([host, port], ...)
hold        host, port, pids                      held: true; the sockets of ``pids``, processes of
                                                  launches that live on from an earlier parent, are
                                                  taken over where they listen there
release     host, port                            (nothing; also if it was not held)
start       launch_id, host, port, model, log,    pid; the process
            workers, environment, title, cwd,     is a session leader with the given environment
            timeout, oom_score_adj
kill        launch_id                             (nothing; its process group got SIGKILL)
end                                               (nothing; it ends with the last of its launches, and
                                                  holds no socket of a launch that has ended)
==========  ====================================  ===================================================

The parent reports each launch that ends, unasked: ``event: "exit"``, launch_id, pid, and status as Python
has it (negative: the signal).
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

VERSION = 2
#: The packages of model_deployment whose code a parent and its forks run.
PACKAGES = ("http", "worker")
#: Bytes of a line; a longer one ends the connection.
LONGEST = 1024 * 1024


def code_digest(root: Path) -> str:
    """A digest of the modules in :data:`PACKAGES` of the package in this folder: names and contents."""
    digest = hashlib.sha256()
    for path in sorted(path for name in PACKAGES for path in (root / name).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


#: Of the code that this process runs; the files may be replaced meanwhile.
CODE = code_digest(Path(__file__).parent.parent)


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """
    Raises:
        ValueError: the line is not a JSON object.
    """
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


def package() -> str:
    """The versions that a parent is made of: after a change of one, another parent is needed."""
    return ", ".join(f"{name} {_version(name)}" for name in ("model-deployment", "mlflow"))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "?"


def socket_name(preload: Iterable[str]) -> str:
    """The file name of a parent's socket: another one for other code, versions or modules."""
    text = "\n".join([str(VERSION), CODE, package(), sys.executable, sys.version, *preload])
    return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.sock"
