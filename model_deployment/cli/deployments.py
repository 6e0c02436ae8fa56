"""The commands that show deployments: list, describe, events."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from model_deployment.cli import figures, launch_view
from model_deployment.cli.connection import AnyName, AsJson, Url, controller_at
from model_deployment.cli.output import (
    answer_of,
    out,
    print_json,
    print_table,
    print_text,
)
from model_deployment.core.domain import State
from model_deployment.core.options import Options
from model_deployment.rendering import numbers


def list_(
    stopped: Annotated[
        bool, typer.Option("--all", metavar="", help="Include undeployed model versions.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Only of this registered model.")] = None,
    state: Annotated[State | None, typer.Option(help="Only in this state.")] = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show the deployments."""
    found = answer_of(lambda: controller_at(url).deployments(stopped=stopped))
    # Chosen here: a controller of an earlier release does not choose.
    rows = [
        one
        for one in found
        if (model or one["model"], state or one["state"]) == (one["model"], one["state"])
    ]
    if as_json:
        print_json(rows)
        return
    if not rows:
        none = "Nothing is deployed" if not found else "No deployment is like that"
        out.print(f"{none}. Try: model-deployment deploy MODEL VERSION")
        return
    usual = Options(retention_days=30.0).as_dict()
    columns = ("NAME", "STATE", "UP", "RESTARTS", "PORT", "OPTIONS", "REASON")
    print_table(columns, (_row(one, usual) for one in rows))


def _row(one: Mapping[str, Any], usual: dict[str, Any]) -> tuple[Any, ...]:
    change = one.get("replacement")
    reason = launch_view.reason(one)
    if change:
        reason = f"{change['purpose']}: {change['state']}: {change['reason']}"
    return (
        one["name"],
        launch_view.state(one),
        figures.since(one["ready_at"] if one["state"] == "ready" else None),
        one["restarts"],
        one["port"],
        figures.options(one["options"], usual),
        reason,
    )


def describe(name: AnyName, as_json: AsJson = False, url: Url = "") -> None:
    """Show all that is known of a deployment or an endpoint."""
    client = controller_at(url)
    if "@" in name:
        from model_deployment.cli.endpoints import print_endpoint

        print_endpoint(client, name, as_json=as_json)
        return
    shown: Mapping[str, Any] = answer_of(lambda: client.deployment(name))
    if as_json:
        print_json(shown)
        return
    facts = [(label, text) for label, text in _facts(shown) if text not in ("", None)]
    width = max(len(label) for label, _ in facts)
    for label, text in facts:
        out.print(f"{label:<{width}}  {text}")
    if launches := launch_view.launches(shown):
        print_text("\n".join(["", *launches]))


def _facts(shown: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "Name", shown["name"]
    yield "State", f"{shown['state']}: {shown['reason']}" if shown["reason"] else shown["state"]
    yield "What helps", shown["advice"]
    if change := shown.get("replacement"):
        yield _change(change)
    yield "Address", shown["url"]
    by = f" by {shown['deployed_by']}" if shown.get("deployed_by") else ""
    yield "Deployed", f"{figures.at(shown['created_at'])}{by}"
    yield "Ready since", figures.at(shown["ready_at"])
    yield "Restarts", shown["restarts"]
    yield from launch_view.facts(shown)
    if shown["pss"] is not None:
        yield "Memory", f"{numbers.size(shown['pss'])} ({numbers.size(shown['rss'])} resident)"
    yield "Options", figures.options(shown["options"], {})
    yield from _registered(shown.get("registered") or {})
    yield from _signature(shown["signature"] or {})
    serving = shown["serving"]
    if merging := serving["merging"]:
        how = f"up to {merging['max_rows']} rows" if merging["max_rows"] else "no"
        yield "Merging", f"{how}; {merging['reason']}"
    if serving["refused"]:
        yield "Refused", f"{numbers.count(serving['refused'], 'request')} did not fit the signature"
    yield "Try it", shown["curl"]


def _change(change: Mapping[str, Any]) -> tuple[str, str]:
    what, state, reason = change["purpose"], change["state"], change["reason"]
    match state:
        case "failed":
            return "Change failed", f"{what}: {reason}"
        case "retiring":
            return "Changed", f"{what}; the launch before ends: {reason}"
        case _:
            return "Being changed", f"{what}: {state}: {reason}"


def _registered(known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "Description", known.get("description")
    yield "Aliases", ", ".join(known.get("aliases") or ())
    yield "Tags", ", ".join(f"{name}={value}" for name, value in (known.get("tags") or {}).items())
    yield "Run", known.get("run_url") or known.get("run_id")
    yield (
        "Registered",
        " ".join(
            filter(
                None,
                (figures.at(known.get("created_at")), known.get("user") and f"by {known['user']}"),
            )
        ),
    )
    flavors = known.get("flavors") or ()
    yield "Flavors", ", ".join(flavors)
    metrics = known.get("metrics") or {}
    yield "Metrics", ", ".join(f"{name} {figures.number(value)}" for name, value in metrics.items())


def _signature(signature: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for part in ("inputs", "outputs", "params"):
        columns = signature.get(part) or ()
        yield part.capitalize(), ", ".join(_column(one) for one in columns)


def _column(one: Mapping[str, Any]) -> str:
    kind = one["type"]
    if kind == "tensor":
        spec = one["tensor-spec"]
        kind = f"{spec['dtype']}{spec['shape']}"
    optional = "" if one.get("required", True) else ", optional"
    return f"{one['name']} ({kind}{optional})" if one.get("name") else kind


def events(
    name: AnyName,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Number of newest events.")] = 50,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show what happened to a deployment or an endpoint, newest last."""
    client = controller_at(url)
    found: list[Any]
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    if "@" in name:
        found = answer_of(lambda: client.endpoint_events(name, limit=limit))
        columns, keys = ("AT", "ROLLOUT", "VERSION", "STATE", "REASON"), ("rollout_id", "version")
    else:
        found = answer_of(lambda: client.events(name, limit=limit))
        columns, keys = ("AT", "LAUNCH", "STATE", "REASON"), ("launch_id",)
        if any(one.get("replica") for one in found):
            columns, keys = ("AT", "REPLICA", *columns[1:]), ("replica", *keys)
    if as_json:
        print_json(found)
        return
    print_table(
        columns,
        (
            (figures.at(one["at"]), *(one[key] for key in keys), one["state"], one["reason"])
            for one in reversed(found)
        ),
    )
