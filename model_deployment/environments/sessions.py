"""Runs the programs of builds, each in a session of its own that is ended as a whole."""

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from model_deployment.worker.niceness import yield_to_others

#: In the environment of each program of a build: the folder of the draft.
MARKER = "MODEL_DEPLOYMENT_BUILD"
#: Seconds between looks at whether to end, and those that output may come after the end of a program.
_LOOK, _LAST_OUTPUT = 0.2, 1.0
#: Added to the niceness of a build: requests come first.
_NICE = 10
#: Seconds that a program may take that only says something.
_QUESTION = 20.0
#: Lines of output that are kept, and characters of one.
_LINES, _LONGEST_LINE = 400, 4000


class Stopped(Exception):
    """The program was ended by us."""

    def __init__(self, *, timeout: bool) -> None:
        super().__init__("it took too long" if timeout else "the controller ended")
        self.timeout = timeout


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """What became of a program."""

    #: As Python has it: minus the signal that ended it.
    code: int
    #: The last lines of its output.
    lines: tuple[str, ...]


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    said: Callable[[str], str],
    end: float,
    stop: threading.Event,
) -> ProgramResult:
    """Run a program to its end.

    Args:
        said: called with each line of output; what it returns is kept.
        end: monotonic seconds.
        stop: set when the controller ends.

    Raises:
        OSError: it could not be started.
        Stopped: it was ended, with all that it had started.
    """
    # Through a pipe, not into a file: lines may have passwords, which are masked on their way. The pipe of
    # a controller that was killed breaks, which ends most programs.
    child = subprocess.Popen(
        [*command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=folder,
        start_new_session=True,
        close_fds=True,
    )
    if child.stdout is None:
        raise AssertionError("it has a pipe")
    pipe = child.stdout.fileno()
    lines: list[str] = []

    def keep(line: bytes) -> None:
        text = line.decode(errors="replace").rpartition("\r")[2].rstrip()[:_LONGEST_LINE]
        if text:
            lines.append(said(text))
            del lines[:-_LINES]

    try:
        with contextlib.suppress(OSError):
            yield_to_others(_NICE, child.pid)
        _follow(child, pipe, keep, end, stop)
    except BaseException:
        _end(child, environment)
        raise
    finally:
        child.stdout.close()
    _end(child, environment)
    return ProgramResult(child.returncode, tuple(lines))


def ask(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """The last line that a quick program writes; empty if it fails."""
    try:
        found = subprocess.run(
            [*command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_QUESTION,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = found.stdout.decode(errors="replace").splitlines() if found.returncode == 0 else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _follow(
    child: "subprocess.Popen[bytes]",
    pipe: int,
    keep: Callable[[bytes], None],
    end: float,
    stop: threading.Event,
) -> None:
    """Read its output until it has ended, which is not yet reaped then.

    Raises:
        Stopped: it is to be ended.
    """
    rest, last = b"", 0.0
    while True:
        if stop.is_set():
            raise Stopped(timeout=False)
        now = time.monotonic()
        if now > end:
            raise Stopped(timeout=True)
        if last == 0.0 and _has_ended(child.pid):
            # What it started may hold the pipe open.
            last = now + _LAST_OUTPUT
        readable = select.select([pipe], [], [], _LOOK if last == 0.0 else 0.0)[0]
        part = os.read(pipe, 65536) if readable else b""
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            keep(line)
        if len(rest) > _LONGEST_LINE * 4:
            rest = rest[-_LONGEST_LINE:]
        over = last and (not readable or now > last)
        if over or (readable and not part):
            keep(rest)
            break
    # It may have closed its output, and go on.
    while not _has_ended(child.pid):
        if stop.wait(_LOOK / 4):
            raise Stopped(timeout=False)
        if time.monotonic() > end:
            raise Stopped(timeout=True)


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; it stays unreaped, so that its number and group are not given anew."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _end(child: "subprocess.Popen[bytes]", environment: Mapping[str, str]) -> None:
    """End all that is left of the session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if mark := environment.get(MARKER):
        end_marked(mark)


def end_marked(prefix: str, but: Collection[str] = ()) -> None:
    """Kill what builds have started whose draft has a path that begins like this, and wait for the end.

    Programs that left their session are found by their environment as well, and those of a controller that
    was killed.

    Args:
        but: names of drafts whose programs go on.
    """
    killed = []
    mark = f"{MARKER}={prefix}"
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            content = Path(f"/proc/{process.pid}/environ").read_bytes()
            variables = (os.fsdecode(one) for one in content.split(b"\0"))
            draft = next((one for one in variables if one.startswith(mark)), None)
            if draft is not None and draft.rpartition(os.sep)[2] not in but:
                process.kill()  # only if it is still the same process
                killed.append(process)
        except (OSError, psutil.Error):
            continue
    psutil.wait_procs(killed, timeout=_LAST_OUTPUT)
