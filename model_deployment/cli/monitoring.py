"""The commands that show how well models do: metrics, compare, report."""

import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_deployment.cli import completion, figures
from model_deployment.cli.connection import AnyName, AsJson, Model, Since, Until, Url, controller_at
from model_deployment.cli.output import answer_of, err, fail, out, print_json, print_table
from model_deployment.rendering import numbers

if TYPE_CHECKING:
    from model_deployment.client import Client

#: Reasons of a verdict that are printed, the worst ones first.
_REASONS = 8
_SERVED = ("requests", "rows", "p50_ms", "p95_ms", "p99_ms")


def metrics(
    name: AnyName, since: Since = None, until: Until = None, as_json: AsJson = False, url: Url = ""
) -> None:
    """Show the metrics of a model beside those of its training, and what it served (default: 24 hours)."""
    client = controller_at(url)
    found = answer_of(lambda: client.metrics(name, since=since, until=until))
    if as_json:
        print_json(found)
        return
    columns = ("METRIC", "BASELINE", "CURRENT", "CHANGE", "VERDICT")
    print_table(
        columns,
        (
            (
                one["metric"],
                figures.number(one["baseline"]),
                figures.number(one["current"]),
                figures.number(one["change"]),
                one["verdict"],
            )
            for one in found["comparison"]
        ),
    )
    if found.get("baseline_error"):
        out.print(f"The baseline is not known: {found['baseline_error']}")
    out.print(_served(found["serving"]["total"]))


def _served(total: Mapping[str, Any]) -> str:
    wrong = ", ".join(f"{count} {kind}" for kind, count in (total["errors"] or {}).items())
    times = ", ".join(
        f"{name.removesuffix('_ms')} {figures.number(total[name])} ms"
        for name in ("p50_ms", "p95_ms", "p99_ms")
        if total[name] is not None
    )
    parts = [
        f"{numbers.count(total['requests'], 'request')}, {numbers.count(total['rows'], 'row')}",
        f"errors: {wrong}" if wrong else "no errors",
        *([times] if times else []),
    ]
    return "; ".join(parts)


def compare(
    model: Model,
    versions: Annotated[
        list[str],
        typer.Argument(
            metavar="VERSION...", help="Two or more versions.", autocompletion=completion.versions
        ),
    ],
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show the metrics of versions of a model side by side. 'endpoint compare' compares a rollout's."""
    client = controller_at(url)
    found = answer_of(lambda: client.compare(model, versions))
    if as_json:
        print_json(found)
        return
    titles = [f"VERSION {one}" for one in versions]
    print_table(("METRIC", *titles, "BETTER"), _compared(found, versions))
    if different := [*_different(found, versions)]:
        out.print()
        print_table(("DIFFERENT", *titles), different)
    for version, why in found["unread"].items():
        err.print(f"version {version}: {why}")


def _compared(found: Mapping[str, Any], versions: list[str]) -> Iterator[tuple[Any, ...]]:
    better = found["better"]
    for metric, by_version in found["metrics"].items():
        for part in ("baseline", "current"):
            values = [(by_version.get(one) or {}).get(part) for one in versions]
            if any(value is not None for value in values):
                best = ",".join(map(str, better[metric][part]))
                yield (f"{metric} ({part})", *map(figures.number, values), best)
    serving = found["serving"]
    for name in _SERVED:
        values = [(serving.get(one) or {}).get(name) for one in versions]
        if any(value is not None for value in values):
            yield (name.replace("_ms", ", ms"), *map(figures.number, values), "")


def _different(found: Mapping[str, Any], versions: list[str]) -> Iterator[tuple[Any, ...]]:
    """What differs besides metrics: params, tags, columns, requirements, options."""
    for section, lines in found["sections"].items():
        for line in lines:
            if line["differs"] and section != "metrics":
                values = (line["values"].get(one) for one in versions)
                yield (f"{section}: {line['name']}", *map(_one, values))


def _one(value: Any) -> str:
    return value if isinstance(value, str) else figures.number(value)


def report(
    name: AnyName,
    since: Since = None,
    until: Until = None,
    id: Annotated[
        str | None, typer.Option(metavar="ID", help="A stored report instead of a new one.")
    ] = None,
    stored: Annotated[
        bool, typer.Option("--list", metavar="", help="Show the stored reports.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page to this file.")
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", metavar="", help="Open the page in a browser.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, max=600, help="Stop waiting after this time.")
    ] = 300,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Make a degradation report (30 days by default), and tell its verdict."""
    client = controller_at(url)
    if stored:
        _list_reports(client, name, as_json=as_json)
        return
    with err.status(f"making a report of {name}"):
        made = answer_of(lambda: client.report(name, since=since, until=until, id=id, wait=timeout))
    if html is not None:
        try:
            made.save(html)
        except (OSError, ValueError) as error:
            fail(f"cannot write {html}: {error}")
    if as_json:
        print_json(made.data)
    else:
        out.print(f"{made.verdict.replace('_', ' ')}: {made.headline}".rstrip(": "))
        reasons = (made.data["report"] or {}).get("reasons") or []
        for one in reasons[:_REASONS]:
            out.print(f"  {one['severity']}: {one['message']} {one['advice']}".rstrip())
        if len(reasons) > _REASONS:
            out.print(f"  … and {len(reasons) - _REASONS} more on the page")
        out.print(f"report {made.id}: {_address(client, name, made.id)}")
    if open_:
        webbrowser.open(_address(client, name, made.id))


def _list_reports(client: "Client", name: str, *, as_json: bool) -> None:
    found = answer_of(lambda: client.reports(name))
    if as_json:
        print_json(found)
        return
    if not found:
        out.print(f"There is no report of {name} yet. Try: model-deployment report {name}")
        return
    rows = ((figures.at(one["at"]), one["id"], one["verdict"], one["headline"]) for one in found)
    print_table(("MADE", "ID", "VERDICT", "HEADLINE"), rows)


def _address(client: "Client", name: str, id: str) -> str:
    from model_deployment.client.exchange import path

    return f"{client.url}{path('/model/{}/degradation_report', name)}?id={id}"
