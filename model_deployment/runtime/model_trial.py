"""Starts the program that tries a model on its example and makes its ONNX form, one at a time."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import model_deployment
from model_deployment.core.errors import DiskFull
from model_deployment.runtime import identity
from model_deployment.worker.tracking import NO_TRACKING

#: Limits of a trial: bytes of memory, seconds of processors, seconds in all, bytes of a file.
MEMORY, CPU_SECONDS, SECONDS, FILE_BYTES = 4 << 30, 900, 900.0, 2 << 30
#: Names of what the program writes, and its exit status when the disk is full; see ``worker/onnx_form.py``,
#: which the controller does not import.
_ANSWER, _FORM, _MODEL, _DISK_FULL = "answer.json", "form.json", "model.onnx", 75
#: What the processes are called in their marks, see :mod:`~model_deployment.runtime.identity`.
_KIND = "trial"
#: Characters of a message, and bytes of what the program says or writes about the form.
_MOST_WORDS, _MOST_BYTES = 400, 16 << 20


@dataclass(frozen=True, slots=True)
class ModelTrial:
    """What a trial found out.

    Attributes:
        example: name of the input example in the folder of the model; None if it has none.
        predictions: what the model answers to it; None if it could not be asked.
        tolerance: of predicted numbers, and relative to those above 1.
        form: ``inputs``, ``outputs`` and ``max_difference`` of the ONNX form; None if there is none.
        model: the file of the ONNX form.
        why_not: why there is no ONNX form.
    """

    example: str | None
    predictions: Any
    tolerance: float
    form: Mapping[str, Any] | None = None
    model: Path | None = None
    why_not: str = ""


@dataclass(frozen=True)
class ModelTrials:
    """Starts trials.

    Attributes:
        environment: of the processes, as models have it: without passwords of the controller.
        instance: whose mark the processes carry.
    """

    environment: Mapping[str, str]
    instance: str
    memory: int = MEMORY
    cpu_seconds: int = CPU_SECONDS
    seconds: float = SECONDS
    file_bytes: int = FILE_BYTES
    module: str = "model_deployment.worker.onnx_form"
    _turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    def end_left(self) -> None:
        """End what is left of trials whose controller was killed: with it ended their own processes only.

        Raises:
            OSError: no descriptor is left, so nothing is known.
        """
        for process in [*identity.of_kind(self.instance, _KIND)]:
            identity.send_signal(process, signal.SIGKILL)

    async def run(self, model: Path, out: Path) -> ModelTrial:
        """Try a model. Its code runs in a process of its own, which ends with this one.

        Args:
            model: the folder with the model. The model may write into it.
            out: a folder for the results, which exists.

        Raises:
            DiskFull: the disk is full.
            OSError: the process cannot be started.
        """
        task = {
            "model": str(model),
            "out": str(out),
            "memory": self.memory,
            "cpu_seconds": self.cpu_seconds,
            "file_bytes": self.file_bytes,
            "parent": os.getpid(),
        }
        async with self._turn:
            end = await self._run(json.dumps(task).encode(), out / "log")
        # Messages of exceptions name files of the model, whose place is nobody's concern.
        found = await asyncio.to_thread(_read, out, end)
        return replace(found, why_not=found.why_not.replace(f"{model}/", "")[:_MOST_WORDS])

    async def _run(self, task: bytes, log: Path) -> str:
        """Run the program; how it ended if it did not end by itself, in words."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(log, flags, 0o600), "wb") as output:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self.module,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=self._environment(),
                # The folder of this very package, so that both are of one version.
                cwd=Path(model_deployment.__file__).parent.parent,
                start_new_session=True,
            )
        late = False
        try:
            async with asyncio.timeout(self.seconds):
                await child.communicate(task)
        except TimeoutError:
            late = True
        finally:
            with contextlib.suppress(ProcessLookupError):  # with what it has started itself
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
        if late:
            return f"it took more than {self.seconds:g} s"
        return await asyncio.to_thread(self._end, child.returncode or 0, log)

    def _end(self, status: int, log: Path) -> str:
        if status == _DISK_FULL:
            raise DiskFull(
                "cannot try the model: the disk of the data directory is full; free some space, then "
                "set the model again"
            )
        if status == 0:
            return ""
        if status == -signal.SIGXCPU:
            return f"it took more than {self.cpu_seconds} s of processor time"
        if status < 0:
            name = signal.Signals(-status).name
            return (
                f"its process was ended by {name}, perhaps for lack of memory: it may take "
                f"{self.memory >> 20} MiB"
            )
        said = _last_line(log)
        return f"its process ended with status {status}" + (f": {said}" if said else "")

    def _environment(self) -> dict[str, str]:
        # The programs beside this interpreter come first, as for models that are served.
        own = str(Path(sys.executable).parent)
        path = os.pathsep.join(filter(None, [own, self.environment.get("PATH", os.defpath)]))
        return {
            "MLFLOW_TRACKING_URI": NO_TRACKING,
            **self.environment,
            "PATH": path,
            "PYTHONUNBUFFERED": "1",
            # The order of sets is the same each time, and so are the bytes of an ONNX form.
            "PYTHONHASHSEED": "0",
            identity.MARKER: f"{self.instance}/{_KIND}{identity.DOT}{secrets.token_hex(6)}",
        }


def _read(out: Path, end: str) -> ModelTrial:
    """What the program has left.

    Args:
        end: how it ended, if not by itself.
    """
    answer, form = _json(out / _ANSWER), _json(out / _FORM)
    example = answer.get("example")
    trial = ModelTrial(
        example=example if isinstance(example, str) else None,
        predictions=answer.get("predictions"),
        tolerance=_tolerance(answer.get("tolerance")),
        why_not=str(form.get("why_not") or end or "its process left nothing"),
    )
    model = out / _MODEL
    if end or "why_not" in form or not form or model.is_symlink() or not model.is_file():
        return trial
    return ModelTrial(
        trial.example, form.get("answer", trial.predictions), trial.tolerance, form, model
    )


def _tolerance(found: Any) -> float:
    """What was written as the tolerance; 0 where that is none."""
    return float(found) if type(found) in (int, float) and 0 <= found <= 1 else 0.0


def _json(path: Path) -> dict[str, Any]:
    """An object; an empty one if there is none. The code of the model may have written anything."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError), log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4096))
        lines = file.read().decode(errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
    return ""
