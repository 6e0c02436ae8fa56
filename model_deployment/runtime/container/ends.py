"""How containers end and how much memory they take, from what the engine says. Pure."""

import signal
from collections.abc import Mapping
from typing import Any

from model_deployment.core.domain import Exit
from model_deployment.core.measures import Memory
from model_deployment.rendering.numbers import size
from model_deployment.runtime.exit_reasons import of_status

_SIGNALLED = 128


def of_container(details: Mapping[str, Any]) -> Exit:
    """The end of a container, from what ``GET /containers/<id>/json`` says."""
    state = details.get("State") or {}
    code = int(state.get("ExitCode") or 0)
    if state.get("OOMKilled") and code:
        limit = int((details.get("HostConfig") or {}).get("Memory") or 0)
        return Exit(
            f"the container was killed, since it needs more memory than its memory_limit of {size(limit)}; "
            "deploy the model with a larger memory_limit",
            -signal.SIGKILL,
        )
    if error := str(state.get("Error") or ""):
        return Exit(f"the container could not be started: {error}", code)
    # A signal that ended the server, or the container as a whole, as Python has it.
    known = code - _SIGNALLED
    return of_status(-known if 0 < known < signal.NSIG else code)


def memory_of(stats: Mapping[str, Any]) -> Memory | None:
    """Memory of a container, from what ``GET /containers/<id>/stats`` says; None if it has no process.

    Without the pages of files that it read, which the kernel drops when memory is wanted.
    """
    found = stats.get("memory_stats") or {}
    usage = found.get("usage")
    if not usage:
        return None
    details = found.get("stats") or {}
    # Of cgroups version 1 and 2: https://docs.docker.com/reference/cli/docker/container/stats/
    cached = int(details.get("total_inactive_file", details.get("inactive_file", 0)) or 0)
    used = max(0, int(usage) - cached)
    return Memory(rss=used, pss=used, uss=used, forked=False)
