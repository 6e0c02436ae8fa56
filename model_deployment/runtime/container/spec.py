"""What a launch's container is: its name, its labels, its limits. Pure.

The model is foreign code. Whatever it does must cost nobody but itself, so its container has no network, no
capability, nothing that it can write to but memory of its own, and an end to everything that it can take.
"""

import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_deployment.core.domain import LaunchSpec
from model_deployment.runtime import base
from model_deployment.runtime.control_groups import most_processes
from model_deployment.worker import contained, threads
from model_deployment.worker.tracking import NO_TRACKING

#: Labels, with what follows them.
_LABEL = "model-deployment."
INSTANCE, LAUNCH, KEY = f"{_LABEL}instance", f"{_LABEL}launch", f"{_LABEL}deployment"
#: Of a container that builds an image, and of images: which requirements they fulfil.
BUILD, ENVIRONMENT = f"{_LABEL}build", f"{_LABEL}environment"
#: Of an image: the id of the image it was made from.
BASE = f"{_LABEL}base"
#: Of a container: the name of the image that it was started from.
IMAGE = f"{_LABEL}image"
#: Of a container: with how many threads each of its worker processes computes.
THREADS = f"{_LABEL}threads"

#: User ids of launches: those of systemd's DynamicUser, which no file belongs to. Within what a rootless
#: Podman has. A launch has its own, since some limits of the kernel are per user, not per container.
_FIRST_USER, _USERS = 61184, 65519 - 61184 + 1
#: Share of the memory limit that temporary files may take. They count as memory.
_TEMPORARY = 4
_SHARED_MEMORY = 64 * 1024 * 1024
_OPEN_FILES = 4096
#: The kernel ends a model before the controller and the proxies when the machine's memory is used up.
_OOM_SCORE = 500
#: What the engine keeps of what a launch writes.
_LOG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}}
#: In the address of a launch: what requests carry as ``Host``.
HOST, PORT = "localhost", 80
#: Variables of the controller's environment that mean something on its own file system only.
_PLACES = frozenset(
    {
        "PATH", "HOME", "USER", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE", "CUDA_VISIBLE_DEVICES",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Places:
    """Where the engine's machine has what a container gets."""

    model: str
    #: The folder with the socket that hands the listening socket over.
    offer: str


def prefix(instance: str) -> str:
    """How the names of all containers of an instance begin."""
    return f"model-deployment-{hashlib.sha256(instance.encode()).hexdigest()[:12]}-"


def name_of(instance: str, launch_id: str) -> str:
    return prefix(instance) + launch_id


def user_of(launch_id: str) -> int:
    """The id of user and group that a launch runs with."""
    return _FIRST_USER + zlib.crc32(launch_id.encode()) % _USERS


def is_user(text: str) -> bool:
    """Whether a container's ``User`` is one that no file of the machine belongs to."""
    user, _, group = text.partition(":")
    own = user.isascii() and user.isdecimal() and _FIRST_USER <= int(user) < _FIRST_USER + _USERS
    return own and group == user


def body(
    instance: str,
    spec: LaunchSpec,
    image: tuple[str, str],
    places: Places,
    environment: Mapping[str, str],
    request_timeout: float,
) -> dict[str, Any]:
    """What the engine is asked for (``POST /containers/create`` of its API).

    Args:
        image: its id, and its name for people.
        environment: what models get of the controller's.
        request_timeout: seconds.
    """
    user = user_of(spec.launch_id)
    return {
        "Image": image[0],
        "Entrypoint": ["python3", "-m", "model_deployment.worker.contained"],
        "Cmd": [],
        "Env": [f"{name}={value}" for name, value in _environment(spec, environment, request_timeout)],
        "User": f"{user}:{user}",
        "WorkingDir": "/tmp",  # noqa: S108
        "Hostname": "model",
        "NetworkDisabled": True,
        "AttachStdin": False,
        "OpenStdin": False,
        "Tty": False,
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {
            INSTANCE: instance,
            LAUNCH: spec.launch_id,
            KEY: str(spec.key),
            IMAGE: image[1],
            THREADS: str(spec.threads),
        },
        "HostConfig": _host_config(spec, places),
    }  # fmt: skip


def marks_of(labels: Mapping[str, str]) -> dict[str, str | int]:
    """Members of a handle's ``ref`` from the labels of its container; one of before has no threads."""
    found: dict[str, str | int] = {"image": labels.get(IMAGE, "")}
    if (threads_in_force := labels.get(THREADS, "")).isdigit():
        found[base.THREADS] = int(threads_in_force)
    return found


def _host_config(spec: LaunchSpec, places: Places) -> dict[str, Any]:
    options = spec.options
    memory, processes = options.container_memory, most_processes(options)
    common = hardened(memory, options.processors, processes)
    return {
        **common,
        # Of its user, which is the launch's own. Podman would set one that it may not be able to set.
        "Ulimits": [*common["Ulimits"], {"Name": "nproc", "Soft": processes, "Hard": processes}],
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "Mounts": [
            _mount(places.model, contained.MODEL),
            _mount(places.offer, os.path.dirname(contained.OFFER)),  # noqa: PTH120
        ],
        "Tmpfs": {"/tmp": f"size={memory // _TEMPORARY},mode=1777,nosuid,nodev"},  # noqa: S108
        "ShmSize": min(_SHARED_MEMORY, memory // _TEMPORARY),
    }


def hardened(memory: int, processors: float, processes: int) -> dict[str, Any]:
    """Limits and rights that every container of ours has.

    Args:
        memory: bytes; swap counts as well.
        processors: those of a machine with fewer are all of them.
    """
    return {
        "Memory": memory,
        "MemorySwap": memory,
        # A share of each period, unlike NanoCpus, which engines refuse where it is more than there are.
        "CpuPeriod": 100_000,
        "CpuQuota": max(1000, round(processors * 100_000)),
        "PidsLimit": processes,
        "OomScoreAdj": _OOM_SCORE,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Privileged": False,
        "IpcMode": "private",
        "RestartPolicy": {"Name": "no"},
        "LogConfig": _LOG,
        "Ulimits": [
            {"Name": "nofile", "Soft": _OPEN_FILES, "Hard": _OPEN_FILES},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
    }


def _mount(source: str, target: str) -> dict[str, Any]:
    # Unlike "Binds", it makes no folder on the machine where there is none.
    return {
        "Type": "bind", "Source": source, "Target": target, "ReadOnly": True,
        "BindOptions": {"Propagation": "rprivate"},
    }  # fmt: skip


def _environment(
    spec: LaunchSpec, given: Mapping[str, str], request_timeout: float
) -> list[tuple[str, str]]:
    timeout = str(max(1, round(request_timeout)))
    found = {
        **threads.environment(spec.threads),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": NO_TRACKING,
        **{name: value for name, value in given.items() if name not in _PLACES},
        "HOME": "/tmp",  # noqa: S108
        "USER": "model",
        "PYTHONPATH": PACKAGE,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        contained.WORKERS: str(spec.options.workers),
        contained.TIMEOUT: timeout,
        "MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": timeout,
    }
    return sorted(found.items())


#: Where an image has the programs of ours, of which ``model_deployment`` is a folder.
PACKAGE = "/opt/model-deployment"
