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
from typing import Any

from model_deployment.worker import program_files

VERSION = 2
#: Exit status of a parent that cannot fork here, whenever it is started; the last line of its log says why.
UNFIT = 78
#: Bytes of a line; a longer one ends the connection.
LONGEST = 1024 * 1024


#: Of the code that this process runs; the files may be replaced meanwhile.
CODE = program_files.digest(program_files.read())


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
    # Python's own finder alone: metadata.version would ask those of libraries too, and that of
    # importlib_metadata fails while another thread imports it, as MLflow does.
    context = metadata.DistributionFinder.Context(name=name)
    for found in metadata.MetadataPathFinder.find_distributions(context):
        return found.version
    return "?"


def own_interpreter() -> str:
    """Names this very interpreter and its packages: after a change of it, another parent is needed."""
    return "\n".join([package(), sys.executable, sys.version])


def socket_name(preload: Iterable[str], interpreter: str) -> str:
    """The file name of a parent's socket: another one for other code, modules or another interpreter.

    Args:
        interpreter: names the Python and the packages that are installed for it.
    """
    text = "\n".join([str(VERSION), CODE, interpreter, *preload])
    return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.sock"
