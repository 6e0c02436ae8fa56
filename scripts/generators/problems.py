"""The problems in docs/reference/problems.md, from the errors that the controller answers."""

import inspect
from collections.abc import Iterator

from model_deployment.app import web  # noqa: F401 - errors of all rooms come with the programs
from model_deployment.cli import main  # noqa: F401
from model_deployment.core import errors
from scripts.generators.markdown import table


def problems() -> str:
    kinds = list(_below(errors.ModelDeploymentError))
    # One line for each title; the class that has it first says what it means.
    root = errors.ModelDeploymentError
    found = {(root.status, root.title): "An error of the controller; its traceback is in the log."}
    for kind in kinds:
        meaning = inspect.cleandoc(kind.__doc__ or "").partition("\n")[0].replace("``", "`")
        found.setdefault((kind.status, kind.title), meaning)
    rows = (
        (str(status), title, f"`{errors.problem_type(title).rpartition(':')[2]}`", text)
        for (status, title), text in sorted(found.items())
    )
    return table(("status", "title", "type", "meaning"), rows)


def _below(kind: type[errors.ModelDeploymentError]) -> Iterator[type[errors.ModelDeploymentError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)
