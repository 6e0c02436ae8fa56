"""Reads the versions of a registered model from MLflow, newest first, with the metrics of their runs."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from model_deployment.registry.run_metrics import RunMetrics
from model_deployment.registry.values import RegisteredVersion, read_version

_log = logging.getLogger(__name__)

#: Entries that MLflow returns in one answer.
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Which versions of a model."""

    #: Versions at most; None: all.
    limit: int | None = None
    #: Only versions with a lower number.
    before: int | None = None


def read_versions(
    name: str, wanted: VersionRange, metrics: RunMetrics, end: float, client: Any
) -> list[RegisteredVersion]:
    """The versions of a model, newest first.

    Args:
        metrics: finds the metrics of the versions' runs.
        end: on the monotonic clock; metrics that are late are left out.
        client: MLflow's; raises as that does.
    """
    aliases = client.get_registered_model(name).aliases
    found = _search(client, name, wanted)
    versions = sorted(found, key=lambda version: -int(version.version))
    of_runs = metrics.of(client, versions, end)
    if missing := of_runs.count(None):
        _log.warning(
            "cannot read the metrics of %s of the %s versions of %s", missing, len(versions), name
        )
    return [
        replace(
            read_version(version, aliases, of_run or {}, metrics.user(version.run_id)),
            late=of_run is None,
        )
        for version, of_run in zip(versions, of_runs, strict=True)
    ]


def _search(client: Any, name: str, wanted: VersionRange) -> list[Any]:
    newest_first = partial(client.search_model_versions, order_by=["version_number DESC"])
    if wanted.before is None:
        return all_pages(partial(newest_first, f"name='{name}'"), wanted.limit)
    older = f"name='{name}' AND version_number < {wanted.before}"
    try:
        return all_pages(partial(newest_first, older), wanted.limit)
    except Exception as error:
        if getattr(error, "error_code", "") != "INVALID_PARAMETER_VALUE":
            raise
    # Servers of MLflow 1 compare no numbers.
    found = all_pages(partial(newest_first, f"name='{name}'"))
    return [one for one in found if int(one.version) < wanted.before][: wanted.limit]


def all_pages(search: Callable[..., Any], limit: int | None = None) -> list[Any]:
    """All that one of MLflow's searches finds, or the first ``limit`` of it."""
    found: list[Any] = []
    token = None
    while True:
        left = _PAGE if limit is None else min(_PAGE, limit - len(found))
        page = search(max_results=left, page_token=token)
        found += page
        token = page.token
        if not token or (limit is not None and len(found) >= limit):
            return found
