"""Says how the process of a run ended or why it does not begin, and what helps."""

from __future__ import annotations

import signal

from model_deployment.rendering.numbers import duration
from model_deployment_flows.service.options import Priority

_LOG = "service.log in the folder flows of the data directory has its output"


def crash_message(exit_code: int | None) -> str:
    """A sentence for people.

    Args:
        exit_code: that of the process, negative for a signal; None if it is not known.
    """
    if exit_code is None:
        return "The process of the run is gone: it was killed, or the machine or the service ended with it."
    if exit_code == -signal.SIGKILL:
        return (
            "The process of the run was killed (SIGKILL): by hand, or by the kernel because the "
            "machine had no memory left."
        )
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"The process of the run ended with the signal {name}; {_LOG}."
    return (
        f"The process of the run ended with the exit code {exit_code} before the run did; {_LOG}."
    )


def time_up(most_time: float) -> str:
    """A sentence for people.

    Args:
        most_time: seconds that a run may take.
    """
    allowed = f"{most_time:g} s" if most_time < 60 else duration(most_time)
    return (
        f"The run went on for longer than {allowed} and was ended: resources.time in "
        "settings.yaml says how long a run may take. Look in its log for where it hangs; if it needs the "
        "time, raise the setting, or lower trials or timeout of the experiment."
    )


def slow_start(priority: Priority) -> str:
    """A sentence for people whose run has a process that does not get on."""
    if priority is Priority.NORMAL:
        return "The process of the run has not begun yet: the machine is busy, or its disk is slow."
    share = (
        "only processor time that nobody else wants"
        if priority is Priority.IDLE
        else "little processor time"
    )
    return (
        f"The process of the run has not begun yet: the processors are busy, and runs get {share}; "
        "MODEL_DEPLOYMENT_FLOWS_PRIORITY=normal gives them as much as others."
    )
