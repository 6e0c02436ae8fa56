"""The command line's part for users: makes and removes passwords in the files of the gateway."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from model_deployment.core.domain import Role
from model_deployment.core.errors import CredentialsError
from model_deployment.credentials import htpasswd
from model_deployment.settings import load

app = typer.Typer(no_args_is_help=True, help="Make and remove users and their passwords.")

_out = Console(soft_wrap=True, highlight=False, markup=False)

Name = Annotated[str, typer.Argument(metavar="NAME")]

#: Who is there after the first run.
_FIRST = {"admin": Role.OPERATOR, "caller": Role.CALLER, "prometheus": Role.CALLER}
#: Its password is kept in a file as well, for the server that collects metrics.
_PROMETHEUS = "prometheus"


@app.command()
def init() -> None:
    """Make the first users with random passwords, and print these once.

    `admin` may do everything, `caller` predict and read; so may `prometheus`, whose password is also in the
    file `prometheus.password`.
    """
    folder = load().credentials
    if htpasswd.read(folder).operators:
        raise CredentialsError(
            f"cannot make the first users: there are some in {folder}. See 'model-deployment users list'"
        )
    passwords = {name: htpasswd.new_password() for name in _FIRST}
    # The operator is the last one: without any there are no users, and this can be run again.
    for name in sorted(_FIRST, key=lambda name: _FIRST[name] is Role.OPERATOR):
        htpasswd.set_user(folder, name, passwords[name], _FIRST[name])
    htpasswd.write_secret(folder / f"{_PROMETHEUS}.password", passwords[_PROMETHEUS])
    _out.print(f"Users in {folder}; their passwords are shown this one time:\n")
    # No table, which a narrow terminal would cut.
    for name, role in _FIRST.items():
        _out.print(f"{name:12}{role:12}{passwords[name]}")


@app.command()
def add(
    name: Name,
    role: Annotated[
        Role | None,
        typer.Option(
            help="operator may do everything, caller predict and read. Default: as it is, or caller."
        ),
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
) -> None:
    """Add a user, or give one another password or role. A random password is printed once.

    Takes effect within a second, also in a controller and a gateway that run.
    """
    folder = load().credentials
    if password_stdin:
        password, cost = sys.stdin.readline().rstrip("\r\n"), htpasswd.COST_OF_CHOSEN
    else:
        password, cost = htpasswd.new_password(), htpasswd.COST
    role = role or htpasswd.read(folder).role(name) or Role.CALLER
    htpasswd.set_user(folder, name, password, role, cost=cost)
    if name == _PROMETHEUS:
        htpasswd.write_secret(folder / f"{_PROMETHEUS}.password", password)
    _out.print(f"{name} is {'an' if role is Role.OPERATOR else 'a'} {role}")
    if not password_stdin:
        _out.print(password)


@app.command()
def remove(name: Name) -> None:
    """Remove a user."""
    htpasswd.remove_user(load().credentials, name)
    _out.print(f"{name} is removed")


@app.command("list")
def list_() -> None:
    """Show the users."""
    users = htpasswd.read(load().credentials)
    table = Table("USER", "ROLE", box=None, pad_edge=False)
    for name in sorted({*users.operators, *users.callers}):
        table.add_row(name, str(users.role(name)))
    _out.print(table)
