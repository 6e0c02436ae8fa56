"""How launches run in containers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ContainerSettings:
    """How launches run in containers."""

    instance: str
    #: Absolute folder for the folders of launches.
    root: Path
    #: Address of the engine.
    url: str
    #: Name of the image that environments are built on, perhaps with ``{python}``.
    base: str
    #: Seconds that a prediction may take.
    request_timeout: float
    #: Seconds that a build may take.
    build_timeout: float = 1800.0
    #: Network of builds; empty: that of the engine.
    network: str = ""
    #: What models get of the controller's environment, and what builds get.
    environment: Callable[[], Mapping[str, str]] = dict
    index: Callable[[], Mapping[str, str]] = dict
    #: A program in the image that serves in place of the model's server, for tests.
    program: str = ""
