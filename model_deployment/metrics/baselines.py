"""The metrics that versions had when they were made, also while the registry is away.

They are kept in a file for each copy of the artifacts: a version that was registered anew has its own.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from model_deployment.core.errors import ModelDeploymentError, RegistryUnavailable, UnknownModel
from model_deployment.core.names import ModelKey

_log = logging.getLogger(__name__)

_FILE = "baseline.json"
#: Seconds that the registry may take where there is something to show instead.
_PATIENCE = 3.0
#: Seconds between looks for versions whose metrics are not kept yet; then they are asked for again.
_LOOK, _AGAIN = 30.0, timedelta(hours=1)
#: A note that is not older is not written again, where nothing has changed.
_FRESH = timedelta(minutes=1)

#: Asks the registry, which may raise what it likes of ModelDeploymentError. By the name of the artifacts.
Ask = Callable[[ModelKey, str], Awaitable[dict[str, float]]]
#: The name of a deployment's artifacts; None where there is no such deployment.
Artifact = Callable[[ModelKey], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class StoredBaseline:
    """Metrics as the registry told them once."""

    metrics: dict[str, float]
    at: datetime


class Baselines:
    """Asks the registry, and remembers what it said."""

    def __init__(self, root: Path, ask: Ask, artifact: Artifact) -> None:
        """``root``: the folder with one folder for each copy of artifacts."""
        self._root = root
        self._ask = ask
        self._artifact = artifact
        #: When those that were told last were had from the registry, where that is a while ago.
        self._as_of: dict[ModelKey, datetime] = {}

    async def of(self, key: ModelKey) -> dict[str, float]:
        """The metrics of the version's run and logged model: the registry's, else those that are kept.

        Raises:
            ModelDeploymentError: the registry does not tell, and none are kept.
        """
        artifact = await self._artifact(key)
        if artifact is None:
            self._as_of.pop(key, None)
            return await self._ask(key, "")
        file = self._root / artifact / _FILE
        kept = await asyncio.to_thread(_read, file)
        try:
            async with asyncio.timeout(_PATIENCE if kept else None):
                told = await self._ask(key, artifact)
        except (ModelDeploymentError, TimeoutError):
            if kept is None:
                raise
            self._as_of[key] = kept.at
            return kept.metrics
        self._as_of.pop(key, None)
        if kept is None or kept.metrics != told or datetime.now(UTC) - kept.at > _FRESH:
            await self._keep(file, told)
        return told

    def as_of(self, key: ModelKey) -> datetime | None:
        """When those that :meth:`of` told last were had from the registry; None if that was then."""
        return self._as_of.get(key)

    async def run(self, deployed: Callable[[], Awaitable[Sequence[ModelKey]]]) -> None:
        """Keep those of all deployments ahead of time, until cancelled."""
        while True:
            try:
                for key in await deployed():
                    await self._renew(key)
            except RegistryUnavailable:
                pass  # for the others as well; its reason is in the log
            except Exception as error:
                _log.warning("cannot keep baselines: %s", error)
            await asyncio.sleep(_LOOK)

    async def _renew(self, key: ModelKey) -> None:
        """Ask the registry, if what is kept is old."""
        artifact = await self._artifact(key)
        if artifact is None:
            return
        file = self._root / artifact / _FILE
        kept = await asyncio.to_thread(_read, file)
        if kept is None or datetime.now(UTC) - kept.at > _AGAIN:
            with suppress(UnknownModel):  # it was deleted, or is another one by now
                await self._keep(file, await self._ask(key, artifact))

    async def _keep(self, file: Path, metrics: dict[str, float]) -> None:
        await asyncio.to_thread(_write, file, StoredBaseline(metrics, datetime.now(UTC)))


def _read(file: Path) -> StoredBaseline | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        metrics = {str(name): float(value) for name, value in found["metrics"].items()}
        at = datetime.fromisoformat(found["at"])
        return StoredBaseline(metrics, at if at.tzinfo else at.replace(tzinfo=UTC))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write(file: Path, kept: StoredBaseline) -> None:
    """Whole or not at all; a disk that is full is told, and no reason to fail."""
    note: dict[str, Any] = {"metrics": kept.metrics, "at": kept.at.isoformat()}
    draft = file.with_name(f".{_FILE}-{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(json.dumps(note), encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        _log.warning("cannot keep %s: %s", file, error.strerror)
