"""Makes the calls of a plan. One that fails does not stop the others; what removes waits for all others."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model_deployment.cli.declared.plan import Action, Found, Step
from model_deployment.cli.following import failure, is_changing
from model_deployment.cli.wording import told

if TYPE_CHECKING:
    from model_deployment.client import Client

#: Deployments that are started at once.
_AT_ONCE = 4
#: Seconds between two looks at a deployment, and before a call that another one was in the way of.
_EVERY = 0.5
#: Seconds that the controller waits in one call.
_WAIT = 1.0
_ALREADY = "it is so already"
_STAYS = "it stays: an endpoint uses it now"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a step; ``error`` is empty if it is done."""

    step: Step
    error: str = ""
    #: Why nothing was called, where that is no error.
    note: str = ""


class Failed(Exception):
    """A step cannot be done; the message says why."""


@dataclass
class Applying:
    """The calls of a plan.

    Attributes:
        replan: the steps that are left for what a file declares, by a new look.
        timeout: seconds that one step may take.
        tell: told each result.
    """

    client: "Client"
    replan: Callable[[], tuple[list[Step], Found]]
    timeout: float
    tell: Callable[[Result], None]

    def __post_init__(self) -> None:
        self._stop = threading.Event()

    def run(self, steps: Iterable[Step]) -> list[Result]:
        """Make all calls.

        A call that contradicts another one (409) is planned again, so that two of us may run at once.
        """
        all_steps = [*steps]
        started = (Action.DEPLOY, Action.KEEP, Action.CHANGE, Action.AWAIT)
        first = [one for one in all_steps if one.action in started]
        results: list[Result] = []
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            for result in pool.map(self._result, first):
                results.append(self._told(result))
        finally:
            self._stop.set()  # after Ctrl-C, the threads end at their next look
            pool.shutdown(cancel_futures=True)
        self._stop.clear()
        for step in all_steps:
            if step.action is Action.SET_ENDPOINT:
                results.append(self._told(self._result(step)))
        return results + self._remove(all_steps, results)

    def _remove(self, planned: list[Step], results: list[Result]) -> list[Result]:
        """Remove what nothing uses by a new look: the endpoints may use more than at the first one."""
        from model_deployment.client.errors import ClientError

        removals = [one for one in planned if one.action.removes]
        if not removals:
            return []
        failed = [one.step.name for one in results if one.error]
        try:
            steps, found = self.replan()
        except ClientError as error:
            return [self._told(Result(one, told(str(error), {}, {}))) for one in removals]
        keeps = [one for one in steps if one.action is Action.KEEP and one not in planned]
        done = [] if failed else [self._told(self._result(one)) for one in keeps]
        failed += [one.step.name for one in done if one.error]
        left = {(one.action, one.name) for one in steps}
        for step in removals:
            if failed:
                result = Result(step, f"left alone, since {', '.join(failed)} failed")
            elif (step.action, step.name) in left:
                result = self._result(step)
            else:
                stays = step.name in found.deployments or step.name in found.endpoints
                result = Result(step, note=_STAYS if stays else _ALREADY)
            done.append(self._told(result))
        return done

    def _told(self, result: Result) -> Result:
        self.tell(result)
        return result

    def _result(self, step: Step) -> Result:
        from model_deployment.client.errors import ClientError

        try:
            return self._made(step)
        except (ClientError, Failed) as error:
            return Result(step, told(str(error), {}, {}))

    def _made(self, step: Step) -> Result:
        from model_deployment.client.errors import ApiError

        deadline = time.monotonic() + self.timeout
        todo: Step | None = step
        while todo is not None:
            try:
                self._do(todo, deadline)
                return Result(step)
            except ApiError as error:
                if error.status == 404 and todo.action.removes:
                    return Result(step, note=_ALREADY)
                left = self._again(step) if error.status == 409 else todo
                passes = error.retry_after is not None and time.monotonic() < deadline
                if left == todo and (error.status != 409 or not passes):
                    return Result(step, told(str(error), error.problem, todo.body))
                todo = left
            self._pause()
        return Result(step, note=_ALREADY)

    def _again(self, step: Step) -> Step | None:
        """What is left of a step that another call was in the way of."""
        steps, _ = self.replan()
        return next((one for one in steps if one.name == step.name), None)

    def _do(self, step: Step, deadline: float) -> None:
        client = self.client
        body: dict[str, Any] = dict(step.body)
        model, _, version = step.name.rpartition("-")
        match step.action:
            case Action.DEPLOY:
                self._settle(client.deploy(model, version, wait=_WAIT, **body), deadline)
            case Action.KEEP:
                client.deploy(model, version, wait=0)
            case Action.CHANGE:
                self._settle(client.change(step.name, wait=_WAIT, **body), deadline)
            case Action.AWAIT:
                self._settle(client.deployment(step.name), deadline)
            case Action.SET_ENDPOINT:
                self._await_champion(client.set_endpoint(step.name, body), deadline)  # type: ignore[arg-type]
            case Action.DELETE_ENDPOINT:
                client.delete_endpoint(step.name, wait=self.timeout)
            case Action.UNDEPLOY:
                row = client.undeploy(step.name, wait=_WAIT)
                while row["state"] != "stopped":
                    self._check(step.name, row, deadline)
                    row = client.undeploy(step.name, wait=_WAIT)

    def _settle(self, row: Any, deadline: float) -> None:
        """Wait until a deployment serves."""
        name, changing = row["name"], False
        while True:
            if reason := failure(row, changing=changing):
                raise Failed(f"{reason}; look with 'model-deployment logs {name}'")
            changing = is_changing(row)
            if row["state"] in ("ready", "parked") and not changing:
                return
            self._check(name, row["replacement"] if changing else row, deadline)
            self._pause()
            row = self.client.deployment(name)

    def _await_champion(self, shown: Any, deadline: float) -> None:
        """Wait until a version serves an endpoint."""
        name = shown["name"]
        while shown["champion"] is None:
            rollout = shown["rollout"]
            if rollout is not None and rollout["state"] == "rolled_back":
                raise Failed(f"its policy is set, but {shown['status']}")
            if self._stop.is_set():
                raise Failed("interrupted; it goes on")
            if time.monotonic() >= deadline:
                raise Failed(f"{shown['status']} after {self.timeout:g} s; it goes on")
            self._pause()
            shown = self.client.endpoint(name)

    def _check(self, name: str, row: Any, deadline: float) -> None:
        if self._stop.is_set():
            raise Failed("interrupted; it goes on")
        if time.monotonic() >= deadline:
            raise Failed(f"{name} is still {row['state']} after {self.timeout:g} s, and goes on")

    def _pause(self) -> None:
        self._stop.wait(_EVERY)
