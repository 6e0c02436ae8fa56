"""How the tasks of a run are tried again, and what a run leaves to be read."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from model_deployment.client import ApiError, Unreachable
from model_deployment_flows.registry import is_passing

#: Leaves the result of a run.
Leave = Callable[[dict[str, Any]], None]

#: Seconds between the attempts of a call of another program: it is restarted within a minute or two.
_DELAYS = [1, 2, 5, 10, 20, 40, 60, 60]
#: Answers of a controller that is not ready.
_RETRIED = frozenset({429, 502, 503, 504})
#: Key of the artifact with the result of a run, as JSON.
RESULT = "result"

#: A task that computes: data stay in memory, and an error is an error.
local_task = partial(task, cache_policy=NO_CACHE, persist_result=False)


def _may_pass(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether another attempt may succeed."""
    try:
        state.result()
    except BaseException as error:
        return is_passing(error) or _is_away(error)
    return False


def _is_away(error: BaseException) -> bool:
    """Whether the controller did not answer, or is about to be there again."""
    if isinstance(error, ApiError):
        return error.status in _RETRIED
    return isinstance(error, Unreachable)


#: A task that calls the registry, and waits while the registry is away.
registry_task = partial(
    local_task,
    retries=len(_DELAYS),
    retry_delay_seconds=_DELAYS,
    retry_condition_fn=_may_pass,
)

#: A task that calls the controller, and waits while the controller is away.
controller_task = registry_task

_artifact_task = partial(local_task, retries=len(_DELAYS), retry_delay_seconds=_DELAYS)


@_artifact_task(name="leave result")
def leave_result(result: dict[str, Any]) -> None:
    """Leave the result of the run for the controller and for people: an object, as JSON."""
    text = json.dumps(result, ensure_ascii=False, indent=1)
    create_markdown_artifact(text, key=RESULT, description="Result of the run")


@_artifact_task(name="leave page")
def leave_page(key: str, markdown: str, description: str) -> None:
    """Leave a page for people, in Markdown."""
    create_markdown_artifact(markdown, key=key, description=description)


def run_id() -> str:
    """The id of this run at Prefect; without Prefect's server a text that names the time."""
    return str(runtime.flow_run.id or f"local-{datetime.now(UTC):%Y%m%dT%H%M%S}")
