"""What the server of a model needs beside the packages of the model."""

from collections.abc import Iterable
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

#: The server itself, its event loop, its parsers, and what tells libraries how many threads to use.
_SERVER = ("httptools", "orjson", "threadpoolctl", "uvicorn", "uvloop")
#: Installed from wheels only: no server is worth a compiler.
COMPILED = ("httptools", "orjson", "uvloop")
#: The first MLflow without ``pkg_resources``, which setuptools had before its version 81.
_WITHOUT_PKG_RESOURCES = Version("2.16")
_PKG_RESOURCES = "setuptools<81"
#: MLflow from the first to before the second one serves with ``FastAPI.route``, which Starlette 1 has not.
_WITH_ROUTE = Version("2.21"), Version("3.11")
_ROUTE = "starlette<1"
#: Whoever names one of these has chosen.
_WEB = {"fastapi", "starlette"}


@dataclass(frozen=True, slots=True)
class ServerPackages:
    """Requirements in addition to those of a model, sorted."""

    all: tuple[str, ...]
    #: Without which there is no MLflow, so no server at all.
    least: tuple[str, ...]


def wanted(packages: Iterable[tuple[str, str]], logged_with: str) -> ServerPackages:
    """What is missing beside packages.

    Args:
        packages: names and versions that the model requires, such as ``("mlflow", "==2.9.2")``.
        logged_with: the version of MLflow that logged the model; may be empty or odd.
    """
    versions: dict[str, str] = {}
    for name, those in packages:
        versions[name] = versions.get(name) or those
    least = []
    mlflow = versions.get("mlflow")
    if mlflow is None:
        # mlflow-skinny has no server, and goes with an mlflow of the same version only.
        mlflow = versions.get("mlflow-skinny") or _exactly(logged_with)
        least.append(f"mlflow{mlflow}")
    pinned = _pinned(mlflow)
    if pinned and pinned < _WITHOUT_PKG_RESOURCES and not versions.get("setuptools"):
        least.append(_PKG_RESOURCES)
    if pinned and _WITH_ROUTE[0] <= pinned < _WITH_ROUTE[1] and not versions.keys() & _WEB:
        least.append(_ROUTE)
    server = [name for name in _SERVER if name not in versions]
    return ServerPackages(tuple(sorted([*least, *server])), tuple(sorted(least)))


def _exactly(version: str) -> str:
    """The requirement of a released version; without one, any version."""
    try:
        found = Version(version)
    except InvalidVersion:
        return ""
    return "" if found.is_devrelease or found.local else f"=={found}"


def _pinned(versions: str) -> Version | None:
    """The version of a requirement that leaves no choice."""
    if not versions.startswith("=="):
        return None
    try:
        return Version(versions.lstrip("=").removesuffix(".*"))
    except InvalidVersion:
        return None
