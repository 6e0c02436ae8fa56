"""The commands for projects of devices: which there are, what they release, and how it does."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from model_deployment.cli import completion, figures
from model_deployment.cli.connection import AsJson, Since, Until, Url, controller_at
from model_deployment.cli.device_arguments import Project
from model_deployment.cli.output import answer_of, out, print_json, print_table, printable

app = typer.Typer(
    no_args_is_help=True,
    help="Group models and the devices at the edge that run them.",
)

Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A registered model whose versions may be released; may be given several times.",
        autocompletion=completion.models,
    ),
]


@app.command("list")
def list_(as_json: AsJson = False, url: Url = "") -> None:
    """Show the projects."""
    found = answer_of(lambda: controller_at(url).projects())
    if as_json:
        print_json(found)
        return
    if not found:
        out.print(
            "There are no projects. Try: model-deployment project create PROJECT --model MODEL"
        )
        return
    columns = ("NAME", "MODELS", "ONLINE", "DEVICES", "RELEASE", "VERSION", "STATE", "FOLLOWS")
    print_table(columns, map(_row, found))


def _row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    counts, release = one["devices"], one["release"] or {}
    return (
        one["name"],
        ",".join(one["models"]),
        counts["online"],
        sum(counts.values()) - counts["revoked"],
        release.get("number"),
        f"{release['model']}-{release['version']}" if release else None,
        release.get("state"),
        (one["follows"] or {}).get("endpoint"),
    )


@app.command()
def create(project: Project, models: Models, as_json: AsJson = False, url: Url = "") -> None:
    """Make a project."""
    made = answer_of(lambda: controller_at(url).create_project(project, models))
    if as_json:
        print_json(made)
        return
    out.print(f"project {made['name']} is made")
    out.print(f"Next: model-deployment device enrol {made['name']}")


@app.command()
def show(project: Project, as_json: AsJson = False, url: Url = "") -> None:
    """Show a project: its models, its devices counted, and its newest release."""
    found = answer_of(lambda: controller_at(url).project(project))
    if as_json:
        print_json(found)
        return
    counts = ", ".join(f"{number} {state}" for state, number in found["devices"].items() if number)
    release = found["release"]
    facts = [
        ("project", found["name"]),
        ("models", ", ".join(found["models"])),
        ("devices", counts or "none"),
        ("follows", found["follows"]["endpoint"] if found["follows"] else "no endpoint"),
    ]
    if release:
        facts.append(("release", f"{release['number']}: {release['model']}-{release['version']}"))
        facts.append(("state", f"{release['state']}: {release['reason']}"))
    else:
        facts.append(("release", "none"))
    for name, value in facts:
        out.print(printable(f"{name:<8} {value}"))


@app.command("models")
def models_(project: Project, as_json: AsJson = False, url: Url = "") -> None:
    """Show the versions that may be released, with metrics and where they run."""
    found = answer_of(lambda: controller_at(url).project_models(project))
    if as_json:
        print_json(found)
        return
    if not found:
        out.print(f"The models of {project} have no versions yet.")
        return
    columns = ("VERSION", "ALIASES", "STATUS", "SERVER", "DEVICES", "RELEASES", "METRICS")
    print_table(
        columns,
        (
            (
                f"{one['model']}-{one['version']}",
                ",".join(one["aliases"]),
                one["status"],
                one["state"],
                one["devices"],
                ",".join(map(str, one["releases"])),
                " ".join(
                    f"{name}={figures.number(value)}" for name, value in one["metrics"].items()
                ),
            )
            for one in found
        ),
    )


@app.command()
def events(
    project: Project,
    release: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, help="Only of this release.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=500, help="Newest ones.")] = 50,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show what happened to releases and devices, newest first."""
    client = controller_at(url)
    found = answer_of(lambda: client.project_events(project, release=release, limit=limit))
    if as_json:
        print_json(found)
        return
    columns = ("AT", "RELEASE", "STATE", "DEVICE", "REASON")
    rows = (
        (figures.at(one["at"]), one["number"], one["state"], one["device"], one["reason"])
        for one in found
    )
    print_table(columns, rows)


@app.command()
def change(project: Project, models: Models, as_json: AsJson = False, url: Url = "") -> None:
    """Replace the models of a project; devices keep what they run."""
    found = answer_of(lambda: controller_at(url).change_project(project, models))
    if as_json:
        print_json(found)
        return
    out.print(f"project {found['name']} has the models {', '.join(found['models'])}")


@app.command()
def delete(
    project: Project,
    force: Annotated[
        bool,
        typer.Option(
            "--force", metavar="", help="With its devices, whose tokens are then no longer good."
        ),
    ] = False,
    url: Url = "",
) -> None:
    """Delete a project."""
    answer_of(lambda: controller_at(url).delete_project(project, force=force))
    out.print(f"project {project} is deleted")


@app.command()
def stats(
    project: Project,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show what each version did on devices and on the server, by default within a day."""
    client = controller_at(url)
    found = answer_of(lambda: client.project_stats(project, since=since, until=until))
    if as_json:
        print_json(found)
        return
    rows = [
        _stats_row(version, place)
        for version in found["versions"]
        for place in ("devices", "server")
        if version[place]
    ]
    if not rows:
        out.print("No version has predicted in this time.")
        return
    columns = (
        "VERSION",
        "WHERE",
        "RUNNING",
        "REQUESTS",
        "ERRORS",
        "P50 MS",
        "P95 MS",
        "MEAN",
        "VERDICT",
    )
    print_table(columns, rows)
    for version in found["versions"]:
        if version["drift_reason"]:
            drift = "" if version["drift"] is None else f"{version['drift']:.3g}: "
            name = f"{version['model']}-{version['version']}"
            out.print(f"{name}: drift between devices and server: {drift}{version['drift_reason']}")


def _stats_row(version: Mapping[str, Any], place: str) -> tuple[Any, ...]:
    found = version[place]
    predictions = found["predictions"] or {}
    return (
        f"{version['model']}-{version['version']}",
        place,
        version["running"] if place == "devices" else None,
        found["requests"],
        sum(found["errors"].values()),
        figures.number(found["p50_ms"]),
        figures.number(found["p95_ms"]),
        figures.number(predictions.get("mean")),
        found["verdict"],
    )
