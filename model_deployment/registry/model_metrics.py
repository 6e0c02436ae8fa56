"""Reads the metrics of a version's training run as the baseline, and writes later metrics beside them."""

import math
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from model_deployment.core.errors import RegistryUnavailable, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry
from model_deployment.registry.errors import found_or_none
from model_deployment.registry.run_metrics import logged_model, newest_last
from model_deployment.registry.run_writing import log_metrics
from model_deployment.registry.values import read_version

#: Prefix of metrics that were measured on a deployment. Without the prefix a written metric would become
#: the next baseline.
DEPLOYED = "deployed/"
#: Prefix of the metrics of a rollout, and of the tags that tell of it.
ROLLOUT = "model_deployment."
#: Prefixes of all that we write.
OURS = (DEPLOYED, ROLLOUT)

#: A database stores an infinite metric as this value.
_STORED_INFINITY = sys.float_info.max


class ModelMetrics:
    """The metrics that MLflow keeps of registered versions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def baseline(self, key: ModelKey, artifact: str = "") -> dict[str, float]:
        """The finite metrics of the version's run; metrics of its logged model take precedence.

        Args:
            artifact: the name of the version's artifacts, if the metrics must belong to that registration.

        Raises:
            UnknownModel: there is no such version, or the name was registered again.
            RegistryUnavailable: the registry did not answer in time.
        """
        what = f"look up the metrics of {key}"
        return await self._registry.ask(what, partial(_baseline, key, artifact), about=key)

    async def write(self, key: ModelKey, metrics: Mapping[str, float]) -> str:
        """Write metrics to the version's logged model if it has one, else to its run.

        Their names get the prefix :data:`DEPLOYED`. Metrics that are not finite are left out.

        Returns:
            Where the metrics were written, for people; empty if there was no place for them.

        Raises:
            RegistryUnavailable: the metrics could not be written.
        """
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        try:
            place, written = await self._registry.ask(
                f"write metrics of {key}", partial(_write, key, finite), about=key
            )
        except UnknownModel as error:  # the version or its run was deleted
            raise RegistryUnavailable(error.detail) from error
        self._registry.metrics_written(*written)
        return place


def _baseline(key: ModelKey, artifact: str, client: Any) -> dict[str, float]:
    version = client.get_model_version(key.model, str(key.version))
    if artifact and read_version(version, {}, {}).artifact != artifact:
        raise UnknownModel(
            f"cannot look up the metrics of {key}: another model was registered under this name and "
            "version since it was deployed"
        )
    run = found_or_none(client.get_run, version.run_id) if version.run_id else None
    model_id = logged_model(version)
    model = found_or_none(client.get_logged_model, model_id) if model_id else None
    return metrics_of(run, model)


def metrics_of(run: Any, model: Any) -> dict[str, float]:
    """The finite metrics of a run and of a logged model, which take precedence; either may be None."""
    of_run = dict(run.data.metrics) if run else {}
    found = dict(of_run)
    for metric in newest_last(model) if model else ():
        # A database stores NaN as zero, and marks it for runs only.
        if metric.value or not math.isnan(of_run.get(metric.key, 0.0)):
            found[metric.key] = metric.value
    return {
        name: float(value)
        for name, value in found.items()
        if abs(value) < _STORED_INFINITY and not name.startswith(OURS)
    }


def _write(key: ModelKey, metrics: Mapping[str, float], client: Any) -> tuple[str, list[str]]:
    version = client.get_model_version(key.model, str(key.version))
    return log_metrics(
        client, version, {f"{DEPLOYED}{name}": value for name, value in metrics.items()}
    )
