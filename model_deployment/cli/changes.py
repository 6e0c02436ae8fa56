"""The commands that change deployments: deploy, undeploy, restart, scale, park."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_deployment.cli import completion
from model_deployment.cli.connection import AsJson, Model, Name, Url, controller_at
from model_deployment.cli.following import Following, Row, is_changing
from model_deployment.cli.option_flags import named, with_option_flags
from model_deployment.cli.output import INTERRUPTED, answer_of, err, fail, out, print_json
from model_deployment.cli.wording import told
from model_deployment.core.options import Options

if TYPE_CHECKING:
    from model_deployment.client import Client

#: Seconds that the controller waits before it answers the first call: most models need no more.
_FIRST_WAIT = 1.0
#: Seconds that the controller waits for one undeploy.
_UNDEPLOY_WAIT = 1.0

NoWait = Annotated[
    bool,
    typer.Option(
        "--no-wait", metavar="", help="Return at once; the rest goes on in the background."
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="Stop waiting after this time; the rest goes on all the same.",
    ),
]
Recreate = Annotated[
    bool,
    typer.Option(
        "--recreate",
        metavar="",
        help="Stop the launch that serves before the new one starts, where memory has no room for both: "
        "requests wait meanwhile, at most MODEL_DEPLOYMENT_RECOVERY_TIMEOUT (30 s).",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")]


@with_option_flags(Options)
def deploy(
    model: Model,
    version: Annotated[
        str,
        typer.Argument(help="Version, a whole number.", autocompletion=completion.versions),
    ],
    no_wait: NoWait = False,
    timeout: Timeout = 3600,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            metavar="",
            help="Change a deployment that has other options: a new launch starts beside the one that "
            "serves, and takes over once it is ready.",
        ),
    ] = False,
    recreate: Recreate = False,
    as_json: AsJson = False,
    url: Url = "",
    **flags: Any,
) -> None:
    """Serve a model version, and wait until it is ready. Meanwhile, show the lines of its log."""
    from model_deployment.client import exchange

    client = controller_at(url)
    options, name = named(flags), f"{model}-{version}"
    path = exchange.path("/deploy/{}/{}", model, version)
    asked = {"replace": replace or recreate or None, "strategy": _strategy(recreate=recreate)}
    order = _Order(client, name, "deploy", path, asked, options)
    order.begin(timeout, no_wait=no_wait, as_json=as_json)


def restart(
    name: Name,
    no_wait: NoWait = False,
    timeout: Timeout = 3600,
    recreate: Recreate = False,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Start new processes beside those that serve, and switch to them once they are ready."""
    from model_deployment.client import exchange

    client = controller_at(url)
    path = exchange.path("/model/{}/restart", name)
    order = _Order(client, name, "restart", path, {"strategy": _strategy(recreate=recreate)})
    order.begin(timeout, no_wait=no_wait, as_json=as_json)


def scale(
    name: Name,
    replicas: Annotated[
        str,
        typer.Argument(
            metavar="REPLICAS",
            help="How many launches serve: a number, or a range such as 1-4 within which the number "
            "follows the requests.",
        ),
    ],
    no_wait: NoWait = False,
    timeout: Timeout = 3600,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Have more or fewer launches of a deployment serve, and wait until they do. No request is lost."""
    client = controller_at(url)
    options: Any = {"replicas": replicas}
    row: Row = answer_of(lambda: client.change(name, wait=0, **options), options)
    if not no_wait:
        follow = Following(client, name, "scale", timeout=timeout)
        row = follow.until(row, _is_scaled, with_log=False)
    if as_json:
        print_json(row)
        return
    counts = row["replicas"]
    if row["state"] in ("ready", "starting", "pending", "stopping"):
        out.print(
            f"{name} is {row['state']}: {counts['ready']} of {counts['wanted']} replicas serve"
        )
    else:
        out.print(f"{name} is {row['state']}; its next start has the replicas")


def _is_scaled(row: Row) -> bool:
    counts = row["replicas"]
    return row["state"] in ("ready", "parked", "stopped") and counts["ready"] == counts["wanted"]


def park(name: Name, timeout: Timeout = 60, as_json: AsJson = False, url: Url = "") -> None:
    """Stop the processes of a deployment until the next request, which starts them again."""
    client = controller_at(url)
    row: Row = answer_of(lambda: client.park(name, wait=_FIRST_WAIT))
    follow = Following(client, name, "park", timeout=timeout)
    row = follow.until(row, lambda row: row["state"] == "parked", with_log=False)
    if as_json:
        print_json(row)
    else:
        out.print(f"{name} is parked")


def undeploy(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL-VERSION...",
            help="For example diabetes-1 wine-3.",
            autocompletion=completion.deployments,
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", metavar="", help="All deployments but those that endpoints use. Asks before."
        ),
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Stop serving model versions; requests in flight may finish."""
    if bool(names) == everything:
        raise typer.BadParameter("name the deployments, or give --all", param_hint="MODEL-VERSION")
    client = controller_at(url)
    chosen = names or _all(client)
    if everything and chosen:
        confirm(f"Undeploy {', '.join(chosen)}?", yes=yes)
    stopped = []
    for name in chosen:
        if row := _undeploy(client, name):
            stopped.append(row)
            if not as_json:
                out.print(f"{name} is stopped")
    if as_json:
        print_json(stopped)
    elif not chosen:
        out.print("Nothing is deployed that no endpoint uses")
    if len(stopped) < len(chosen):
        raise typer.Exit(1)


def confirm(question: str, *, yes: bool) -> None:
    """Ask, and end the command if the answer is no. Without a terminal, ``--yes`` has to answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"cannot ask: {question} Standard input is no terminal; add --yes")
    typer.confirm(question, abort=True, err=True)


def _all(client: "Client") -> list[str]:
    """The deployments that no endpoint uses."""
    held = {
        f"{endpoint['model']}-{one['version']}"
        for endpoint in answer_of(client.endpoints)
        for one in endpoint["versions"]
    }
    return [one["name"] for one in answer_of(client.deployments) if one["name"] not in held]


def _undeploy(client: "Client", name: str) -> Row | None:
    """The deployment once it is stopped; None if it cannot be, which is told."""
    from model_deployment.client.errors import ClientError

    try:
        with err.status(f"undeploying {name}"):
            row: Row = client.undeploy(name, wait=_UNDEPLOY_WAIT)
            while row["state"] != "stopped":
                row = client.undeploy(name, wait=_UNDEPLOY_WAIT)
    except ClientError as error:
        err.print(f"error: {told(str(error), getattr(error, 'problem', {}), {})}")
        return None
    except KeyboardInterrupt:
        err.print(f"\n{name} goes on stopping without this command")
        raise typer.Exit(INTERRUPTED) from None
    return row


@dataclass(frozen=True)
class _Order:
    """A call that has a deployment started."""

    client: "Client"
    name: str
    order: str
    path: str
    params: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    def begin(self, timeout: float, *, no_wait: bool, as_json: bool) -> None:
        """Make the call, and wait until the deployment serves unless nobody waits."""
        began = time.monotonic()
        wait = 0 if no_wait else _FIRST_WAIT
        with _interruptible(self.name):
            row: Row = answer_of(lambda: self._call(wait), self.options)
        if not no_wait:
            follow = Following(self.client, self.name, self.order, timeout=timeout)
            row = follow.until(row, _serves)
        if as_json:
            print_json(row)
        elif no_wait:
            out.print(
                f"{self.name} is {row['state']}; look with 'model-deployment logs {self.name} --follow'"
            )
        else:
            self._tell(row, time.monotonic() - began)

    def _tell(self, row: Row, took: float) -> None:
        out.print(f"{self.name} is {row['state']} after {took:.1f} s: {row['url']}")
        shown = answer_of(lambda: self.client.deployment(self.name))
        if merging := shown["serving"]["merging"]:
            how = f"up to {merging['max_rows']} rows" if merging["max_rows"] else "no"
            out.print(f"Requests merged: {how}; {merging['reason']}")
        out.print(shown["curl"])

    def _call(self, wait: float) -> Row:
        found: Row = self.client.data(
            "POST",
            self.path,
            params={"wait": wait, **self.params},
            json=dict(self.options) or None,
            wait=wait,
        )
        return found


def _strategy(*, recreate: bool) -> str | None:
    return "recreate" if recreate else None


def _serves(row: Mapping[str, Any]) -> bool:
    # A parked deployment starts with its next request.
    return row["state"] in ("ready", "parked") and not is_changing(row)


@contextmanager
def _interruptible(name: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        err.print(
            f"\n{name} goes on if the controller has the call; look with "
            f"'model-deployment describe {name}'"
        )
        raise typer.Exit(INTERRUPTED) from None
