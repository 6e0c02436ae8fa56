"""A forked process, from the fork to its end."""

from __future__ import annotations

import gc
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from model_deployment.worker import multiprocess, process_setup, threads
from model_deployment.worker.preload import THREADS

#: What a fork reports when it has a session, descriptors and an environment of its own.
READY = b"."
#: Shown first in ``/proc/<pid>/environ``: they identify the process.
_FIRST = ("MODEL_DEPLOYMENT_LAUNCH", "MODEL_DEPLOYMENT_ENDPOINT", "MODEL_DEPLOYMENT_METHOD")


@dataclass(frozen=True)
class LaunchOrder:
    """What a process is started for, see :mod:`model_deployment.worker.protocol`."""

    launch_id: str
    host: str
    port: int
    model: str
    log: str
    environment: dict[str, str]
    title: str
    cwd: str
    timeout: float
    workers: int = 1
    #: Shown where a title is too long, in ``/proc/<pid>/comm``.
    name: str = ""
    oom_score_adj: int = 0
    #: Files that take ``0`` from a process that enters their control group.
    control_groups: Sequence[str] = ()
    #: A program that runs in place of the model's server, for tests.
    program: str = ""

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> LaunchOrder:
        """
        Raises:
            TypeError: a member is missing.
        """
        names = message.keys() & {field.name for field in fields(cls)}
        return cls(**{name: message[name] for name in names})

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port


def run(order: LaunchOrder, listener: int, log: int, report: int) -> NoReturn:
    """Be the process of a launch, and never return. The arguments but the first are descriptors."""
    status = 1
    try:
        try:
            _set_up(order, {listener, log, report})
        except BaseException as error:
            os.write(report, repr(error).encode(errors="replace")[:4000])
            raise
        # Before the log's descriptor is closed, which may be that of a standard stream.
        process_setup.point_output_at(log)
        process_setup.close_all_but({0, 1, 2, listener, report})
        os.write(report, READY)
        os.close(report)
        status = _serve(order, listener)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, (int, type(None))):
            print(end.code, file=sys.stderr)  # noqa: T201 - as Python does
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(status)


def _show_in_title(order: LaunchOrder, text: str) -> None:
    process_setup.set_title(f"{order.title}: {text}" if text else order.title, order.name)


def _set_up(order: LaunchOrder, kept: set[int]) -> None:
    process_setup.reset_signals()
    os.setsid()
    process_setup.close_all_but({0, 1, 2, *kept})
    for path in order.control_groups:
        Path(path).write_text("0")
    process_setup.replace_environment(order.environment, _FIRST)
    process_setup.set_title(order.title, order.name)
    process_setup.raise_oom_score(order.oom_score_adj)
    threads.apply(THREADS)
    os.chdir(order.cwd)
    gc.enable()  # the parent has frozen its objects, which stay shared


def _serve(order: LaunchOrder, listener: int) -> int:
    def show(text: str) -> None:
        _show_in_title(order, text)

    if order.program:
        return multiprocess.run(order.workers, _program(order, listener), show)
    from model_deployment.worker import scoring, shared_model

    model = scoring.ServedModel(order.model, listener, order.timeout)
    return shared_model.run(order.workers, model, show)


def _program(order: LaunchOrder, listener: int) -> Callable[[Callable[[], None]], int]:
    """What each worker process does with a program in place of the model's server."""

    def serve(loaded: Callable[[], None]) -> int:
        process_setup.reseed()
        loaded()
        return _run_program(order, listener)

    return serve


def _run_program(order: LaunchOrder, listener: int) -> int:
    address = ["--host", order.host, "--port", str(order.port)]
    sys.argv = [order.program, "--model-uri", order.model, *address]
    sys.argv += ["--descriptor", str(listener)]
    sys.path.insert(0, str(Path(order.program).parent))
    runpy.run_path(order.program, run_name="__main__")
    return 0


def _leave(status: int) -> NoReturn:
    """Exit at once: an orderly exit would wait for a call that hangs in a thread."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(status & 0xFF)
