"""Starts the processes of runs one after the other, and writes down the ends that they could not."""

from __future__ import annotations

import logging
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from model_deployment.core.measures import MachineMemory
from model_deployment_flows.service import processes
from model_deployment_flows.service.decide import (
    Action,
    Ask,
    Explain,
    Finish,
    Kill,
    Living,
    PutBack,
    Run,
    RunState,
    Start,
    TimeUp,
    Wait,
    decide,
)
from model_deployment_flows.service.endings import crash_message, slow_start, time_up
from model_deployment_flows.service.options import Priority
from model_deployment_flows.service.prefect_api import PrefectApi, Refused
from model_deployment_flows.service.prefect_environment import of_run
from model_deployment_flows.service.processes import RunProcess

_log = logging.getLogger(__name__)

#: Seconds between two looks at the memory for a run that waits, whose state is written anew with each,
#: and at the settings of the project.
_LOOK_INTERVAL = 10.0
_AWAITING_MEMORY = "AwaitingMemory"
_PUT_BACK = "The service ended before the run had a process: the run waits for its turn again."


class Dispatcher:
    """Has one run at a time. Nothing here must survive: the next service finds runs and processes again."""

    def __init__(
        self,
        api: PrefectApi,
        data_dir: Path,
        project: Path,
        environment: Mapping[str, str],
        log: Path,
        *,
        priority: Priority,
        threads: int,
        memory: Callable[[], int],
        most_time: Callable[[], float | None],
        machine: Callable[[], MachineMemory],
    ) -> None:
        """
        Args:
            project: the folder in which runs find the experiments.
            environment: that of runs.
            memory: bytes that a run may use, as the project says now.
            most_time: seconds that a run may take, as the project says now; None: as it said before.
            machine: the memory of the machine now.
        """
        self._api = api
        self._data_dir = data_dir
        self._project = project
        self._environment = environment
        self._log = log
        self._priority = priority
        self._threads = threads
        self._memory = memory
        self._read_most_time = most_time
        self._most_time = math.inf
        self._read_at = float("-inf")
        self._machine = machine
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        #: How children ended, until the end of their run is written down.
        self._exit_codes: dict[str, int] = {}
        self._living: dict[str, Living] = {}
        #: Unfinished runs that had a process.
        self._begun: set[str] = set()
        #: Runs whose processes were asked to end because the run was cancelled.
        self._cancelled: set[str] = set()
        #: What is said of runs whose processes were asked to end because they went on for too long.
        self._overdue: dict[str, str] = {}
        self._explained: set[str] = set()
        self._found: list[RunProcess] = []
        self._need = 0
        self._shortage = ""
        self._looked = float("-inf")

    def tick(self) -> bool:
        """Observe, decide, act. Returns whether there is anything to do for runs, now or later.

        Raises ``Unreachable`` where the server does not answer.
        """
        found = processes.run_processes(self._data_dir)
        self._reap()  # afterwards: how one ended that is not among them
        runs = self._api.unfinished()
        now = time.time()
        self._observe(found, runs, now)
        self._correct_cancelled(runs)
        self._correct_overdue(runs)
        shortage, most_time = self._current_shortage(runs), self._current_most_time()
        for action in decide(runs, self._living, now, shortage, self._begun, most_time):
            try:
                self._apply(action)
            except Refused as error:
                _log.error("cannot %s: %s", action, error)  # the other runs do not wait for it
        return bool(runs or self._living)

    def end_all(self) -> None:
        """End the processes of all runs, and write that down."""
        self._reap()
        running = processes.run_processes(self._data_dir)
        ended = {one.run_id for one in running}
        processes.end(running)
        for run in self._api.unfinished():
            if run.state is RunState.CANCELLING:
                self._finish(run.id, RunState.CANCELLED)
            elif run.owner in ended:
                self._finish(run.id, RunState.CRASHED, "The service of the flows was stopped.")

    def _reap(self) -> None:
        for run_id, child in list(self._children.items()):
            code = child.poll()
            if code is not None:
                self._exit_codes[run_id] = code
                del self._children[run_id]

    def _observe(self, found: Sequence[RunProcess], runs: Sequence[Run], now: float) -> None:
        self._found = list(found)
        unfinished = {run.id for run in runs}
        living = {}
        for run_id in {one.run_id for one in found}:
            leading = [one.age for one in found if one.run_id == run_id and one.leads]
            led, began = bool(leading), min(leading, default=math.inf)
            before = self._living.get(run_id)
            if before is None or (run_id in unfinished and not before.asked):
                living[run_id] = Living(led, now, began=began)
            else:
                living[run_id] = Living(led, before.since, before.asked, began)
        self._living = living
        self._begun = (self._begun | living.keys()) & unfinished
        if not runs:
            self._exit_codes.clear()

    def _correct_cancelled(self, runs: Sequence[Run]) -> None:
        """An engine that is asked to end calls its run crashed, also where the run was cancelled."""
        self._cancelled |= {run.owner for run in runs if run.state is RunState.CANCELLING}
        for run_id in [one for one in self._cancelled if one not in self._living]:
            self._cancelled.discard(run_id)
            if self._api.state(run_id)[0] in (RunState.CRASHED, RunState.CANCELLING):
                self._finish(run_id, RunState.CANCELLED)

    def _correct_overdue(self, runs: Sequence[Run]) -> None:
        """An engine that is asked to end calls its run crashed, and does not know why it was asked."""
        unfinished = {run.id for run in runs}
        for run_id in [one for one in self._overdue if one not in {*self._living, *unfinished}]:
            if self._api.state(run_id)[0] in (RunState.CRASHED, RunState.FAILED):
                self._finish(run_id, RunState.FAILED, self._overdue[run_id])
            del self._overdue[run_id]

    def _current_most_time(self) -> float:
        """Seconds that a run may take; looked at now and then, while one lives."""
        if not self._living:
            self._read_at = float("-inf")
        elif time.monotonic() - self._read_at >= _LOOK_INTERVAL:
            self._read_at = time.monotonic()
            said = self._read_most_time()
            self._most_time = self._most_time if said is None else said
        return self._most_time

    def _current_shortage(self, runs: Sequence[Run]) -> str:
        """Why memory has no room for a run; looked at now and then, and only if one could begin."""
        if self._living or not any(run.state is RunState.SCHEDULED for run in runs):
            self._looked = float("-inf")
            return ""
        if time.monotonic() - self._looked >= _LOOK_INTERVAL:
            self._looked = time.monotonic()
            self._need, machine = self._memory(), self._machine()
            self._shortage = _shortage(self._need, machine)
        return self._shortage

    def _apply(self, action: Action) -> None:
        match action:
            case Start(run_id):
                self._start(run_id)
            case Wait(run_id, reason, due):
                if self._api.state(run_id)[1] != reason:
                    self._api.wait(run_id, reason, due, name=_AWAITING_MEMORY)
                    self._api.log(run_id, logging.WARNING, f"The run {reason}.")
            case PutBack(run_id, due):
                self._api.wait(run_id, _PUT_BACK, due, name="Scheduled")
                self._begun.discard(run_id)
                self._api.log(run_id, logging.WARNING, _PUT_BACK)
            case Explain(run_id):
                if run_id not in self._explained:
                    self._explained.add(run_id)
                    self._api.log(run_id, logging.WARNING, slow_start(self._priority))
            case Ask(run_id):
                self._ask(run_id, processes.CANCEL if run_id in self._cancelled else signal.SIGTERM)
            case TimeUp(run_id):
                self._overdue[run_id] = time_up(self._most_time)
                self._ask(run_id, signal.SIGTERM)
            case Kill(run_id):
                self._signal(run_id, signal.SIGKILL)
            case Finish(run_id, state):
                message = crash_message(self._exit_codes.pop(run_id, None))
                if state is RunState.CRASHED and run_id in self._overdue:
                    state, message = RunState.FAILED, self._overdue.pop(run_id)
                self._finish(run_id, state, "" if state is RunState.CANCELLED else message)

    def _start(self, run_id: str) -> None:
        if not self._api.set_state(run_id, RunState.PENDING, "The process of the run is starting."):
            return
        try:
            self._children[run_id] = self._spawn(run_id)
            self._begun.add(run_id)
        except OSError as error:
            self._finish(run_id, RunState.CRASHED, f"cannot start the process of the run: {error}")
        else:
            _log.info("run %s began", run_id)

    def _spawn(self, run_id: str) -> subprocess.Popen[bytes]:
        environment = of_run(self._environment, run_id, self._threads)
        command = [sys.executable, "-m", "model_deployment_flows.service.run_process"]
        command += [self._priority.value, str(self._need)]
        with self._log.open("ab") as output:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._project,
                start_new_session=True,
            )

    def _ask(self, run_id: str, number: signal.Signals) -> None:
        self._signal(run_id, number)
        self._living[run_id] = replace(self._living[run_id], since=time.time(), asked=True)

    def _signal(self, run_id: str, number: signal.Signals) -> None:
        of_it = [one for one in self._found if one.run_id == run_id]
        # The one that leads is asked, and ends its own.
        leading = [one for one in of_it if one.leads]
        processes.signal_run(of_it if number is signal.SIGKILL else leading or of_it, number)

    def _finish(self, run_id: str, state: RunState, message: str = "") -> None:
        text = message or "The run was cancelled."
        # A crash is left to Prefect's rules: the engine may have written the end meanwhile.
        if self._api.set_state(run_id, state, text, force=state is not RunState.CRASHED):
            self._api.end_tasks(run_id, state, text)
            self._api.log(
                run_id, logging.INFO if state is RunState.CANCELLED else logging.ERROR, text
            )
            _log.warning("run %s: %s", run_id, text)


def _shortage(need: int, machine: MachineMemory) -> str:
    """Why a run that may use ``need`` bytes cannot begin; empty if it can."""
    if need <= machine.available:
        return ""
    wants = f"waits for memory: it may use {_mib(need)} (resources.memory in settings.yaml), and "
    if need > machine.total:
        return f"{wants}this machine has {_mib(machine.total)} at all; lower it, or cancel the run"
    return f"{wants}{_mib(machine.available)} are free"


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
