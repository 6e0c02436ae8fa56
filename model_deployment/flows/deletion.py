"""Deletes versions of training data that no run uses."""

import asyncio
from collections.abc import Callable

from model_deployment.core.errors import Conflict
from model_deployment.flows.runs import FlowRuns


async def delete_unused(runs: FlowRuns | None, delete: Callable[[str], None], sha256: str) -> None:
    """Delete a version, which no run is given meanwhile.

    Args:
        runs: None where no project of flows is set.
        delete: blocks until it is gone.

    Raises:
        Conflict: runs use it.
        NotFound: as ``delete`` raises it.
    """
    if runs is None:
        await asyncio.to_thread(delete, sha256)
        return
    async with runs.data.turn:
        if using := await runs.using(sha256):
            raise Conflict(
                f"cannot delete version {sha256}: runs use it: {', '.join(using[:5])}. Cancel them, or "
                "wait for their end"
            )
        await asyncio.to_thread(delete, sha256)
