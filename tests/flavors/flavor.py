"""What is said of a model of the corpus: how it is made, and what its answers may differ by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

#: Added to the name of the model that has no signature.
BARE = "-bare"
#: Relative difference of two answers that count as equal, where a model computes with 64-bit floats.
EXACT = 1e-12
#: The same where it computes with 32-bit floats, whose last digits depend on the process and its threads.
SINGLE = 1e-5


@dataclass(frozen=True)
class Made:
    """A model that can be logged."""

    #: ``log_model`` of its flavor, with the model bound.
    log: Callable[..., Any]
    example: Any
    #: Of a request; MLflow derives the signature's params from them.
    params: Mapping[str, Any] = field(default_factory=dict)
    #: For ``log_model``, where MLflow cannot derive it.
    signature: Any = None


@dataclass(frozen=True)
class Flavor:
    """One model of the corpus."""

    #: Of the registered model.
    name: str
    #: The module of MLflow that logs it, such as ``sklearn``.
    flavor: str
    #: The distribution whose version the table shows.
    library: str
    make: Callable[[], Made]
    #: Further distributions that its environment needs.
    needs: tuple[str, ...] = ()
    #: Relative difference of numbers that count as equal.
    tolerance: float = EXACT
    #: Whether it is also logged without a signature; a flavor may need one.
    bare: bool = True
    #: What is not equal, and why: by the form of the request.
    differs: Mapping[str, str] = field(default_factory=dict)
    #: A program without which the model cannot be made or served.
    program: str = ""
    remark: str = ""

    @property
    def models(self) -> tuple[str, ...]:
        """Names of its registered models: with a signature, and without one."""
        return (self.name, self.name + BARE) if self.bare else (self.name,)

    @property
    def requirements(self) -> list[str]:
        """What its environment needs, in the versions of this one."""
        names = ("mlflow", "pandas", self.library, *self.needs)
        return [f"{one}=={version(one)}" for one in dict.fromkeys(names)]
