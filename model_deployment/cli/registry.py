"""The commands that show what may be deployed: models, versions."""

from typing import Annotated

import typer

from model_deployment.cli import figures
from model_deployment.cli.connection import AsJson, Model, Url, controller_at
from model_deployment.cli.output import answer_of, out, print_json, print_table


def models(as_json: AsJson = False, url: Url = "") -> None:
    """Show the registered models."""
    found = answer_of(controller_at(url).models)
    if as_json:
        print_json(found)
        return
    if not found:
        out.print("The registry has no models. 'model-deployment demo' trains and registers one")
        return
    print_table(
        ("MODEL", "LATEST", "ALIASES", "DEPLOYED", "DESCRIPTION"),
        (
            (
                one["name"],
                one["latest_version"],
                ",".join(f"{alias}={version}" for alias, version in sorted(one["aliases"].items())),
                ",".join(map(str, one["deployed_versions"])),
                (one["description"] or "").strip().partition("\n")[0],
            )
            for one in found
        ),
    )


def versions(
    model: Model,
    limit: Annotated[int, typer.Option(min=1, help="Number of newest versions.")] = 20,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show the versions of a registered model, newest first."""
    client = controller_at(url)
    found = answer_of(lambda: client.versions(model, limit=limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ("VERSION", "STATE", "ALIASES", "REGISTERED", "METRICS"),
        (
            (
                one["version"],
                # What cannot be deployed, or else what became of the deployment.
                one["state"] or ("" if one["status"] == "READY" else one["status"]),
                ",".join(one["aliases"]),
                figures.at(one["created_at"]),
                " ".join(
                    f"{name}={figures.number(value)}" for name, value in one["metrics"].items()
                ),
            )
            for one in found
        ),
    )
