"""What the proxy of the engine lets through: what this program asks for, and nothing else. Pure.

Whoever may ask an engine for any container is root on its machine. So a container has to have all that
``spec.py`` gives it, may have nothing more, and gets folders of launches only.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from model_deployment.runtime.container import spec

_VERSION = re.compile(r"^/v1\.(\d+)(?=/)")
_CONTAINER = r"/containers/(?P<container>[A-Za-z0-9][A-Za-z0-9_.-]*)"
_IMAGE = r"/images/(?P<image>[A-Za-z0-9][A-Za-z0-9_.:/@-]*)"
_NAME = re.compile(r"model-deployment-[0-9a-f]{12}-[A-Za-z0-9_.-]{1,64}")
#: Engines take the body of a start for more of the container's rights in versions before 1.24.
_FIRST_VERSION = 24
_REPOSITORY = re.compile(r"model-deployment/[0-9a-f]{24}")
#: Members of a container, of its ``HostConfig``, and of a mount. To the engine, upper and lower case are
#: the same, so no other member may be there.
_MEMBERS = frozenset(
    {
        "Image", "Entrypoint", "Cmd", "Env", "User", "WorkingDir", "Hostname", "NetworkDisabled",
        "AttachStdin", "OpenStdin", "Tty", "Healthcheck", "Labels", "HostConfig",
    }
)  # fmt: skip
_LIMITS = frozenset({"Memory", "MemorySwap", "PidsLimit", "CpuQuota"})
#: What these members have to be for every container.
_FIXED = {
    name: value
    for name, value in spec.hardened(1, 1, 1).items()
    if name not in _LIMITS and name != "Ulimits"
}
_HOST_MEMBERS = {
    *spec.hardened(1, 1, 1), "NetworkMode", "ReadonlyRootfs", "Mounts", "Tmpfs", "ShmSize",
}  # fmt: skip
_MOUNT_MEMBERS = frozenset({"Type", "Source", "Target", "ReadOnly", "BindOptions"})


class Ours(Enum):
    """What has to be of this program before a request is let through."""

    NOTHING = "nothing"
    CONTAINER = "container"
    #: A container whose mounts are folders of launches still: the engine looks for them at the start.
    STARTED = "started"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Call:
    """A request for the engine."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The request may be sent on, if what it names is ours."""

    ours: Ours = Ours.NOTHING
    name: str = ""
    #: The answer has no environment and no other settings.
    trimmed: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    why: str


#: Whether a path on the engine's machine is a folder of a launch that a container may get.
IsLaunchFolder = Callable[[str], bool]


def judge(call: Call, network: str, is_launch_folder: IsLaunchFolder) -> Allowed | Refused:
    """Whether a request is let through.

    Args:
        network: of builds; empty for the engine's own.
    """
    path = _VERSION.sub("", call.path)
    if ".." in path or "//" in path:
        return Refused("its path leads to another one")
    if (version := _VERSION.match(call.path)) and int(version[1]) < _FIRST_VERSION:
        return Refused(f"the API before 1.{_FIRST_VERSION} takes more than is looked at here")
    # A body may say more than the query does, also in its place: as the fields of a form.
    if call.body and content_type(call) is None:
        return Refused("it has a body")
    for method, pattern, ours, trimmed in _RULES:
        if call.method == method and (found := re.fullmatch(pattern, path)):
            named = found.groupdict()
            if why := _why_not(path, call, network, is_launch_folder):
                return Refused(why)
            if ours is Ours.CONTAINER and "container" not in named:
                return Allowed(ours, call.query.get("container", ""))
            return Allowed(ours, next(iter(named.values()), ""), trimmed)
    return Refused(f"{call.method} {path} is not needed")


#: Method, path, what has to be ours, and whether the answer is trimmed.
_RULES: tuple[tuple[str, str, Ours, bool], ...] = (
    ("GET", r"/version|/_ping", Ours.NOTHING, False),
    ("HEAD", r"/_ping", Ours.NOTHING, False),
    ("GET", r"/events|/containers/json|/images/json", Ours.NOTHING, False),
    ("POST", r"/containers/create", Ours.NOTHING, False),
    # Of the controller's own container as well: where its volumes are.
    ("GET", _CONTAINER + r"/json", Ours.NOTHING, True),
    ("GET", _CONTAINER + r"/(?:logs|stats)", Ours.CONTAINER, False),
    ("POST", _CONTAINER + r"/(?:kill|unpause)", Ours.CONTAINER, False),
    ("POST", _CONTAINER + r"/start", Ours.STARTED, False),
    ("PUT", _CONTAINER + r"/archive", Ours.CONTAINER, False),
    ("DELETE", _CONTAINER, Ours.CONTAINER, False),
    ("POST", r"/commit", Ours.CONTAINER, False),
    ("GET", _IMAGE + r"/json", Ours.NOTHING, False),
    ("POST", r"/images/create", Ours.NOTHING, False),
    ("DELETE", _IMAGE, Ours.IMAGE, False),
)


def _why_not(path: str, call: Call, network: str, is_launch_folder: IsLaunchFolder) -> str:
    """Why the content of a request is refused; empty if it is fine."""
    match call.method, path:
        case "GET", "/events" | "/containers/json" | "/images/json":
            return (
                "" if _asks_for_ours(call.query) else "it does not ask for containers of ours only"
            )
        case "POST", "/containers/create":
            if not _NAME.fullmatch(call.query.get("name", "")):
                return "the container is not named as ours are"
            return why_not_created(_object(call.body), network, is_launch_folder)
        case "POST", "/images/create":
            return (
                ""
                if call.query.get("fromImage") and "fromSrc" not in call.query
                else "it is no pull"
            )
        case "POST", "/commit":
            if not _REPOSITORY.fullmatch(call.query.get("repo", "")) or call.query.get("changes"):
                return "it makes no image of ours"
            return "" if _object(call.body).keys() <= {"Labels", "Cmd"} else "it changes an image"
    return ""


def _asks_for_ours(query: Mapping[str, str]) -> bool:
    labels = _object(query.get("filters", "{}").encode()).get("label") or ()
    names = (spec.INSTANCE, spec.ENVIRONMENT)
    return any(str(one).startswith(tuple(f"{name}=" for name in names)) for one in labels)


def why_not_created(body: Mapping[str, Any], network: str, is_launch_folder: IsLaunchFolder) -> str:
    """Why a container may not be made; empty if it may."""
    labels, host = body.get("Labels"), body.get("HostConfig")
    if not isinstance(labels, dict) or spec.INSTANCE not in labels or not isinstance(host, dict):
        return "it has no label of an instance"
    if more := (body.keys() - _MEMBERS) | (host.keys() - _HOST_MEMBERS):
        return f"{', '.join(sorted(more))}: not needed"
    if why := _why_not_limited(host):
        return why
    if spec.BUILD in labels:
        return _why_no_build(host, network)
    return _why_no_launch(body, host, is_launch_folder)


def _why_not_limited(host: Mapping[str, Any]) -> str:
    for name, value in _FIXED.items():
        if host.get(name) != value:
            return f"{name} is not {value}"
    for name in sorted(_LIMITS):
        if not isinstance(host.get(name), int) or host[name] <= 0:
            return f"{name} has no limit"
    return ""


def _why_no_build(host: Mapping[str, Any], network: str) -> str:
    if host.get("NetworkMode") != (network or "default"):
        return "NetworkMode is not that of builds"
    return "a build has no mounts" if host.get("Mounts") or host.get("Tmpfs") else ""


def _why_no_launch(
    body: Mapping[str, Any], host: Mapping[str, Any], is_launch_folder: IsLaunchFolder
) -> str:
    if not spec.is_user(str(body.get("User", ""))):
        return "User is not one of a launch"
    if host.get("NetworkMode") != "none" or host.get("ReadonlyRootfs") is not True:
        return "it has a network, or can write to its files"
    if not {*(host.get("Tmpfs") or {})} <= {"/tmp"}:  # noqa: S108
        return "Tmpfs has another folder"
    for one in host.get("Mounts") or ():
        if not isinstance(one, dict) or not one.keys() <= _MOUNT_MEMBERS:
            return "a mount has members that are not needed"
        if one.get("Type") != "bind" or one.get("ReadOnly") is not True:
            return "a mount is not a folder that can only be read"
        if one.get("BindOptions") != {"Propagation": "rprivate"}:
            return "a mount is shared"
        if not is_launch_folder(str(one.get("Source", ""))):
            return f"{one.get('Source')} is no folder of a launch"
    return ""


def content_type(call: Call) -> str | None:
    """What the engine has to take a body for; None if the request may have none."""
    path = _VERSION.sub("", call.path)
    if call.method == "PUT":
        return "application/x-tar"
    return "application/json" if path in ("/containers/create", "/commit") else None


def rewritten(call: Call) -> bytes:
    """The body as it was judged: of a member that is there twice, the engine could take the other one."""
    if call.body and content_type(call) == "application/json":
        return json.dumps(_object(call.body)).encode()
    return call.body


def why_not_started(answer: bytes, is_launch_folder: IsLaunchFolder) -> str:
    """Why an inspected container may not be started; empty if it may."""
    for one in (_object(answer).get("HostConfig") or {}).get("Mounts") or ():
        if not is_launch_folder(str(one.get("Source", ""))):
            return f"{one.get('Source')} is no folder of a launch any longer"
    return ""


def trimmed(answer: bytes) -> bytes:
    """What a controller may know of a container: not its environment, which may hold passwords."""
    found = _object(answer)
    kept = {
        name: found[name] for name in ("Id", "Name", "Created", "State", "Mounts") if name in found
    }
    memory = (found.get("HostConfig") or {}).get("Memory")
    config = {"Tty": (found.get("Config") or {}).get("Tty", False)}
    return json.dumps({**kept, "HostConfig": {"Memory": memory}, "Config": config}).encode()


def is_ours(answer: bytes) -> bool:
    """Whether an inspected container or image has the label of an instance."""
    return spec.INSTANCE in ((_object(answer).get("Config") or {}).get("Labels") or {})


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        return {"unreadable": True}
    return found if isinstance(found, dict) else {"unreadable": True}
