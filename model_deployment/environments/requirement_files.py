"""The files from which pip and uv install, in the order of their steps."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from model_deployment.environments import server_packages
from model_deployment.environments.needs import Needs

#: Options that uv takes on its command line, or does not know.
_NOT_OF_UV = ("--pre", "--prefer-binary", "--trusted-host", "--use-feature", "--only-final")


def write(
    needs: Needs, server: tuple[str, ...], folder: Path, *, uv: bool
) -> Iterator[tuple[str, ...]]:
    """Write the files; for each step, the arguments that name them.

    Raises:
        OSError: they cannot be written.
    """
    options = [one for one in needs.options if not uv or one.partition(" ")[0] not in _NOT_OF_UV]
    constraints = [part for name in write_constraints(needs, folder) for part in ("-c", name)]
    if needs.build_dependencies:
        _write(folder / "build.txt", [*options, *needs.build_dependencies])
        yield "-r", "build.txt"
    hashed = any(" --hash" in line for line in needs.requirements)
    first = needs.requirements if hashed else (*needs.requirements, *server)
    if first:
        _write(
            folder / "requirements.txt", [*options, *only_wheels(() if hashed else server), *first]
        )
        yield "-r", "requirements.txt", *constraints
    if hashed and server:
        # One hash has pip ask for those of all packages. So the server comes behind, and changes none.
        plain = [line.partition(" --hash")[0] for line in needs.requirements]
        _write(folder / "pinned.txt", [one for one in plain if not one.startswith("./")])
        _write(folder / "server.txt", [*options, *only_wheels(server), *server])
        yield "-r", "server.txt", "-c", "pinned.txt"


def write_constraints(needs: Needs, folder: Path) -> list[str]:
    """Write the file of constraints, if there are any; its name."""
    if not needs.constraints:
        return []
    _write(folder / "constraints.txt", needs.constraints)
    return ["constraints.txt"]


def only_wheels(server: Iterable[str]) -> list[str]:
    """Options for packages that the model did not ask for."""
    return [f"--only-binary {name}" for name in server if name in server_packages.COMPILED]


def _write(path: Path, lines: Iterable[str]) -> None:
    # It may be a file of the model, linked to here.
    path.unlink(missing_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
