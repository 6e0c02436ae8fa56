"""The files in which MLflow says what a model needs, read without MLflow and within limits."""

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

#: Bytes that are read of one file of requirements, and of ``MLmodel``, which has the signature as well.
_LONGEST, _LONGEST_MLMODEL = 256 * 1024, 16 * 1024 * 1024
#: All scalars are text: ``3.10`` is a version, not the number 3.1.
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
#: How a package of conda is named, with or without a version: https://docs.conda.io/projects/conda-build/
#: en/latest/resources/package-spec.html. A channel may stand before it.
_CONDA = re.compile(
    r"(?:[^\s:]+::)?(?P<name>[A-Za-z0-9_.-]+)\s*(?P<relation><=|>=|==|!=|=|<|>)?\s*(?P<version>[\d.]+\d)?"
    r"(?P<rest>.*)"
)
#: What conda installs beside Python, and a virtual environment has or gets as well.
_BUILDERS = ("pip", "setuptools", "wheel")


class UnreadableFile(OSError):
    """A file of a model cannot be read, or not understood."""


@dataclass(frozen=True, slots=True)
class CondaFile:
    """What ``conda.yaml`` says."""

    channels: tuple[str, ...] = ()
    #: As they stand there, with Python, pip, setuptools and wheel.
    packages: tuple[str, ...] = ()
    #: Lines for pip.
    pip: tuple[str, ...] = ()
    #: The Python version; empty if it names none.
    python: str = ""
    #: Those of pip, setuptools and wheel, as requirements of pip.
    builders: tuple[str, ...] = ()
    #: Names of what only conda can install.
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PythonFile:
    """What ``python_env.yaml`` says."""

    python: str
    build_dependencies: tuple[str, ...]
    dependencies: tuple[str, ...]


def read_conda(path: Path) -> CondaFile:
    """``conda.yaml``; an empty one if there is no such file.

    Raises:
        UnreadableFile: it is too long, or no YAML.
    """
    found = read_yaml(path)
    packages: list[str] = []
    pip: list[str] = []
    for one in _list(found.get("dependencies")):
        if isinstance(one, str):
            packages.append(one.strip())
        elif isinstance(one, dict):
            pip += _texts(one.get("pip"))
    python, builders, others = "", [], []
    for package in packages:
        match = _CONDA.fullmatch(package)
        name = match["name"].lower() if match else package
        if match and name == "python":
            # ``python>3.8`` names no version that could be had.
            if match["relation"] not in ("<", ">", "!="):
                python = python or match["version"] or ""
        elif match and name in _BUILDERS:
            relation = "==" if match["relation"] == "=" else match["relation"] or ""
            builders.append(f"{name}{relation}{match['version'] or ''}" if relation else name)
        else:
            others.append(name)
    return CondaFile(
        channels=_texts(found.get("channels")),
        packages=tuple(packages),
        pip=tuple(pip),
        python=python,
        builders=tuple(builders),
        others=tuple(others),
    )


def read_python_env(path: Path) -> PythonFile | None:
    """``python_env.yaml``; None if there is no such file: before MLflow 1.26.

    Raises:
        UnreadableFile: it is too long, or no YAML.
    """
    if not path.is_file():
        return None
    found = read_yaml(path)
    python = found.get("python")
    return PythonFile(
        python=python.strip() if isinstance(python, str) else "",
        build_dependencies=_texts(found.get("build_dependencies")),
        dependencies=_texts(found.get("dependencies")),
    )


def read_mlmodel(model: Path) -> dict[str, Any]:
    """``MLmodel``; empty if there is none.

    Raises:
        UnreadableFile: it is too long, or no YAML.
    """
    return read_yaml(model / "MLmodel", _LONGEST_MLMODEL)


def requirement_lines(text: str) -> list[str]:
    """The lines of a file of requirements, without comments and empty ones.

    As pip reads it: a line whose last character is a backslash goes on in the next one, without a space
    between them, unless it is a comment. A comment ends the line that goes on in it.
    """
    found, begun = [], ""
    for line in [*text.splitlines(), ""]:
        comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not comment:
            begun += line.strip("\\")
            continue
        found.append(uncommented(f"{begun} {line}" if comment else begun + line))
        begun = ""
    return [line for line in found if line]


def uncommented(line: str) -> str:
    """A line of requirements without its comment."""
    return re.sub(r"(^|\s)#.*$", "", line).strip()


def read_yaml(path: Path, longest: int = _LONGEST) -> dict[str, Any]:
    """A file whose numbers stay text; empty if there is none, or if it is no mapping.

    Raises:
        UnreadableFile: it is longer than ``longest`` bytes, or no YAML.
    """
    if not path.is_file():
        return {}
    try:
        found = yaml.load(read_text(path, longest), Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        why = " ".join(str(error).split())[:300]
        raise UnreadableFile(f"cannot read {path.name} of the model: {why}") from error
    return found if isinstance(found, dict) else {}


def read_text(path: Path, longest: int = _LONGEST) -> str:
    """Raises:
    UnreadableFile: it cannot be read, or is longer than ``longest`` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(longest + 1)
    except OSError as error:
        raise UnreadableFile(
            f"cannot read {path.name} of the model: {error.strerror or error}"
        ) from error
    if len(content) > longest:
        raise UnreadableFile(
            f"cannot use {path.name} of the model: it is longer than {longest} bytes"
        )
    # As pip does: PowerShell writes UTF-16.
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: object) -> tuple[str, ...]:
    return tuple(one.strip() for one in _list(value) if isinstance(one, str) and one.strip())
