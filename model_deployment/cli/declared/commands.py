"""The commands for a file that declares deployments and endpoints: apply, diff, export."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from model_deployment.cli.changes import Yes, confirm
from model_deployment.cli.connection import AsJson, Url, controller_at
from model_deployment.cli.declared import plan_view
from model_deployment.cli.declared.plan import DeclaredState, Found, Step, awaited, plan
from model_deployment.cli.output import INTERRUPTED, answer_of, err, fail, out, print_json, writing

if TYPE_CHECKING:
    from model_deployment.cli.declared.apply import Result
    from model_deployment.client import Client

File = Annotated[
    str,
    typer.Option("--file", "-f", metavar="FILE", help="The file, YAML; - for standard input."),
]
Prune = Annotated[
    bool,
    typer.Option(
        "--prune",
        metavar="",
        help="Also undeploy deployments and delete endpoints that the file does not list, of the kinds "
        "that the file has. Versions that remaining endpoints use stay.",
    ),
]

#: Status of ``diff``, as of diff(1).
_DIFFERENT, _TROUBLE = 1, 2


def apply(
    file: File,
    prune: Prune = False,
    yes: Yes = False,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="Time that each deployment may take to start."),
    ] = 600,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Deploy, change and set what a file declares; what is so already stays untouched.

    Options are changed in place. A step that fails does not stop the others; nothing is removed then.
    """
    from model_deployment.cli.declared.apply import Applying

    client = controller_at(url)
    declared, found = _both(client, file, status=1)
    steps = plan(declared, found, prune=prune)
    removed = [one.name for one in steps if one.action.removes]
    if removed:
        confirm(f"Remove {', '.join(removed)}?", yes=yes)

    def replan() -> tuple[list[Step], Found]:
        now = _look(client, declared)
        return plan(declared, now, prune=prune), now

    steps += awaited(declared, found, steps)
    try:
        results = Applying(client, replan, timeout, lambda result: _tell(result, as_json)).run(
            steps
        )
    except KeyboardInterrupt:
        err.print("interrupted; what has begun goes on: look with 'model-deployment list'")
        raise typer.Exit(INTERRUPTED) from None
    failed = [one for one in results if one.error]
    if as_json:
        print_json([plan_view.as_json(one.step) | {"error": one.error} for one in results])
    elif not steps:
        out.print(f"Nothing to do: {_counts(declared)} as declared")
    else:
        done = len(results) - len(failed)
        out.print(f"{done} done" + (f", {len(failed)} failed" if failed else ""))
    if failed:
        raise typer.Exit(1)


def diff(file: File, prune: Prune = False, as_json: AsJson = False, url: Url = "") -> None:
    """Show what `apply` would do. Status 0: nothing; 1: something; 2: it cannot be told."""
    declared, found = _both(controller_at(url), file, status=_TROUBLE)
    steps = plan(declared, found, prune=prune)
    if as_json:
        print_json([plan_view.as_json(step) for step in steps])
    elif not steps:
        out.print(f"No differences: {_counts(declared)} as declared")
    else:
        for step in steps:
            out.print(plan_view.line(step))
    if steps:
        raise typer.Exit(_DIFFERENT)


def export(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to this file."),
    ] = None,
    url: Url = "",
) -> None:
    """Write what is deployed as a file for `apply`: values that differ from the defaults.

    Deployments that endpoints use are left out, since the endpoints make them.
    """
    from model_deployment.cli.declared.export import export as written
    from model_deployment.cli.declared.look import look

    client = controller_at(url)
    text = written(answer_of(lambda: look(client, (), _warn)))
    if output is None:
        sys.stdout.write(text)
        return
    with writing(output):
        output.write_text(text, encoding="utf-8")


def _both(client: "Client", file: str, *, status: int) -> tuple[DeclaredState, Found]:
    """What a file declares, and what the controller has."""
    from model_deployment.cli.declared.document import InvalidDocument, declared_state, read
    from model_deployment.cli.declared.look import aliases

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        declaration = read(text, "standard input" if file == "-" else file)
        by_alias = any(one.alias for one in declaration.document.deployments or ())
        named = answer_of(lambda: aliases(client), status=status) if by_alias else {}
        declared = declared_state(declaration, named)
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}", status)
    except UnicodeDecodeError:
        fail(f"cannot read {file}: it is not UTF-8", status)
    except InvalidDocument as error:
        fail(error.detail, status)
    return declared, answer_of(lambda: _look(client, declared), status=status)


def _look(client: "Client", declared: DeclaredState) -> Found:
    from model_deployment.cli.declared.look import look

    keys: Iterable[tuple[str, int]] = [
        (one.model, one.version) for one in declared.deployments or ()
    ]
    return look(client, keys, _warn)


def _warn(text: str) -> None:
    err.print(f"warning: {text}")


def _tell(result: "Result", as_json: bool) -> None:
    if result.error:
        err.print(f"error: {plan_view.line(result.step)}: {result.error}")
    elif not as_json:
        note = f" ({result.note})" if result.note else ""
        out.print(f"{plan_view.line(result.step)}{note}")


def _counts(declared: DeclaredState) -> str:
    deployments, endpoints = len(declared.deployments or ()), len(declared.endpoints or ())
    parts = [
        f"{count} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((deployments, "deployment"), (endpoints, "endpoint"))
        if count
    ]
    text = " and ".join(parts) or "nothing"
    return f"{text} {'is' if text.startswith('1 ') and len(parts) == 1 else 'are'}"
