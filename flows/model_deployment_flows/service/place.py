"""Where the service keeps its files, and the file in which it says how it is reached."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Self


class ServiceState(StrEnum):
    """How far the service is. Runs can be handed over while it is ready."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class ServiceFile:
    """``service.json``. A service that was killed leaves it, and does not hold the lock."""

    pid: int
    state: ServiceState
    api_url: str
    auth: str = field(repr=False)
    """User and password of Prefect's API, with a colon between."""
    since: float
    """Seconds since the epoch at which the state began."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folder ``flows`` of a data directory."""

    folder: Path

    @classmethod
    def of(cls, data_dir: Path) -> Self:
        """Make the folders that are missing, for this user alone."""
        place = cls(data_dir / "flows")
        for folder in (place.folder, place.prefect):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place

    @property
    def prefect(self) -> Path:
        return self.folder / "prefect"

    @property
    def lock(self) -> Path:
        return self.folder / "service.lock"

    @property
    def log(self) -> Path:
        return self.folder / "service.log"

    @property
    def file(self) -> Path:
        return self.folder / "service.json"

    def read(self) -> ServiceFile | None:
        """None if there is no file, or one that was not written by a service."""
        try:
            content = json.loads(self.file.read_bytes())
            return ServiceFile(**(content | {"state": ServiceState(content["state"])}))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, content: ServiceFile) -> None:
        """Replace the file at once, so that no reader sees half of it."""
        new = self.file.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(content), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.file)

    def remove(self) -> None:
        self.file.unlink(missing_ok=True)
