"""Writes to MLflow what became of a version in a rollout: tags of the version, metrics of its run."""

import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import ModelDeploymentError
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry
from model_deployment.registry.errors import first_line
from model_deployment.registry.model_metrics import ROLLOUT
from model_deployment.registry.run_writing import log_metrics
from model_deployment.registry.threads import DaemonThreads

_log = logging.getLogger(__name__)

#: Tags of a model version.
ENDPOINT_TAG = f"{ROLLOUT}endpoint"
STATE_TAG = f"{ROLLOUT}rollout"
REASON_TAG = f"{ROLLOUT}rollout_reason"
#: Prefix of the metrics.
METRIC_PREFIX = f"{ROLLOUT}rollout."

#: Characters of a reason. MLflow accepts more of a version's tag; people do not read it.
_LONGEST_REASON = 1000
#: One at a time, so that writes take effect in their order.
_WRITES = 1
#: Seconds that one write may take.
_LIMIT = 30.0


class RolloutTags:
    """Best effort: no failure is raised, and a newer write of a version takes an older one's place."""

    def __init__(self, registry: Registry, *, limit: float = _LIMIT) -> None:
        """``limit``: seconds that one write may take."""
        self._registry = registry
        self._limit = limit
        self._threads = DaemonThreads("rollout tags", _WRITES)
        #: The number of the newest write of a version. Older ones, which may hang, end where they are.
        self._newest: dict[ModelKey, int] = {}
        self._number = 0

    async def write(
        self,
        key: ModelKey,
        endpoint: EndpointName,
        state: str,
        reason: str,
        figures: Mapping[str, float] | None = None,
    ) -> str:
        """Write what a rollout of a version came to. Never raises.

        Args:
            state: a :class:`~model_deployment.core.endpoints.RolloutState`.
            figures: of the comparison, such as ``error_rate.candidate``; figures that are not finite are
                left out. Each becomes the metric :data:`METRIC_PREFIX` + name.

        Returns:
            What could not be written and why, in words; empty if all was written.
        """
        self._number += 1
        number = self._newest[key] = self._number
        tags = {ENDPOINT_TAG: str(endpoint), STATE_TAG: state, REASON_TAG: reason[:_LONGEST_REASON]}
        metrics = {
            f"{METRIC_PREFIX}{name}": float(value)
            for name, value in (figures or {}).items()
            if math.isfinite(value)
        }
        what = f"write the outcome of the rollout of {key} to MLflow"
        work = partial(_write, key, tags, metrics, lambda: self._newest.get(key) == number)
        try:
            missing, written = await self._registry.ask(
                what, work, threads=self._threads, limit=self._limit
            )
        except ModelDeploymentError as error:
            return error.detail
        except Exception as error:
            _log.exception("cannot %s", what)
            return f"cannot {what}: {first_line(error)}"
        finally:
            if self._newest.get(key) == number:
                del self._newest[key]
        self._registry.metrics_written(*written)
        return missing


def _write(
    key: ModelKey,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    is_newest: Callable[[], bool],
    client: Any,
) -> tuple[str, list[str]]:
    """What could not be written, and the ids of what was written to."""
    version = client.get_model_version(key.model, str(key.version))
    for name, value in tags.items():
        if is_newest():
            client.set_model_version_tag(key.model, str(key.version), name, value)
    if not metrics or not is_newest():
        return "", []
    what = f"cannot log the metrics of the rollout of {key}"
    try:
        place, written = log_metrics(client, version, metrics)
    except Exception as error:  # the tags are written, and say the most
        return f"{what}: {first_line(error)}", []
    return ("" if place else f"{what}: the version has no run"), written
