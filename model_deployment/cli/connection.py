"""The controller that commands call: its address, and what all of these commands take."""

import atexit
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from model_deployment.cli import completion
from model_deployment.cli.output import answer_of, err

if TYPE_CHECKING:
    from model_deployment.client import Client

Url = Annotated[
    str, typer.Option("--url", help="Address of the controller (default: from the settings).")
]
AsJson = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON, as the API answers.")]
Name = Annotated[
    str,
    typer.Argument(
        metavar="MODEL-VERSION",
        help="For example diabetes-1.",
        autocompletion=completion.deployments,
    ),
]
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL-VERSION...",
        help="For example diabetes-1.",
        autocompletion=completion.deployments,
    ),
]
AnyName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A deployment, as in diabetes-1, or an endpoint, as in diabetes@champion.",
        autocompletion=completion.deployments_and_endpoints,
    ),
]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="Name of a registered model.", autocompletion=completion.models
    ),
]

Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="From this time on: ISO 8601, or a span before now: 24h, 7d."
    ),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Before this time.")]

#: Seconds within which a call that could not be sent is sent again.
_RETRY_FOR = 1.0
#: Seconds that a call may take, besides those that it asks the controller to wait.
_TIMEOUT = 3600.0


#: The clients that commands have made in this process.
clients = ExitStack()
atexit.register(clients.close)


def controller_at(url: str) -> "Client":
    """A client of the controller at an address, or of the one in the settings, with its password."""
    # Imported here, so that help and completion do not wait for them.
    from model_deployment.client import Client
    from model_deployment.settings import load, misspelt

    settings = load()
    for slip in misspelt(settings.model_env):
        err.print(f"warning: {slip}")
    password = settings.password.get_secret_value()
    client = answer_of(
        lambda: Client(
            url or settings.client_url,
            settings.user,
            password,
            timeout=_TIMEOUT,
            retry_for=_RETRY_FOR,
        )
    )
    return clients.enter_context(client)
