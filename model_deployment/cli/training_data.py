"""The commands for training data: upload-data, and those of ``datasets``."""

import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from model_deployment.cli import figures
from model_deployment.cli.connection import AsJson, Url, controller_at
from model_deployment.cli.output import answer_of, err, fail, out, print_json, print_table, writing
from model_deployment.rendering import numbers

app = typer.Typer(
    no_args_is_help=True, help="Versions of the training data: list, show, report, save, delete."
)
Sha256 = Annotated[
    str, typer.Argument(metavar="SHA256", help="A version; its first digits are enough.")
]
#: Findings of an analysis that are printed, the worst ones first.
_FINDINGS = 20
#: Digits of a SHA-256 that people see.
SHORT = 12


def upload_data(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Parquet.")],
    experiment: Annotated[
        str,
        typer.Option(
            "--experiment", "-e", metavar="NAME", help="Name in the settings of the project."
        ),
    ],
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Start the full flow with the file.")
    ] = True,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the file, for people.")
    ] = None,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Upload new training data of an experiment, and start the full flow with them."""
    if not file.is_file():
        fail(f"cannot upload {file}: there is no such file", 2)
    client = controller_at(url)
    with err.status(f"sending {file} and having it checked"):
        kept = answer_of(lambda: client.upload_data(file, experiment, run=run, name=name))
    if as_json:
        print_json(kept)
        return
    size = f"{numbers.count(kept['rows'], 'row')}, {numbers.count(kept['columns'], 'column')}"
    out.print(f"version {kept['sha256']}: {size}")
    if kept["run"]:
        out.print(
            f"run {kept['run']['id']} is asked for: model-deployment flows show {kept['run']['id']}"
        )


@app.command("list")
def list_(
    experiment: Annotated[
        str | None,
        typer.Option("--experiment", "-e", metavar="NAME", help="Only of this experiment."),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Versions at most.")] = 50,
    as_json: AsJson = False,
    url: Url = "",
) -> None:
    """Show the versions of the training data, the newest first."""
    client = controller_at(url)
    found = answer_of(lambda: client.data_versions(experiment, limit=limit))
    if as_json:
        print_json(found)
        return
    if not found:
        out.print(
            "There are no uploads yet. Try: model-deployment upload-data FILE --experiment NAME"
        )
        return
    columns = (
        "SHA256",
        "EXPERIMENT",
        "UPLOADED",
        "BY",
        "FORMAT",
        "ROWS",
        "COLUMNS",
        "SIZE",
        "NAME",
    )
    print_table(columns, map(_row, found))


def _row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        one["sha256"][:SHORT],
        one["experiment"],
        figures.at(one["uploaded_at"]),
        one["uploaded_by"],
        one["format"],
        one["rows"],
        one["columns"],
        numbers.size(one["bytes"]),
        one["name"],
    )


@app.command()
def show(sha256: Sha256, as_json: AsJson = False, url: Url = "") -> None:
    """Show a version with its analyses, and the models that were trained on it."""
    client = controller_at(url)
    found = answer_of(lambda: client.data_version(_whole(client, sha256)))
    if as_json:
        print_json(found)
        return
    print_table(("", ""), _facts(found))
    for experiment, analysis in found["analyses"].items():
        out.print()
        out.print(f"Analysis for {experiment}: {analysis.get('headline', '')}".rstrip(": "))
        findings = analysis.get("findings", [])
        for one in findings[:_FINDINGS]:
            out.print(f"  {one['severity']}: {one['message']} {one['advice']}".rstrip())
        if len(findings) > _FINDINGS:
            out.print(f"  … and {len(findings) - _FINDINGS} more in the report")


def _facts(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "version", found["sha256"]
    yield "experiment", found["experiment"]
    by = f" by {found['uploaded_by']}" if found["uploaded_by"] else ""
    yield "uploaded", f"{figures.at(found['uploaded_at'])}{by}"
    yield "file", f"{found['name'] or '-'} ({found['format']}, {numbers.size(found['bytes'])})"
    yield "rows", found["rows"]
    columns = [f"{one['name']} ({one['type']})" for one in found["column_types"]]
    yield "columns", ", ".join(columns[:30]) + (" …" if len(columns) > 30 else "")
    models = found["models"]
    trained = "MLflow does not answer" if models is None else "none"
    yield "models", ", ".join(f"{one['model']}-{one['version']}" for one in models or ()) or trained
    yield "in MLflow", found["mlflow"]["artifact_uri"] if found["mlflow"] else "not yet"


@app.command()
def report(
    sha256: Sha256,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment", "-e", metavar="NAME", help="Default: for which it was uploaded."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page to this file.")
    ] = None,
    url: Url = "",
) -> None:
    """Open the report of a version's analysis in a browser, or write it to a file."""
    client = controller_at(url)
    whole = answer_of(lambda: _whole(client, sha256))
    chosen = experiment or answer_of(lambda: client.data_version(whole))["experiment"]
    page = answer_of(lambda: client.data_report(whole, chosen))
    if html is None:
        webbrowser.open(f"{client.url}/datasets/{whole}/report?experiment={chosen}")
        return
    with writing(html):
        html.write_text(page, encoding="utf-8")
    out.print(f"wrote {html}")


@app.command()
def save(
    sha256: Sha256,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to.")],
    url: Url = "",
) -> None:
    """Write the file of a version, as it was uploaded."""
    client = controller_at(url)
    with writing(file):
        answer_of(lambda: client.save_data(_whole(client, sha256), file))
    out.print(f"wrote {file}")


@app.command()
def delete(sha256: Sha256, url: Url = "") -> None:
    """Delete a version with its analyses. The copy in MLflow stays."""
    client = controller_at(url)
    whole = answer_of(lambda: _whole(client, sha256))
    answer_of(lambda: client.delete_data(whole))
    out.print(f"deleted version {whole}")


def _whole(client: Any, sha256: str) -> str:
    """The SHA-256 that begins so, if only one does."""
    if len(sha256) == 64:
        return sha256
    found = [one["sha256"] for one in client.data_versions() if one["sha256"].startswith(sha256)]
    if len(found) > 1:
        fail(f"cannot choose a version: {len(found)} begin with {sha256}; write more digits", 2)
    return found[0] if found else sha256
