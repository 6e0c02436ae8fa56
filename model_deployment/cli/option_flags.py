"""The flags of commands that take deploy options, made from the declared options."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from model_deployment.core.options import Declaration, Options
from model_deployment.core.replicas import MAX_REPLICAS, Replicas


def with_option_flags(options: type[Options]) -> Callable[[Callable[..., None]], Any]:
    """Give a command ``(…, url, **flags)`` one flag for each deploy option; a flag not given is None."""

    def decorate(command: Callable[..., None]) -> Any:
        signature = inspect.signature(command)
        *arguments, url, _ = signature.parameters.values()
        flags = [
            url.replace(name=name, default=None, annotation=_flag(one))
            for name, one in options.declarations().items()
        ]
        made = signature.replace(parameters=[*arguments, *flags, url])
        command.__signature__ = made  # type: ignore[attr-defined]
        return command

    return decorate


def named(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a command line names."""
    return {name: value for name, value in flags.items() if value not in (None, [])}


def _flag(one: Declaration) -> Any:
    """The annotation of a flag: durations and sizes stay text, which the controller reads."""
    if one.is_list:
        return Annotated[
            list[str] | None,
            typer.Option(help=f"{one.description} One column; may be repeated.", metavar="COLUMN"),
        ]
    if one.is_duration:
        return Annotated[
            str | None,
            typer.Option(help=f"{one.description} Or text like `12h`.", metavar="DURATION"),
        ]
    if one.is_size:
        return Annotated[
            str | None,
            typer.Option(
                help=f"{one.description} Or text like `512MiB`.",
                metavar="|".join(("SIZE", *one.words)),
            ),
        ]
    if one.is_range:
        return Annotated[Any, typer.Option(help=one.description, parser=_replicas, metavar="N|N-N")]
    if one.words:
        metavar = "|".join(("N" if one.is_whole else "NUMBER", *one.words))
        return Annotated[
            Any,
            typer.Option(help=one.description, parser=_number_or_word(one), metavar=metavar),
        ]
    if one.choices:
        return Annotated[one.kind | None, typer.Option(help=one.description)]
    metavar = "N" if one.is_whole else "NUMBER"
    return Annotated[one.kind | None, typer.Option(help=one.description, metavar=metavar)]


def _replicas(text: str) -> Any:
    try:
        return Replicas.read(text).as_json()
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a whole number from 1 to {MAX_REPLICAS} nor a range like 1-4"
        ) from None


def _number_or_word(one: Declaration) -> Callable[[str], int | float | str]:
    what = "a whole number" if one.is_whole else "a number"

    def read(text: str) -> int | float | str:
        if text in one.words:
            return text
        try:
            number: int | float = one.kind(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise typer.BadParameter(f"{text!r} is neither {what} nor {' or '.join(one.words)}")
        return number

    return read
