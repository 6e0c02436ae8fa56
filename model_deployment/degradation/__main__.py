"""``python -m model_deployment.degradation FOLDER``: the child process, its limits and its files.

Whatever happens, a ``report.json`` is left if one can be written at all: first the verdict and a page
without Evidently's, then a page with it. Exit 0 if there is a verdict, 1 if not; a library that ends the
process by itself for want of memory has it otherwise, so readers go by the files.
"""

import os
import resource
import signal
import sys
import traceback
import warnings
from pathlib import Path
from types import FrameType

#: Before NumPy and Arrow are loaded: threads and pools of memory cost more than they bring here.
_SURROUNDINGS = {
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


#: Bytes beside its limit for what is left to do when that is reached.
_TO_FINISH = 64 * 1024 * 1024


class OutOfTime(BaseException):
    """The processor time of this process is used up."""


def main(folder: Path) -> int:
    """Make the report of a folder."""
    os.umask(0o077)
    os.environ.update(_SURROUNDINGS)  # noqa: TID251 - this process reads no settings
    warnings.simplefilter("ignore")
    from model_deployment.degradation import files

    try:
        files.clear(folder)
        from model_deployment.degradation import job

        wanted = job.load(folder / "job.json")
        limit(wanted.memory_bytes, wanted.cpu_seconds)
        from model_deployment.degradation import build, collect

        collected = collect.collect(folder, wanted.inputs)
        build.make(folder, wanted, collected)
    except BaseException as error:
        _relax()
        traceback.print_exc()
        # What is written stands: then it was only Evidently's part that could not be added.
        if not files.exists(folder):
            files.failure(folder, error)
            return 1
    return 0


def limit(memory: int | None, seconds: int | None) -> None:
    """Take no more than this from the machine.

    What is written to counts (``RLIMIT_DATA``); addresses (``RLIMIT_AS``) may be four times as many,
    since libraries that are mapped are addresses too.
    """
    if memory:
        _lower(resource.RLIMIT_DATA, memory, grace=_TO_FINISH)
        _lower(resource.RLIMIT_AS, 4 * memory, grace=_TO_FINISH)
    if seconds:
        signal.signal(signal.SIGXCPU, _stop)
        # The signal comes again each second up to the hard limit, which kills: time to write.
        _lower(resource.RLIMIT_CPU, seconds, grace=10)


def _lower(what: int, soft: int, grace: int = 0) -> None:
    _, hard = resource.getrlimit(what)
    most = soft + grace
    if hard != resource.RLIM_INFINITY:
        most, soft = min(most, hard), min(soft, hard)
    resource.setrlimit(what, (soft, most))


def _relax() -> None:
    """Room to say what happened, where there was none left."""
    for what in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (hard, hard))


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    raise OutOfTime("the processor time that a report may take is used up")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m model_deployment.degradation FOLDER")
    sys.exit(main(Path(sys.argv[1])))
