"""The memory and the time that a run may take, as the project of flows says at the moment."""

from __future__ import annotations

import logging
from pathlib import Path

from model_deployment.core.errors import InvalidProject
from model_deployment.flow_project import load

_log = logging.getLogger(__name__)

#: Where the project cannot be read: the run says why.
_DEFAULT = 2 * 2**30


def memory_of_runs(project: Path) -> int:
    """Bytes."""
    try:
        return load(project).resources.memory
    except (InvalidProject, OSError) as error:
        _log.warning("cannot read resources.memory of the project %s: %s", project, error)
        return _DEFAULT


def time_of_runs(project: Path) -> float | None:
    """Seconds; None where the project cannot be read at the moment: what it said before still holds."""
    try:
        return load(project).resources.time
    except (InvalidProject, OSError) as error:
        _log.warning("cannot read resources.time of the project %s: %s", project, error)
        return None
