"""The ranges that a study tries for the parameters of a model type, as Optuna names them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from model_deployment.flow_project.types import Listed, Part


class _Range(Part):
    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low, high, step = (getattr(self, name) for name in ("low", "high", "step"))
        if low > high:
            raise ValueError(f"low ({low}) is above high ({high})")
        if getattr(self, "log", False):
            if low <= 0:
                raise ValueError(f"a logarithmic range has a low above 0, not {low}")
            if step is not None:
                raise ValueError("leave out step or log: a logarithmic range has no step")
        return self


class IntRange(_Range):
    """Whole numbers from ``low`` to ``high``, both included."""

    type: Literal["int"]
    """`int`"""
    low: int
    """The smallest value."""
    high: int
    """The largest value."""
    step: Annotated[int, Field(ge=1)] | None = None
    """Distance of two values. Default: 1."""
    log: bool = False
    """Try small values as often as large ones, on a logarithmic scale; without a step."""


class FloatRange(_Range):
    """Numbers from ``low`` to ``high``."""

    type: Literal["float"]
    """`float`"""
    low: float
    """The smallest value."""
    high: float
    """The largest value."""
    step: Annotated[float, Field(gt=0)] | None = None
    """Distance of two values. Default: any value."""
    log: bool = False
    """Try small values as often as large ones, on a logarithmic scale; without a step."""


class Choice(Part):
    """One of some values."""

    type: Literal["categorical"]
    """`categorical`"""
    choices: Annotated[tuple[bool | int | float | str | None, ...], Listed, Field(min_length=1)]
    """Texts, numbers, `true`, `false` or `null`."""


Parameter = Annotated[IntRange | FloatRange | Choice, Field(discriminator="type")]
