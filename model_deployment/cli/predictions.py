"""The commands that predict, and send the ground truth of predictions: predict, feedback."""

import csv
import io
import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from model_deployment.cli.connection import AnyName, Url, controller_at
from model_deployment.cli.output import answer_of, err, fail, print_json, print_text

_BY_SUFFIX = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
}
_SHORT = {suffix[1:]: kind for suffix, kind in _BY_SUFFIX.items()}
#: First and last bytes of a parquet file.
_PARQUET = b"PAR1"


def predict(
    name: AnyName,
    file: Annotated[
        str, typer.Argument(help="JSON, CSV or parquet file; - for standard input.")
    ] = "-",
    content_type: Annotated[
        str,
        typer.Option(
            metavar="TYPE",
            help="csv, json, parquet or a media type. Default: by the file's name, else by its content.",
        ),
    ] = "",
    request_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Of the request; the controller makes one else."),
    ] = None,
    url: Url = "",
) -> None:
    """Send a file to a model and print the answer.

    On a terminal, the id of the request, which `feedback` takes, is printed on standard error.
    """
    from model_deployment.client.exchange import path
    from model_deployment.client.retries import Resend

    content = read_input(file)
    headers = {"Content-Type": content_type_of(file, content, content_type)}
    if request_id:
        headers["X-Request-Id"] = request_id
    client = controller_at(url)
    answer = answer_of(
        lambda: client.request(
            "POST", path("/{}", name), content=content, headers=headers, resend=Resend.REFUSED
        )
    )
    print_text(answer.text)
    if err.is_terminal:
        err.print(f"request id: {answer.headers.get('x-request-id', '')}")


def content_type_of(file: str, content: bytes, given: str = "") -> str:
    """The media type of a request: as given, by the name of its file, or by its first bytes."""
    if given:
        return _SHORT.get(given.lower(), given)
    if known := _BY_SUFFIX.get(Path(file).suffix.lower()):
        return known
    if content.startswith(_PARQUET):
        return _BY_SUFFIX[".parquet"]
    begin = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    # A line of names separated by commas begins with none of these; a quoted name has no colon behind it.
    return _BY_SUFFIX[".json" if begin in (b"{", b"[", b"") else ".csv"]


def feedback(
    name: AnyName,
    file: Annotated[
        str,
        typer.Argument(
            help="CSV, JSON or JSON lines with request_id, row (default 0) and label; - for standard input."
        ),
    ] = "",
    request_id: Annotated[
        str, typer.Option(metavar="ID", help="Instead of a file: of the prediction's answer.")
    ] = "",
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL", help="The true outcome of its row; repeated for several rows."
        ),
    ] = None,
    url: Url = "",
) -> None:
    """Store the ground truth of predictions. Sending a label again changes nothing."""
    if bool(file) == bool(request_id) or bool(request_id) != bool(label):
        raise typer.BadParameter("give a file, or --request-id with --label", param_hint="FILE")
    if file:
        try:
            items = labels_in(read_input(file).decode())
        except (ValueError, KeyError, TypeError) as error:
            fail(f"cannot read labels in {file}: {error or type(error).__name__}")
        known = [one for one in items if one["label"] is not None]
        if len(known) < len(items):
            err.print(f"{len(items) - len(known)} rows have no label, and are left out")
        items = known
    else:
        try:
            items = [
                {"request_id": request_id, "row": row, "label": _value(text)}
                for row, text in enumerate(label or ())
            ]
        except ValueError as error:
            fail(f"cannot use this label: {error}")
    client = controller_at(url)
    print_json(answer_of(lambda: client.feedback(name, items)))


def labels_in(text: str) -> list[Any]:
    """The labels in CSV with a heading, a JSON list (also as ``items``), or JSON lines.

    The label of a row that has none is None.

    Raises:
        ValueError: it is none of these, a column is missing, or a label is no finite number.
    """
    begin = text.lstrip()[:1]
    if begin == "[":
        return list(_json(text))
    if begin == "{":
        try:
            whole = _json(text)
        except json.JSONDecodeError:
            return [_json(line) for line in text.split("\n") if line.strip()]
        return list(whole["items"]) if "items" in whole else [whole]
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    if missing := {"request_id", "label"} - {*(rows.fieldnames or ())}:
        raise ValueError(f"the column {' and '.join(sorted(missing))} is missing")
    return [
        {
            "request_id": row["request_id"],
            "row": int(row.get("row") or 0),
            "label": _value(row["label"]) if row["label"] else None,
        }
        for row in rows
    ]


def _value(text: str) -> Any:
    """A number, true or false where the text is one; else the text."""
    try:
        found = _json(text)
    except json.JSONDecodeError:
        return text
    return found if isinstance(found, bool | int | float) else text


def _json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, or holds a number that is not finite.
    """
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is no finite number; leave the row out until its label is known")
    return value


def read_input(file: str) -> bytes:
    """The bytes of a file, or of standard input; ends the command if it cannot be read."""
    if file == "-" and sys.stdin.isatty():
        err.print("reading standard input; end it with Ctrl-D")
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")
