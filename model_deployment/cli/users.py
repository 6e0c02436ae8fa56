"""The commands for users and their passwords: users init, add, remove, list."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from model_deployment.cli.connection import AsJson
from model_deployment.cli.output import out, print_json, print_table
from model_deployment.core.errors import CredentialsError
from model_deployment.core.users import Role
from model_deployment.credentials import htpasswd

app = typer.Typer(no_args_is_help=True, help="Add and remove users and their passwords.")

Name = Annotated[str, typer.Argument(metavar="NAME")]


class _PersonRole(StrEnum):
    """The roles of people; devices have tokens of their own."""

    CALLER = Role.CALLER
    OPERATOR = Role.OPERATOR


#: The users that `init` makes.
_FIRST = {"admin": Role.OPERATOR, "caller": Role.CALLER, "prometheus": Role.CALLER}
#: The password of this user is also written to a file, for the server that collects metrics.
_PROMETHEUS = "prometheus"


def _folder() -> Path:
    # Imported here, so that help does not wait for it.
    from model_deployment.settings import load

    return load().credentials


@app.command()
def init() -> None:
    """Add the first users with random passwords, and print the passwords once.

    `admin` may do everything, `caller` and `prometheus` may predict and read. The password of `prometheus`
    is also written to the file `prometheus.password`.
    """
    folder = _folder()
    if htpasswd.read(folder).operators:
        raise CredentialsError(
            f"cannot add the first users: {folder} already has users; see 'model-deployment users list'"
        )
    passwords = {name: htpasswd.new_password() for name in _FIRST}
    # The operator last: without an operator, init can be run again.
    for name in sorted(_FIRST, key=lambda name: _FIRST[name] is Role.OPERATOR):
        htpasswd.set_user(folder, name, passwords[name], _FIRST[name])
    htpasswd.write_secret(folder / f"{_PROMETHEUS}.password", passwords[_PROMETHEUS])
    out.print(f"Users in {folder}; their passwords are shown only once:\n")
    # Not a table: a narrow terminal would cut it.
    for name, role in _FIRST.items():
        out.print(f"{name:12}{role:12}{passwords[name]}")


@app.command()
def add(
    name: Name,
    role: Annotated[
        _PersonRole | None,
        typer.Option(
            help="`operator` may do everything, `caller` may predict and read. Default: the role that the "
            "user has, or caller.",
        ),
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", metavar="", help="Read the password from standard input."),
    ] = False,
) -> None:
    """Add a user, or change the password or role of a user. A random password is printed once.

    A running controller and gateway read the change within a second.
    """
    folder = _folder()
    if password_stdin:
        password, cost = sys.stdin.readline().rstrip("\r\n"), htpasswd.COST_OF_CHOSEN
    else:
        password, cost = htpasswd.new_password(), htpasswd.COST
    given = role and Role(role)
    becomes = given or htpasswd.read(folder).role(name) or Role.CALLER
    htpasswd.set_user(folder, name, password, becomes, cost=cost)
    if name == _PROMETHEUS:
        htpasswd.write_secret(folder / f"{_PROMETHEUS}.password", password)
    out.print(f"{name} is {'an' if becomes is Role.OPERATOR else 'a'} {becomes}")
    if not password_stdin:
        out.print(password)


@app.command()
def remove(name: Name) -> None:
    """Remove a user."""
    htpasswd.remove_user(_folder(), name)
    out.print(f"removed {name}")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show the users."""
    users = htpasswd.read(_folder())
    names = sorted({*users.operators, *users.callers})
    if as_json:
        print_json([{"name": name, "role": users.role(name)} for name in names])
        return
    print_table(("USER", "ROLE"), ((name, users.role(name)) for name in names))
