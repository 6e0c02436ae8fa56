"""Where one environment is built: a draft of its own, a log, a deadline, and what runs in it."""

import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_deployment.environments import output, sessions, tools
from model_deployment.environments.build_log import BuildLog
from model_deployment.environments.environment import BuildFailed

#: Says how far a build is.
Tell = Callable[[str], None]
#: Would have packages installed elsewhere, or another Python used.
_ELSEWHERE = (
    "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON", "PIP_REQUIREMENT",
    "UV_SYSTEM_PYTHON", "UV_TARGET", "UV_PREFIX", "UV_PYTHON", "UV_REQUIREMENT", "UV_BREAK_SYSTEM_PACKAGES",
)  # fmt: skip


class StepFailed(Exception):
    """A program of a build failed."""

    def __init__(self, explanation: output.Explanation) -> None:
        super().__init__(explanation.text)
        self.explanation = explanation


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Of one build."""

    #: A new folder, which nothing else uses; removed after the build.
    draft: Path
    environment: Mapping[str, str]
    log: BuildLog
    tell: Tell
    #: Monotonic seconds.
    end: float
    #: Seconds from the beginning to the end.
    timeout: float
    stop: threading.Event

    @property
    def sources(self) -> Path:
        """Files that are installed from; the working directory of all programs."""
        return self.draft / "sources"

    def variables(self, further: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of programs: no password of the controller, nothing that installs elsewhere."""
        found = {name: value for name, value in self.environment.items() if name not in _ELSEWHERE}
        return {
            **found,
            "PATH": tools.path_of(self.environment),
            "NO_COLOR": "1",
            "PIP_NO_INPUT": "1",
            "PYTHONUNBUFFERED": "1",
            **(further or {}),
            sessions.MARKER: str(self.draft),
        }

    def run(
        self,
        command: Sequence[str],
        further: Mapping[str, str] | None = None,
        most: float | None = None,
    ) -> tuple[str, ...]:
        """Run a program; the last lines of its output.

        Args:
            further: variables in addition.
            most: seconds, where it has less time than the build.

        Raises:
            StepFailed: it ended with an error.
            BuildFailed: it could not be started, or was ended.
        """
        self.log.write(f"$ {shlex.join(command)}")
        end = self.end if most is None else min(self.end, time.monotonic() + most)
        try:
            result = sessions.run(
                command,
                folder=self.sources,
                environment=self.variables(further),
                said=self._said,
                end=end,
                stop=self.stop,
            )
        except sessions.Stopped as stopped:
            self.log.write(f"ended: {stopped}")
            if stopped.timeout and most is not None and end < self.end:
                raise StepFailed(
                    output.Explanation(f"it took longer than {most:g} s", permanent=False)
                ) from None
            raise BuildFailed(self._why(stopped), permanent=False) from None
        except OSError as error:
            raise BuildFailed(
                f"cannot build the model's environment: cannot run {command[0]}: {error.strerror}",
                permanent=False,
            ) from error
        self.log.write(f"exit status {result.code}")
        if result.code:
            raise StepFailed(output.explain(result.lines, result.code))
        return result.lines

    def ask(self, command: Sequence[str]) -> str:
        """The last line that a quick program writes; empty if it fails."""
        return sessions.ask(command, self.variables())

    def _said(self, line: str) -> str:
        masked = self.log.write(line)
        if told := output.progress(masked):
            self.tell(told)
        return masked

    def _why(self, stopped: sessions.Stopped) -> str:
        if stopped.timeout:
            return (
                f"cannot build the model's environment: it took longer than {self.timeout:g} s "
                "(MODEL_DEPLOYMENT_BUILD_TIMEOUT)"
            )
        return "cannot build the model's environment: the controller ended"
