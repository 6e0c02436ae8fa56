"""Metrics of an endpoint, across the versions that it has served."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from model_deployment.core.names import ModelKey
from model_deployment.metrics.service import Monitoring


async def endpoint_metrics(
    monitoring: Monitoring,
    endpoint: str,
    champion: ModelKey,
    keys: Sequence[ModelKey],
    since: datetime,
    until: datetime,
) -> dict[str, Any]:
    """What :meth:`Monitoring.metrics` says of the version that serves, with figures of all versions.

    Args:
        keys: of the versions that may have answered, the champion included. A version without a request in
            the window and without metrics is left out.

    Returns:
        ``serving`` adds up the requests of all versions, also of those that named a version and not the
        endpoint; each entry of ``history`` names its version; ``versions`` has the answer for each version.

    Raises:
        StoreUnavailable: the document store does not answer.
    """
    found = await asyncio.gather(*(monitoring.metrics(key, since, until) for key in keys))
    versions = {
        key.version: one
        for key, one in zip(keys, found, strict=True)
        if key == champion or one["history"] or one["serving"]["total"]["requests"]
    }
    entries = [
        {"version": version, **entry}
        for version, one in versions.items()
        for entry in one["history"]
    ]
    history = sorted(entries, key=lambda entry: entry["ts"], reverse=True)
    return {
        **versions[champion.version],
        "name": endpoint,
        "version": champion.version,
        "history": history,
        "serving": await monitoring.serving_together(keys, since, until),
        "versions": {str(version): one for version, one in versions.items()},
    }
