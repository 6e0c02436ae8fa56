"""Tells of deployments that fail, and of those that recover afterwards."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from model_deployment.alerts.alert import Alert, AlertKind
from model_deployment.core.domain import Deployment, State
from model_deployment.core.hints import advice
from model_deployment.core.names import ModelKey


class DeploymentAlerts:
    """Remembers who has failed. Nobody waits for the webhook, and its failure changes nothing."""

    def __init__(self, call: Callable[[Alert], Coroutine[Any, Any, None]]) -> None:
        """``call`` calls the webhook, and raises nothing."""
        self._call = call
        self._failed: set[ModelKey] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def remember(self, rows: Iterable[Deployment]) -> None:
        """Take over what failed before this controller was started, which was told then."""
        self._failed |= {row.key for row in rows if row.state is State.FAILED}

    def changed(self, before: Deployment, after: Deployment) -> None:
        """The control loop has changed a row."""
        key = after.key
        if after.state is State.FAILED and before.state is not State.FAILED:
            self._failed.add(key)
            self._tell(
                Alert(
                    AlertKind.DEPLOYMENT_FAILED,
                    key,
                    f"{key} has failed",
                    after.reason,
                    {"advice": advice(after.reason), "restarts": after.restarts},
                )
            )
        elif after.state is State.READY and key in self._failed:
            self._failed.discard(key)
            self._tell(Alert(AlertKind.DEPLOYMENT_RECOVERED, key, f"{key} is ready again"))
        elif after.state is State.STOPPED:
            self._failed.discard(key)

    async def close(self) -> None:
        """Give alerts on their way a moment."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)

    def _tell(self, alert: Alert) -> None:
        task = asyncio.create_task(self._call(alert), name=f"alert {alert.kind} {alert.key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
