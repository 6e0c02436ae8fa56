"""``python -m model_deployment.degradation FOLDER``: the child process, its limits and its files.

The child leaves a ``report.json`` whenever it can write at all: first the verdict and a page without
Evidently's part, then the page with that part. It exits with 0 if there is a verdict, else with 1.
A library that runs out of memory may end the process with another code, so readers rely on the files.
"""

import os
import resource
import signal
import sys
import traceback
import warnings
from pathlib import Path
from types import FrameType

from model_deployment.worker.niceness import yield_to_others

#: Set before NumPy and Arrow are loaded: their threads and memory pools cost more than they bring here.
_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
#: Added to its niceness: predictions come first.
_NICE = 10
#: Bytes above the memory limit that are left to report that the limit was reached.
_RESERVE_BYTES = 64 * 1024 * 1024


class OutOfTime(BaseException):
    """The CPU time of this process is used up."""


def main(folder: Path) -> int:
    """Make the report of a folder; return the exit code."""
    os.umask(0o077)
    os.environ.update(_ENVIRONMENT)  # noqa: TID251 - this process reads no settings
    warnings.simplefilter("ignore")
    yield_to_others(_NICE)
    from model_deployment.degradation import report_files

    try:
        report_files.clear(folder)
        from model_deployment.degradation.job import load

        job = load(folder / "job.json")
        limit(job.memory_bytes, job.cpu_seconds)
        from model_deployment.core.series import next_value
        from model_deployment.degradation.build import build
        from model_deployment.degradation.data.collect import collect

        judged = [next_value] if job.predicts_series else []
        build(folder, job, collect(folder, job.inputs, *judged))
    except BaseException as error:
        _lift_memory_limits()
        traceback.print_exc()
        # A report that exists is kept: then only Evidently's part of the page is missing.
        if not report_files.exists(folder):
            report_files.write_failure(folder, error)
            return 1
    return 0


def limit(memory_bytes: int | None, cpu_seconds: int | None) -> None:
    """Limit the memory and the CPU time of this process.

    ``RLIMIT_DATA`` counts memory that is written to. ``RLIMIT_AS`` counts mapped libraries as well, so
    it is four times as high.
    """
    if memory_bytes:
        _lower(resource.RLIMIT_DATA, memory_bytes, reserve=_RESERVE_BYTES)
        _lower(resource.RLIMIT_AS, 4 * memory_bytes, reserve=_RESERVE_BYTES)
    if cpu_seconds:
        signal.signal(signal.SIGXCPU, _stop)
        # The signal is repeated each second up to the hard limit, which kills: 10 s to write files.
        _lower(resource.RLIMIT_CPU, cpu_seconds, reserve=10)


def _lower(limit: int, soft: int, reserve: int) -> None:
    _, hard = resource.getrlimit(limit)
    new_hard = soft + reserve
    if hard != resource.RLIM_INFINITY:
        new_hard, soft = min(new_hard, hard), min(soft, hard)
    resource.setrlimit(limit, (soft, new_hard))


def _lift_memory_limits() -> None:
    for limit in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (hard, hard))


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    raise OutOfTime("the processor time that a report may take is used up")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m model_deployment.degradation FOLDER")
    sys.exit(main(Path(sys.argv[1])))
