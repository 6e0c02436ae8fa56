"""The files of this package that model servers run: in the controller's interpreter, in that of a model's
environment, and in images. They run on Python 3.9 and later.

``contained``, ``fitness`` and ``timed_output`` run on Python 3.8 too, where MLflow's own server serves.
"""

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path

#: What a warm parent and its forks import, and nothing else; relative to the folder of this package.
FILES = (
    "__init__.py",
    "http/__init__.py",
    "http/connection.py",
    "http/request_parsing.py",
    *(
        "worker/" + name + ".py"
        for name in (
            "__init__", "__main__", "child", "connections", "executor", "failure_header", "fast_path",
            "fitness", "keras_rows", "load_failures", "mlflow_server", "model_parts", "model_stream",
            "multiprocess", "onnx_rows", "packed_tensors", "param_defaults", "parquet_errors",
            "preload", "process_setup", "program_files", "protocol", "row_wise", "scoring",
            "shareable", "shared_model", "socket_copy", "stream_frames", "streaming",
            "tensor_requests", "threads", "time_limit", "timed_output", "torch_rows", "tracking",
            "warm_parent",
        )
    ),
)  # fmt: skip
#: The first process of a container, which runs them there.
CONTAINED = ("worker/contained.py",)
#: Beside ``model_deployment`` in a folder of copies: locked by processes that run them.
IN_USE = "in-use"
#: The folder of this package.
PACKAGE = Path(__file__).parent.parent


def read(names: "tuple[str, ...]" = FILES, package: Path = PACKAGE) -> "dict[str, bytes]":
    """The content of files by their paths, which begin with ``model_deployment/``."""
    return {"model_deployment/" + name: (package / name).read_bytes() for name in names}


def digest(files: "dict[str, bytes]") -> str:
    """Names a set of files: another one for other names or contents."""
    found = hashlib.sha256()
    for name, content in sorted(files.items()):
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def hold() -> int:
    """Show that this process and its forks run copies, until the last of them ends: flock(2).

    Returns:
        A descriptor that they have to keep; negative if the files are no copies.
    """
    descriptor = -1
    with contextlib.suppress(OSError):
        descriptor = os.open(str(PACKAGE.parent / IN_USE), os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor
