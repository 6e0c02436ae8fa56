"""The command that predicts a time series: predict-timeseries."""

import json
import re
from typing import Annotated

import typer

from model_deployment.cli.connection import Url, controller_at
from model_deployment.cli.output import answer_of, fail, print_json
from model_deployment.cli.predictions import read_input

#: What separates the numbers of a plain file.
_BETWEEN = re.compile(r"[\s,;]+")


def predict_timeseries(
    file: Annotated[
        str,
        typer.Argument(
            help="The last values, oldest first: a JSON list, or numbers separated by commas, spaces or "
            "lines; - for standard input."
        ),
    ] = "-",
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="Values to predict. Default: all that the model can."),
    ] = None,
    url: Url = "",
) -> None:
    """Predict the next values of a time series with the endpoint that is set for it."""
    try:
        values = numbers_in(read_input(file).decode())
    except ValueError as error:
        fail(f"cannot read numbers in {file}: {error}")
    client = controller_at(url)
    print_json(answer_of(lambda: client.predict_timeseries(values, steps)))


def numbers_in(text: str) -> list[float]:
    """The numbers of a JSON list, or of a text with one column, which may have a heading.

    Raises:
        ValueError: something in it is no number.
    """
    text = text.removeprefix("\ufeff").strip()
    if text.startswith("["):
        found = json.loads(text)
        if wrong := [one for one in found if type(one) not in (int, float)]:
            raise ValueError(f"{wrong[0]!r} is no number")
        return [float(one) for one in found]
    first, _, rest = text.partition("\n")
    if rest and not _is_number(_BETWEEN.split(first.strip())[0]):
        text = rest
    return [float(part) for part in _BETWEEN.split(text.strip()) if part]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
