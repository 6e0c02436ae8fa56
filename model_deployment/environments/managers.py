"""How each manager makes an environment in a draft: the commands, one after another."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from model_deployment.core.options import EnvManager
from model_deployment.environments import leftovers, output, requirement_files, tools
from model_deployment.environments.environment import BuildFailed
from model_deployment.environments.needs import Needs
from model_deployment.environments.pythons import Python
from model_deployment.environments.workshop import StepFailed, Workshop

#: uv reads these options on its command line only.
_UV_OPTIONS = {"--pre": ("--prerelease=allow",), "--prefer-binary": ()}


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be made, and where."""

    needs: Needs
    #: What a server needs in addition; perhaps less than the needs say.
    server: tuple[str, ...]
    #: Where the environment is made. Exists after a try that failed, before it installed anything.
    folder: Path


def make(job: Job, python: Python | None, work: Workshop) -> None:
    """Make an environment.

    Args:
        python: the one that it is based on; conda brings its own.

    Raises:
        StepFailed: a program failed.
        BuildFailed: it could not be run.
    """
    if python is None:
        _conda(job, work)
    elif job.needs.manager is EnvManager.UV:
        _uv(job, python, work)
    else:
        _virtualenv(job, python, work)


def _uv(job: Job, python: Python, work: Workshop) -> None:
    uv = tools.find("uv", work.environment) or "uv"
    plain = ["--no-progress", "--color", "never"]
    further = {"UV_PYTHON_DOWNLOADS": "never", **_uv_cache(work)}
    if not job.folder.exists():
        work.tell("making the environment with uv")
        where = ["--relocatable", "--python", python.path, str(job.folder)]
        work.run([uv, "venv", *plain, "--no-project", *where], further)
    install = [uv, "pip", "install", *plain, "--python", str(job.folder / "bin/python")]
    for option in job.needs.options:
        name, _, value = option.partition(" ")
        install += _UV_OPTIONS.get(name, ())
        if name == "--trusted-host":
            install.append(f"--allow-insecure-host={value}")
    for files in requirement_files.write(job.needs, job.server, work.sources, uv=True):
        work.tell("resolving")
        with _builders_may_miss(job, files, work):
            work.run([*install, *files], further)


def _uv_cache(work: Workshop) -> dict[str, str]:
    """A cache of our own where the user has no home that can be written to."""
    if work.environment.get("UV_CACHE_DIR") or work.environment.get("UV_NO_CACHE"):
        return {}
    home = Path(work.environment.get("HOME") or "/nonexistent")
    cache = Path(work.environment.get("XDG_CACHE_HOME") or home / ".cache") / "uv"
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
    if os.access(cache, os.W_OK):
        return {}
    return {"UV_CACHE_DIR": str(work.draft.parents[1] / leftovers.CACHE)}


def _virtualenv(job: Job, python: Python, work: Workshop) -> None:
    if not job.folder.exists():
        _new_virtualenv(job.folder, python, work)
    install = [
        str(job.folder / "bin/python"), "-m", "pip", "install",
        "--no-input", "--disable-pip-version-check", "--progress-bar", "off",
        "--no-compile",  # Python compiles what it imports, a tenth of all
    ]  # fmt: skip
    for files in requirement_files.write(job.needs, job.server, work.sources, uv=False):
        work.tell("resolving")
        with _builders_may_miss(job, files, work):
            _install_with_pip([*install, *files], work)


def _install_with_pip(command: Sequence[str], work: Workshop) -> None:
    try:
        work.run(command)
    except StepFailed as failed:
        if not failed.explanation.uncertain:
            raise
        _install_again(command, work)


@contextlib.contextmanager
def _builders_may_miss(job: Job, files: tuple[str, ...], work: Workshop) -> Iterator[None]:
    """Go on without what builds packages, where a model brings packages and asks for no index.

    MLflow writes versions of pip, setuptools and wheel beside each model, and nobody puts these among them.

    Raises:
        StepFailed: of anything else.
    """
    try:
        yield
    except StepFailed as failed:
        if files != requirement_files.BUILD or "--no-index" not in job.needs.options:
            raise
        work.log.write(f"without {', '.join(job.needs.build_dependencies)}: {failed}")


def _install_again(command: Sequence[str], work: Workshop) -> None:
    """Try once more, to find out whether pip found no version because its index answered with an error.

    Its log is long, so it is written only in this case.

    Raises:
        StepFailed: it found none again. Not permanent if the index answered with an error.
    """
    log = work.sources / "pip.log"
    try:
        work.run([*command, "--log", str(log)])
    except StepFailed as failed:
        with contextlib.suppress(OSError), log.open(errors="replace") as lines:
            if why := output.unread_page(lines):
                told = work.log.masked(f"{failed.explanation.text} / {why}")
                raise StepFailed(output.Explanation(told, permanent=False)) from None
        raise


def _new_virtualenv(folder: Path, python: Python, work: Workshop) -> None:
    work.tell("making the environment with virtualenv")
    virtualenv = tools.find("virtualenv", work.environment)
    try:
        work.run([python.path, "-m", "venv", str(folder)])
    except StepFailed:
        # Debian's Python has no ensurepip unless python3-venv is installed.
        if virtualenv is None:
            raise
        work.run([virtualenv, "--clear", "--python", python.path, str(folder)])


def _conda(job: Job, work: Workshop) -> None:
    conda = tools.find_conda(work.environment)
    if conda is None:
        raise BuildFailed(tools.obstacle(EnvManager.CONDA, work.environment), permanent=True)
    pip = [
        *job.needs.options,
        *requirement_files.only_wheels(job.server),
        *job.needs.requirements,
        *job.server,
        *(f"-c {name}" for name in requirement_files.write_constraints(job.needs, work.sources)),
    ]
    packages: Sequence[object] = _with_pip(job.needs)
    file = work.sources / "environment.yaml"
    content = {"dependencies": [*packages, {"pip": pip}]}
    if job.needs.channels:
        content["channels"] = [*job.needs.channels]
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    leftovers.delete(job.folder)
    work.tell("making the environment with conda")
    work.run(
        [conda, "env", "create", "-p", str(job.folder), "-f", str(file)],
        {"CONDA_ALWAYS_YES": "true", "CONDA_REPORT_ERRORS": "false"},
    )


def _with_pip(needs: Needs) -> list[str]:
    """The packages of conda, with the Python that runs the model and the pip that installs the others."""
    names = {package.partition("::")[2] or package for package in needs.conda_packages}
    found = [*needs.conda_packages]
    if not any(name.startswith("python") and not name[6:7].isalnum() for name in names):
        found.append(f"python={needs.python}")
    if not any(name.startswith("pip") and not name[3:4].isalnum() for name in names):
        found.append("pip")
    return found
