"""The agent's side of the process of a model: starts it, asks it, and ends it."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_deployment_agent.errors import AgentError, BadInput, ModelFailed, UpdateFailed
from model_deployment_agent.model_process import MAX_ANSWER
from model_deployment_agent.pipes import Printed
from model_deployment_agent.prediction_input import PredictionInput

log = logging.getLogger("model")

#: One thread and one heap are enough for single rows. onnxruntime since 1.29 calls its maker unless told
# not to.
_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "ORT_TELEMETRY_DISABLED": "1",
}
#: Seconds that a process has to end after it was asked to.
_END = 2.0


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What a model may take."""

    #: Bytes of memory that it may write to; 0: no limit.
    memory: int = 256 * 1024 * 1024
    #: Seconds for loading, and for one prediction.
    start: float = 120.0
    predict: float = 30.0


class ModelChild:
    """One process, which is asked one request after the other: the next one waits for the answer before."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        printed: Printed,
        limits: ModelLimits,
    ) -> None:
        self._process = process
        self._printed = printed
        self._limits = limits
        self._said = asyncio.create_task(_log_lines(printed.reader))
        #: ``onnx`` or ``mlflow``.
        self.form = ""
        self._was_ended = False

    @classmethod
    async def start(
        cls, folder: Path, onnx: Mapping[str, Any], limits: ModelLimits
    ) -> "ModelChild":
        """Start a process, and load the model of a release.

        Raises:
            UpdateFailed: the model cannot be run here.
            AgentError: no process can be started just now.
        """
        try:
            printed = Printed()
            async with printed.pipe() as errors:
                process = await _process(folder, errors)
        except OSError as error:
            raise AgentError(f"cannot start the process of a model: {error}") from error
        child = cls(process, printed, limits)
        try:
            answer = await child._ask(
                {"folder": str(folder), "onnx": dict(onnx), "memory": limits.memory}, limits.start
            )
        except ModelFailed as error:
            await child.end()
            raise UpdateFailed(f"cannot run this release: {error}") from error
        except BaseException:
            await child.end()
            raise
        if "ready" not in answer:
            await child.end()
            raise UpdateFailed(f"cannot run this release: {answer.get('cannot')}")
        child.form = str(answer["ready"])
        return child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def usable(self) -> bool:
        """Whether it may be asked: it neither has ended nor is being ended."""
        return self.running and not self._was_ended

    @property
    def crashed(self) -> bool:
        """Whether it ended, and the agent had not ended it."""
        return not self.running and not self._was_ended

    async def ended(self) -> None:
        """Wait until the process has ended."""
        await self._process.wait()

    def how_ended(self) -> str:
        """How a process ended that has ended."""
        return _how_ended(self._process.returncode or 0)

    async def predict(self, given: PredictionInput) -> list[Any]:
        """Predictions, JSON-ready.

        Raises:
            BadInput: the model cannot take the rows.
            ModelFailed: it raised an error, ended, or did not answer in time and was ended.
        """
        answer = await self._ask(given.as_dict(), self._limits.predict)
        if "bad_input" in answer:
            raise BadInput(str(answer["bad_input"]))
        predictions = answer.get("predictions")
        if not isinstance(predictions, list):
            raise ModelFailed(str(answer.get("error", "the model gave no predictions")))
        return predictions

    async def end(self) -> None:
        """End the process; it may have ended already."""
        self._was_ended = self._was_ended or self.running
        with contextlib.suppress(ProcessLookupError):
            if self._process.stdin is not None:
                self._process.stdin.close()
            try:
                async with asyncio.timeout(_END):
                    await self._process.wait()
            except TimeoutError:
                self._signal_all()
        await self._process.wait()
        self._signal_all()
        # A program that the model has started, and that left its group, may hold the pipe.
        await asyncio.wait({self._said}, timeout=_END)
        self._said.cancel()
        self._printed.close()

    async def _ask(self, question: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """One line there and one line back. A process that did not answer is ended: the next answer
        would be for this."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ModelFailed("the process of the model has no pipes")
        try:
            async with asyncio.timeout(seconds):
                stdin.write(json.dumps(question).encode() + b"\n")
                await stdin.drain()
                line = await stdout.readline()
                if not line.endswith(b"\n"):
                    raise ModelFailed(_how_ended(await self._process.wait()))
                found = json.loads(line)
        except TimeoutError:
            self._kill()
            raise ModelFailed(f"the model did not answer within {seconds:g} s") from None
        except (ConnectionError, ValueError) as error:
            self._kill()
            if isinstance(error, ConnectionError):
                raise ModelFailed(_how_ended(await self._process.wait())) from error
            raise ModelFailed(f"the answer of the model cannot be read: {error!a:.200}") from error
        except asyncio.CancelledError:
            self._kill()
            raise
        if not isinstance(found, dict):
            self._kill()
            raise ModelFailed("the answer of the model cannot be read")
        return found

    def _kill(self) -> None:
        self._was_ended = self._was_ended or self.running
        self._signal_all()

    def _signal_all(self) -> None:
        """End the process and those that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


async def _process(folder: Path, errors: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # nothing of the current directory is imported
        "-m",
        "model_deployment_agent.model_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        limit=MAX_ANSWER + 1024,
        cwd=folder,
        env={**os.environ, **_ENVIRONMENT},
        start_new_session=True,  # what the model starts itself ends with it
    )


def _how_ended(status: int) -> str:
    if status < 0:
        return f"the process of the model was ended by signal {-status}" + (
            " (often for its memory)" if status == -9 else ""
        )
    return f"the process of the model ended with status {status}"


async def _log_lines(printed: asyncio.StreamReader) -> None:
    """What the model prints goes to the log, line by line; endless lines in pieces."""
    rest = b""
    while True:
        piece = await printed.read(4096)
        *lines, rest = (rest + piece).split(b"\n")
        if not piece or len(rest) > 4096:
            lines, rest = [*lines, rest], b""
        for line in lines:
            if text := line.decode("utf-8", "replace").rstrip():
                log.info("%s", text)
        if not piece:
            return
