"""Whether requests to a launch are merged, and why. Pure."""

from dataclasses import dataclass
from typing import Literal

from model_deployment.core.options import AUTO, AUTO_MAX_ROWS


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a launch predicts each row alike alone and in a batch, and how that is known."""

    independent: bool
    #: How it is known; or how the predictions differ, or why it could not be found out.
    reason: str


@dataclass(frozen=True, slots=True)
class Merging:
    """Whether the requests to a launch are merged."""

    #: Rows of a merged call, at most; 0: requests are not merged.
    max_rows: int = 0
    reason: str = "batch_max_rows is 0"


def chosen(batch_max_rows: int | Literal["auto"], reason: str) -> Merging:
    """Merging for a launch whose rows are independent.

    Args:
        reason: how that is known.
    """
    if batch_max_rows == AUTO:
        return Merging(AUTO_MAX_ROWS, reason)
    return Merging(int(batch_max_rows), f"batch_max_rows is {batch_max_rows}, and {reason}")


def in_force(batch_max_rows: int | Literal["auto"], recorded: Merging | None) -> Merging:
    """Merging for a launch that is ready.

    Args:
        recorded: what was found out before it was ready; None if the release before started it.
    """
    if recorded is not None:
        return recorded
    if batch_max_rows == AUTO:
        return Merging(0, "its rows are compared when it starts next")
    return Merging(int(batch_max_rows), f"batch_max_rows is {batch_max_rows}")


def changed(recorded: Merging | None, batch_max_rows: int | Literal["auto"]) -> Merging | None:
    """Merging for a launch that goes on with another limit; None if only another launch can have it.

    Args:
        recorded: what was found out before it was ready. Its rows are independent if they are merged.
    """
    if batch_max_rows == 0:
        return Merging()
    rows = AUTO_MAX_ROWS if batch_max_rows == AUTO else int(batch_max_rows)
    # A call of so many rows was tried before a launch was ready, and none of more.
    if recorded is None or min(rows, AUTO_MAX_ROWS) > recorded.max_rows:
        return None
    if batch_max_rows == AUTO:
        return Merging(rows, "its rows are independent")
    return Merging(rows, f"batch_max_rows is {batch_max_rows}")


def turned_off(merging: Merging, unmergeable: str) -> Merging:
    """The same, or no merging where the proxy has turned it off, for a reason that is not empty."""
    return Merging(0, unmergeable) if merging.max_rows and unmergeable else merging
