"""The calls that run flows, and show their runs."""

import asyncio
import time
from typing import Literal

from model_deployment.client.aio.connection import AsyncConnection
from model_deployment.client.answers import (
    FlowLogLine,
    FlowMonitoring,
    FlowRun,
    FlowRunSummary,
    FlowState,
    RunFlowIn,
)
from model_deployment.client.errors import RunUnfinished
from model_deployment.client.exchange import path
from model_deployment.client.retries import Resend

Flow = Literal["data_flow", "train_flow", "eval_flow", "deploy_flow", "full_flow"]
#: States that a run does not leave.
ENDED = ("completed", "failed", "crashed", "cancelled")
#: Seconds between two looks at a run.
_EVERY = 1.0


class AsyncFlows(AsyncConnection):
    """Runs of flows. ``id`` is that of a request, as `run_flow` answers it, or Prefect's."""

    async def run_flow(
        self,
        flow: Flow | str,
        experiment: str,
        *,
        data: str | None = None,
        force: bool | None = None,
        model_type: str | None = None,
        trials: int | None = None,
        timeout: float | None = None,
        epochs: int | None = None,
        version: int | None = None,
        wait: float | None = None,
    ) -> FlowRun:
        """Run a flow of an experiment. It is kept when this returns, and begins when its turn comes.

        Raises:
            ApiError: 404 no project of flows is set; 422 the flow does not take this, the message says
                what it takes.
        """
        body: RunFlowIn = {
            "experiment": experiment,
            "data": data,
            "force": force,
            "model_type": model_type,
            "trials": trials,
            "timeout": timeout,
            "epochs": epochs,
            "version": version,
            "wait": wait,
        }
        given = {name: value for name, value in body.items() if value is not None}
        found: FlowRun = await self.data(
            "POST", path("/api/run_flow/{}", flow), json=given, resend=Resend.REFUSED
        )
        return found

    async def flow_runs(
        self,
        *,
        experiment: str | None = None,
        state: FlowState | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> list[FlowRunSummary]:
        """Runs, newest first; ``after`` is the id of the last one of the page before."""
        params = {"experiment": experiment, "state": state, "limit": limit, "after": after}
        found: list[FlowRunSummary] = await self.data("GET", "/api/flow-runs", params=params)
        return found

    async def flow_run(self, id: str) -> FlowRun:
        """A run, with its tasks and its result."""
        found: FlowRun = await self.data("GET", path("/api/flow-runs/{}", id))
        return found

    async def flow_log(
        self, id: str, *, offset: int = 0, limit: int = 200, prefect: bool = False
    ) -> list[FlowLogLine]:
        """Lines of a run's log, oldest first, from the ``offset``-th on; at most 200.

        ``prefect``: with the lines that Prefect writes of itself.
        """
        params = {"offset": offset, "limit": limit, "prefect": prefect}
        found: list[FlowLogLine] = await self.data(
            "GET", path("/api/flow-runs/{}/logs", id), params=params
        )
        return found

    async def cancel_flow_run(self, id: str) -> FlowRun:
        """Cancel a run; it is ``cancelling`` until its process has ended.

        Raises:
            ApiError: 409 it has ended.
        """
        found: FlowRun = await self.data("POST", path("/api/flow-runs/{}/cancel", id))
        return found

    async def retry_flow_run(self, id: str) -> FlowRun:
        """Run again, with the same parameters; the new run."""
        found: FlowRun = await self.data(
            "POST", path("/api/flow-runs/{}/retry", id), resend=Resend.REFUSED
        )
        return found

    async def flow_monitoring(self, *, limit: int = 50) -> FlowMonitoring:
        """The newest runs, and the chart of them for Plotly."""
        found: FlowMonitoring = await self.data(
            "GET", "/api/flow-monitoring-data", params={"limit": limit}
        )
        return found

    async def wait_for_flow_run(self, id: str, *, timeout: float = 3600.0) -> FlowRun:
        """Wait until a run has ended, however it ends.

        Raises:
            RunUnfinished: it has not ended within ``timeout`` seconds.
        """
        end = time.monotonic() + timeout
        while (found := await self.flow_run(id))["state"] not in ENDED:
            if time.monotonic() > end:
                raise RunUnfinished(found["flow"], found["id"])
            await asyncio.sleep(_EVERY)
        return found
