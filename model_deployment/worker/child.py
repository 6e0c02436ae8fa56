"""A forked process, from the fork to its end."""

import os
import runpy
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from model_deployment.worker import multiprocess, process_setup

#: What a fork says when its surroundings are its own.
READY = b"."
#: Shown first in ``/proc/<pid>/environ``: the process is known by them.
_FIRST = ("MODEL_DEPLOYMENT_LAUNCH", "MODEL_DEPLOYMENT_ENDPOINT", "MODEL_DEPLOYMENT_METHOD")


@dataclass(frozen=True)
class LaunchOrder:
    """What a process is started for."""

    launch_id: str
    address: tuple[str, int]
    model: str
    log: str
    workers: int
    environment: dict[str, str]
    title: str
    #: Shown where there is little room.
    name: str
    cwd: str
    timeout: float
    oom_score_adj: int
    #: A program that runs in place of the model's server, for tests.
    program: str = ""

    @classmethod
    def read(cls, message: dict[str, Any]) -> "LaunchOrder":
        """From a message.

        Raises:
            KeyError, TypeError, ValueError: something is missing or wrong.
        """
        environment = message["environment"]
        if not all(isinstance(value, str) for pair in environment.items() for value in pair):
            raise ValueError("the environment has to be text")
        return cls(
            launch_id=str(message["launch_id"]),
            address=(str(message["host"]), int(message["port"])),
            model=str(message["model"]),
            log=str(message["log"]),
            workers=int(message.get("workers", 1)),
            environment=dict(environment),
            title=str(message["title"]),
            name=str(message.get("name", "")),
            cwd=str(message["cwd"]),
            timeout=float(message["timeout"]),
            oom_score_adj=int(message.get("oom_score_adj", 0)),
            program=str(message.get("program", "")),
        )


def run(order: LaunchOrder, listener: int, log: int, told: int) -> NoReturn:
    """Be the process of a launch, and never return."""
    status = 1
    try:
        try:
            _settle(order, {listener, log, told})
        except BaseException as error:
            os.write(told, repr(error).encode(errors="replace")[:4000])
            raise
        # Before the log's number is closed, which may be that of a standard stream.
        process_setup.point_output_at(log)
        process_setup.close_all_but({0, 1, 2, listener, told})
        os.write(told, READY)
        os.close(told)
        status = multiprocess.run(
            order.workers, _work(order, listener), lambda text: _show(order, text)
        )
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)  # noqa: T201 - as Python does
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(status)


def _show(order: LaunchOrder, text: str) -> None:
    process_setup.set_title(f"{order.title}: {text}" if text else order.title, order.name)


def _settle(order: LaunchOrder, kept: set[int]) -> None:
    process_setup.reset_signals()
    os.setsid()
    process_setup.close_all_but({0, 1, 2, *kept})
    process_setup.replace_environment(order.environment, _FIRST)
    process_setup.set_title(order.title, order.name)
    process_setup.raise_oom_score(order.oom_score_adj)
    os.chdir(order.cwd)
    process_setup.resume_garbage_collection()


def _work(order: LaunchOrder, listener: int) -> Callable[[Callable[[], None]], int]:
    """What each worker process does; it calls what it is given once its model is loaded."""

    def serve(loaded: Callable[[], None]) -> int:
        process_setup.reseed()
        if order.program:
            loaded()
            return _run_program(order, listener)
        from model_deployment.worker import scoring

        return scoring.serve(order.model, listener, order.timeout, loaded)

    return serve


def _run_program(order: LaunchOrder, listener: int) -> int:
    host, port = order.address
    sys.argv = [order.program, "--model-uri", order.model, "--host", host, "--port", str(port)]
    sys.argv += ["--descriptor", str(listener)]
    sys.path.insert(0, str(Path(order.program).parent))
    runpy.run_path(order.program, run_name="__main__")
    return 0


def _leave(status: int) -> NoReturn:
    """At once: a call that hangs in a thread would keep an orderly exit waiting for ever."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(status & 0xFF)
