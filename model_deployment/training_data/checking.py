"""Has uploads checked by processes of their own, one at a time."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_deployment.core.errors import (
    InvalidRequest,
    ModelDeploymentError,
    PayloadTooLarge,
    Unavailable,
    UnsupportedMediaType,
)
from model_deployment.training_data.versions import Column

_log = logging.getLogger(__name__)

#: Limits of a check: bytes of memory, seconds of a processor, seconds in all. A gigabyte of CSV takes
#: 250 MiB and 15 seconds.
_MEMORY, _CPU_SECONDS, _SECONDS = 1024 * 1024 * 1024, 600, 1200
#: A table may have so many times the bytes of the largest upload when it is unpacked.
_UNPACKED = 4


class UnfitData(InvalidRequest, title="Data do not fit"):
    """A file cannot be read as a table, or does not fit the original data of its experiment."""


@dataclass(frozen=True, slots=True)
class Original:
    """What new data of an experiment are compared with.

    Attributes:
        path: of the original data.
        missing_values: texts of cells that mean that a value is missing.
    """

    path: Path
    missing_values: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class CheckedTable:
    """What a check found out."""

    format: str
    rows: int
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Checker:
    """Starts the checks.

    Attributes:
        max_bytes: of an upload.
        environment: of the processes.
    """

    max_bytes: int
    environment: Mapping[str, str]
    memory: int = _MEMORY
    seconds: float = _SECONDS
    _turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    async def check(
        self, path: Path, declared: str | None, original: Original, experiment: str
    ) -> CheckedTable:
        """Check a file against the original data of an experiment.

        Args:
            declared: ``csv`` or ``parquet``, as the caller says; None: either.

        Raises:
            UnfitData: it cannot be read, or does not fit; ``errors`` has each column.
            UnsupportedMediaType: it is not what it is declared to be.
            PayloadTooLarge: it unpacks to too much.
            Unavailable: the check did not end, or the original data cannot be read.
        """
        task = {
            "path": str(path),
            "declared": declared,
            "original": str(original.path),
            "missing": list(original.missing_values),
            "most_bytes": _UNPACKED * self.max_bytes,
            "memory": self.memory,
            "seconds": _CPU_SECONDS,
            "parent": os.getpid(),
        }
        async with self._turn:
            answer = await self._run(json.dumps(task).encode())
        if "refusal" in answer:
            raise _error(answer, original, experiment)
        columns = tuple(Column(**column) for column in answer["columns"])
        return CheckedTable(answer["format"], answer["rows"], columns)

    async def _run(self, task: bytes) -> dict[str, Any]:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "model_deployment.training_data.check",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self.environment),
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self.seconds):
                answer, said = await child.communicate(task)
        except TimeoutError:
            raise Unavailable(
                f"cannot check the file: it took longer than {self.seconds:g} s; send fewer rows"
            ) from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        try:
            result = json.loads(answer)
        except ValueError:
            # A signal, or the limit of memory in a place that cannot say so.
            last = (said.decode("utf-8", "replace").strip().splitlines() or [""])[-1]
            _log.warning("the check of an upload ended with status %s: %s", child.returncode, last)
            raise UnfitData(
                "cannot keep this file: the program that checks it has broken on it, for lack of memory "
                "or because the file is damaged; write it anew, with fewer rows"
            ) from None
        return dict(result)


def _error(answer: Mapping[str, Any], original: Original, experiment: str) -> ModelDeploymentError:
    message, errors = answer["message"], answer["errors"]
    match answer["refusal"]:
        case "original":
            return Unavailable(
                f"cannot check the file: the original data of the experiment {experiment}, "
                f"{original.path}, cannot be read: {message}; correct `data` in the settings of the project"
            )
        case "media":
            return UnsupportedMediaType(
                f"cannot read the file: {message}; send the Content-Type that fits"
            )
        case "too_large":
            return PayloadTooLarge(f"cannot keep this file: {message}")
        case "misfit":
            return UnfitData(
                f"cannot keep this file for the experiment {experiment}: it does not fit the original "
                f"data. {message}",
                extra={"errors": errors},
            )
        case _:
            return UnfitData(
                f"cannot read the file: {message}", extra={"errors": errors} if errors else {}
            )
