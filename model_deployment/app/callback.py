"""A callback whose target is built later: parts that call each other need one of these."""

from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Callback(Generic[P]):
    """Calls its target; until there is one, it does nothing."""

    def __init__(self) -> None:
        self.target: Callable[P, object] | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        if self.target is not None:
            self.target(*args, **kwargs)
