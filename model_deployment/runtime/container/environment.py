"""Which environment a model needs: its Python and its packages, as MLflow wrote them beside it.

Building an environment installs wheels only, and no program of a package runs (``build_program.py``): the
requirements of a model may be hostile, and a build has a network and perhaps passwords. A package without a
wheel has to be in the base image.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_deployment.environments.environment import BuildFailed
from model_deployment.environments.environment_files import (
    UnreadableFile,
    read_conda,
    read_python_env,
    read_text,
    uncommented,
)

#: Replaced in the name of a base image by the Python version of the model, such as ``3.11``.
PYTHON = "{python}"
_VERSION = re.compile(r"(\d+\.\d+)(?:\.\d+)?")
#: What MLflow's server needs besides MLflow. A model that names its own version gets that.
_SERVER = ("mlflow", "uvicorn", "uvloop", "httptools", "orjson")
#: Options of a line that choose where packages come from, one in a line. No other option may be given.
_OPTION = re.compile(
    r"--pre|--prefer-binary|((-i|-f)\s+|(--index-url|--extra-index-url|--find-links)[=\s]\s*)https?://[^\s'\"]+"
)
#: Without a query or a fragment before its end: pip goes by the path only.
_WHEEL = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*@\s*https?://[^\s?#]+\.whl(#\S*)?(\s*;.*)?"
)
_NAMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*([<>=!~(;].*)?")


class UnusableRequirements(BuildFailed):
    """No image can be built from what a model requires."""

    def __init__(self, why: str) -> None:
        super().__init__(why, permanent=True)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image is made from."""

    #: Name of the base image.
    base: str
    #: Lines of a requirements file.
    requirements: tuple[str, ...]
    #: Names the programs of ours that the image has.
    programs: str

    @property
    def digest(self) -> str:
        """The same for all models that the same image can serve."""
        text = json.dumps([self.base, sorted(self.requirements), self.programs])
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    @property
    def repository(self) -> str:
        return f"model-deployment/{self.digest}"


def recipe(model: Path, base: str, programs: str) -> Recipe:
    """The recipe for a model.

    Args:
        model: the folder with ``MLmodel``.
        base: name of the base image, perhaps with ``{python}``.
        programs: digest of the programs of ours.

    Raises:
        UnusableRequirements: they cannot be read, or want something that is not done here.
    """
    found, python = _requirements(model)
    if PYTHON in base:
        version = _VERSION.match(python)
        if version is None:
            raise UnusableRequirements(
                f"cannot choose a base image: the model does not say which Python it needs, and the name "
                f"of the base image is {base}; set MODEL_DEPLOYMENT_IMAGE_BASE to one without {PYTHON}"
            )
        base = base.replace(PYTHON, version[1])
    lines = [_checked(line) for line in found]
    names = {re.split(r"[\s\[<>=!~;@(]", line, maxsplit=1)[0].lower() for line in lines}
    if names & {"mlflow", "mlflow-skinny"}:
        names.add("mlflow")
    lines += [name for name in _SERVER if name not in names]
    return Recipe(base, tuple(lines), programs)


def _requirements(model: Path) -> tuple[list[str], str]:
    """The lines of requirements, and the Python version or an empty text."""
    try:
        conda = read_conda(model / "conda.yaml")
        env = read_python_env(model / "python_env.yaml")
        python = (env.python if env else "") or conda.python
        if (model / "requirements.txt").is_file():
            lines = read_text(model / "requirements.txt").splitlines()
        else:
            lines = [*conda.pip]
    except UnreadableFile as error:
        raise UnusableRequirements(str(error)) from error
    return [line for line in map(uncommented, lines) if line], python


def _checked(line: str) -> str:
    """A line that names a package, a wheel, or where packages are.

    Raises:
        UnusableRequirements: it names something else.
    """
    if line.endswith("\\") or not line.isprintable():
        raise _refused(line, "it goes on in the next line")
    if "${" in line:
        # pip would put a variable of the build there: the password of an index, in an address of the model.
        raise _refused(line, "it has a variable")
    if line.startswith("-"):
        if not _OPTION.fullmatch(line):
            raise _refused(
                line, "this option is not supported, or not with another one in its line"
            )
    elif re.search(r"\s-", line):
        raise _refused(line, "options of a package are not supported")
    elif "@" in line.partition(";")[0] or "://" in line:
        if not _WHEEL.fullmatch(line):
            raise _refused(line, "only wheels can be installed from an address")
    elif not _NAMED.fullmatch(line):
        raise _refused(line, "it does not name a package")
    return line


def _refused(line: str, why: str) -> UnusableRequirements:
    return UnusableRequirements(
        f"cannot use the requirement {line[:120]!r} of the model: {why}; have the base image "
        "(MODEL_DEPLOYMENT_IMAGE_BASE) contain what it needs, and name the package alone"
    )


def digest_of(files: Callable[[], list[tuple[str, bytes]]]) -> str:
    """A digest of files by their names and contents."""
    digest = hashlib.sha256()
    for name, content in sorted(files()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]
