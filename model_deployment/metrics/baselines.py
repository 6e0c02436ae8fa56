"""The baseline metrics of versions, also while the registry is away.

They are stored in a file for each copy of the artifacts: a version that is registered again has its own.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from model_deployment.core.errors import ModelDeploymentError, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.registry.kept_copies import keep_renewed, write_copy

_FILE = "baseline.json"
#: Seconds that the registry may take if stored metrics can be shown instead.
_PATIENCE = 3.0
#: Age at which metrics are fetched again.
_OLD = timedelta(hours=1)
#: Age up to which an unchanged file is not written again.
_FRESH = timedelta(minutes=1)

#: Fetches the metrics of a version by the name of its artifacts; raises ModelDeploymentError.
Fetch = Callable[[ModelKey, str], Awaitable[dict[str, float]]]
#: The name of a deployment's artifacts; None if the version is not deployed.
FindArtifact = Callable[[ModelKey], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class StoredBaseline:
    metrics: dict[str, float]
    at: datetime


class Baselines:
    """Fetches metrics from the registry, and stores them."""

    def __init__(self, root: Path, fetch: Fetch, artifact: FindArtifact) -> None:
        """``root`` has one folder for each copy of artifacts."""
        self._root = root
        self._fetch = fetch
        self._artifact = artifact
        #: When the metrics that were returned last had been fetched; only of stored ones.
        self._as_of: dict[ModelKey, datetime] = {}

    async def of(self, key: ModelKey) -> dict[str, float]:
        """The metrics of the version's run and logged model: from the registry, else the stored ones.

        Raises:
            ModelDeploymentError: the registry does not answer, and no metrics are stored.
        """
        artifact = await self._artifact(key)
        if artifact is None:
            self._as_of.pop(key, None)
            return await self._fetch(key, "")
        file = self._root / artifact / _FILE
        stored = await asyncio.to_thread(_read, file)
        try:
            async with asyncio.timeout(_PATIENCE if stored else None):
                fetched = await self._fetch(key, artifact)
        except (ModelDeploymentError, TimeoutError):
            if stored is None:
                raise
            self._as_of[key] = stored.at
            return stored.metrics
        self._as_of.pop(key, None)
        if stored is None or stored.metrics != fetched or datetime.now(UTC) - stored.at > _FRESH:
            await self._store(file, fetched)
        return fetched

    def as_of(self, key: ModelKey) -> datetime | None:
        """When the last result of :meth:`of` had been fetched, if it was a stored one."""
        return self._as_of.get(key)

    async def run(self, deployed: Callable[[], Awaitable[Sequence[ModelKey]]]) -> None:
        """Fetch and store the metrics of all deployments ahead of time, until cancelled."""
        await keep_renewed(deployed, self._renew, "baselines")

    async def _renew(self, key: ModelKey) -> None:
        """Fetch the metrics again if the stored ones are old."""
        artifact = await self._artifact(key)
        if artifact is None:
            return
        file = self._root / artifact / _FILE
        stored = await asyncio.to_thread(_read, file)
        if stored is None or datetime.now(UTC) - stored.at > _OLD:
            with suppress(UnknownModel):  # deleted in the registry, or registered again
                await self._store(file, await self._fetch(key, artifact))

    async def _store(self, file: Path, metrics: dict[str, float]) -> None:
        await asyncio.to_thread(_write, file, StoredBaseline(metrics, datetime.now(UTC)))


def _read(file: Path) -> StoredBaseline | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        metrics = {str(name): float(value) for name, value in found["metrics"].items()}
        at = datetime.fromisoformat(found["at"])
        return StoredBaseline(metrics, at if at.tzinfo else at.replace(tzinfo=UTC))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(file: Path, baseline: StoredBaseline) -> None:
    content: dict[str, Any] = {"metrics": baseline.metrics, "at": baseline.at.isoformat()}
    write_copy(file, content)
