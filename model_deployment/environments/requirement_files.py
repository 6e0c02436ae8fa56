"""The files from which pip and uv install, in the order of their steps."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from model_deployment.environments import server_packages
from model_deployment.environments.needs import Needs

#: The step of what builds packages.
BUILD = ("-r", "build.txt")
#: Asks for a hash of each package of the model. On the command line: uv before 0.12 ignores it in files.
_HASHES = "--require-hashes"
#: Options that uv takes on its command line, or does not know.
_NOT_OF_UV = ("--pre", "--prefer-binary", "--trusted-host", "--use-feature", "--only-final")


def write(
    needs: Needs, server: tuple[str, ...], folder: Path, *, uv: bool
) -> Iterator[tuple[str, ...]]:
    """Write the files; for each step, the arguments that name them.

    Raises:
        OSError: they cannot be written.
    """
    left_out = {_HASHES, *(_NOT_OF_UV if uv else ())}
    options = [one for one in needs.options if one.partition(" ")[0] not in left_out]
    constraints = [part for name in write_constraints(needs, folder) for part in ("-c", name)]
    # What the model did not name itself is not among its constraints.
    free = [one for one in options if one.partition(" ")[0] != "--constraint"]
    if needs.build_dependencies:
        _write(folder / BUILD[-1], [*free, *needs.build_dependencies])
        yield BUILD
    asked = [one for one in needs.options if one == _HASHES]
    hashed = bool(asked) or any(" --hash" in line for line in needs.requirements)
    first = needs.requirements if hashed else (*needs.requirements, *server)
    if first:
        _write(
            folder / "requirements.txt", [*options, *only_wheels(() if hashed else server), *first]
        )
        yield "-r", "requirements.txt", *constraints, *asked
    if hashed and server:
        # One hash has pip ask for those of all packages. So the server comes behind, and changes none.
        _write(folder / "pinned.txt", filter(None, map(_constraint, needs.requirements)))
        _write(folder / "server.txt", [*free, *only_wheels(server), *server])
        yield "-r", "server.txt", "-c", "pinned.txt"


def write_constraints(needs: Needs, folder: Path) -> list[str]:
    """Write the file of constraints, if there are any; its name."""
    if not needs.constraints:
        return []
    _write(folder / "constraints.txt", needs.constraints)
    return ["constraints.txt"]


def _constraint(line: str) -> str:
    """A requirement as a constraint, which has no hash and no extras; empty for a file without a name."""
    try:
        requirement = Requirement(line.partition(" --")[0])
    except InvalidRequirement:
        return ""
    requirement.extras = set()
    return str(requirement)


def only_wheels(server: Iterable[str]) -> list[str]:
    """Options for packages that the model did not ask for."""
    return [f"--only-binary {name}" for name in server if name in server_packages.COMPILED]


def _write(path: Path, lines: Iterable[str]) -> None:
    # It may be a file of the model, linked to here.
    path.unlink(missing_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
