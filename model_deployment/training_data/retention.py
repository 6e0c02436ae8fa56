"""Deletes uploaded versions beyond the number that is kept of each experiment."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from model_deployment.core.errors import Conflict, ModelDeploymentError, NotFound
from model_deployment.training_data.versions import Version, Versions

_log = logging.getLogger(__name__)


def beyond(versions: Sequence[Version], keep: int) -> list[Version]:
    """The versions that are not among the newest of their experiment; oldest first.

    Args:
        keep: versions of each experiment; 0: all.
    """
    seen: Counter[str] = Counter()
    old = []
    for version in sorted(versions, key=lambda one: one.order, reverse=True):
        seen[version.experiment] += 1
        if keep and seen[version.experiment] > keep:
            old.append(version)
    return old[::-1]


@dataclass(frozen=True)
class Retention:
    """
    Attributes:
        keep: versions of each experiment; 0: all.
        in_use: why a version is kept all the same, in words; empty if nothing speaks for it. Raises a
            ModelDeploymentError where that cannot be found out.
        delete: removes a version; raises Conflict if somebody has begun to use it.
    """

    versions: Versions
    keep: int
    in_use: Callable[[str], Awaitable[str]]
    delete: Callable[[str], Awaitable[None]]

    async def apply(self) -> None:
        """Delete what is too old; what cannot be judged now is left for the next time."""
        for version in beyond(await asyncio.to_thread(self.versions.list), self.keep):
            try:
                if await self.in_use(version.sha256):
                    continue
                await self.delete(version.sha256)
            except (NotFound, Conflict):
                continue
            except (ModelDeploymentError, OSError) as error:
                _log.warning(
                    "cannot delete version %s of the training data now: %s", version.sha256, error
                )
                return
            _log.info(
                "deleted version %s of the training data: %s newer ones of %s are kept",
                version.sha256,
                self.keep,
                version.experiment,
            )
