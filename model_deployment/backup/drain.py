"""Ends the drain, which outlives the controller, before the document store is replaced under it."""

from pathlib import Path

from model_deployment.backup.archive import INSTANCE
from model_deployment.runtime import companions
from model_deployment.runtime.logs import DRAIN
from model_deployment.state import instance

#: Seconds that it may take to end after it was asked to.
_GRACE = 5.0


def end_drain(data_dir: Path) -> None:
    """The next controller starts another one. The caller holds the lock of the data directory.

    Raises:
        OSError: it is unknown whether there is one.
    """
    if (own := instance.read(data_dir / INSTANCE)) is not None:
        companions.end_all(own, DRAIN, _GRACE)
