"""Looks at an environment that was just made, and describes it."""

import importlib.metadata
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from model_deployment.environments.description import Description
from model_deployment.environments.needs import Needs
from model_deployment.environments.output import Explanation
from model_deployment.environments.workshop import StepFailed, Workshop

#: Run in the environment: its version, the Python that it is based on, a file of the standard library.
_ASK = (
    "import sys, os, json, sysconfig; print(json.dumps(['.'.join(map(str, sys.version_info[:3])),"
    " os.path.realpath(sys.executable), os.__file__,"
    " os.path.relpath(sysconfig.get_path('purelib'), sys.prefix)]))"
)
#: Run in the environment: whether it has an MLflow that works.
_IMPORT = "import mlflow.pyfunc; print(mlflow.__version__)"
#: What packages put beside their modules by mistake, and what is no module to preload.
_NO_MODULE = frozenset(
    {
        "test",
        "tests",
        "testing",
        "docs",
        "doc",
        "examples",
        "example",
        "benchmarks",
        "scripts",
        "setup",
    }
)
#: Files that are looked at in each verification, at most: of all packages, and of one folder of libraries.
#: Each takes 2 µs, and the event loop waits for it.
_WITNESSES, _LIBRARIES = 1000, 5


@dataclass(frozen=True, slots=True)
class _Distribution:
    name: str
    version: str
    modules: tuple[str, ...]


def describe(
    needs: Needs, made: Path, place: Path, notes: Sequence[str], serves: bool, work: Workshop
) -> Description:
    """The description of an environment in a draft.

    Args:
        made: where it is.
        place: where it will be; the same as ``made`` for one that cannot be moved.

    Raises:
        StepFailed: it does not work.
        OSError: it cannot be read.
    """
    python = made / "bin/python"
    try:
        version, base, library, packages = json.loads(work.ask([str(python), "-I", "-c", _ASK]))
    except (ValueError, TypeError):
        raise StepFailed(Explanation("its Python does not start", permanent=False)) from None
    found = _distributions(made / packages)
    mlflow = found.get("mlflow") or found.get("mlflow-skinny")
    if mlflow is not None:
        work.tell("trying MLflow")
        work.run([str(python), "-c", _IMPORT])
    entries = sorted(
        entry.name for entry in os.scandir(made / packages) if entry.name != "__pycache__"
    )
    status = Path(base).stat()
    return Description(
        digest=needs.digest,
        python_version=version,
        mlflow_version=mlflow.version if mlflow else "",
        modules=_modules(needs.names, found),
        serves=serves and mlflow is not None,
        notes=tuple(notes),
        size=size(made),
        folder=str(place.resolve()),
        fixed=made == place,
        base=base,
        base_size=status.st_size,
        base_time=status.st_mtime_ns,
        library=library,
        packages=packages,
        entries=tuple(entries),
        witnesses=tuple(_witnesses(made / packages, entries)),
    )


def _modules(names: Iterable[str], found: dict[str, _Distribution]) -> tuple[str, ...]:
    modules = [module for name in names if name in found for module in found[name].modules]
    return tuple(dict.fromkeys(modules))


def _distributions(packages: Path) -> dict[str, _Distribution]:
    found: dict[str, _Distribution] = {}
    for one in importlib.metadata.distributions(path=[str(packages)]):
        # One without its METADATA has no name.
        if (name := one.metadata["Name"]) is not None:
            key = canonicalize_name(name)
            found[key] = _Distribution(key, one.version, _top_level(one, packages))
    return found


def _top_level(one: importlib.metadata.Distribution, packages: Path) -> tuple[str, ...]:
    """The modules that a package brings, without private ones and folders that are no package."""
    declared = {line.strip() for line in (one.read_text("top_level.txt") or "").splitlines()}
    listed = set()
    for file in one.files or ():
        first = file.parts[0]
        if len(file.parts) == 1:
            listed |= {first.split(".")[0]} if first.endswith((".py", ".so")) else set()
        elif file.parts[1] == "__init__.py":
            listed.add(first)
    found = (declared & listed) or listed
    own = one.metadata["Name"].replace("-", "_").lower()
    # Some bring more: mlflow had "pylint_plugins".
    found = {own} if own in found else found
    return tuple(
        sorted(
            name
            for name in found
            if name.isidentifier() and not name.startswith("_") and name.lower() not in _NO_MODULE
        )
    )


def _witnesses(packages: Path, entries: Iterable[str]) -> list[str]:
    """Files of each package, and one of each package in it: a folder that was emptied has none."""
    folders = [packages / entry for entry in entries if (packages / entry).is_dir()]
    found = [file for folder in folders for file in _of_folder(folder)]
    for folder in folders:
        found += sorted(path for path in folder.glob("*/__init__.py") if path.is_file())
    return [str(file.relative_to(packages)) for file in found[:_WITNESSES]]


def _of_folder(folder: Path) -> list[Path]:
    for name in ("__init__.py", "RECORD"):
        if (folder / name).is_file():
            return [folder / name]
    if folder.suffix == ".libs":  # the libraries that the modules of a wheel load
        return sorted(path for path in folder.iterdir() if path.is_file())[:_LIBRARIES]
    # One that several packages have in common, such as ``google``.
    files = [path for path in folder.rglob("*") if path.suffix != ".pyc" and path.is_file()]
    return [min(files)] if files else []


def size(folder: Path) -> int:
    """Bytes on disk."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118
            except OSError:
                continue
    return total
