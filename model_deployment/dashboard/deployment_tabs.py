"""The tabs of a deployment's page: what the template of each is filled with."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from model_deployment.core.domain import Deployment, State
from model_deployment.core.merging import turned_off
from model_deployment.core.replica_counts import replica_counts
from model_deployment.dashboard import charts
from model_deployment.dashboard.dependencies import Dependencies
from model_deployment.dashboard.endpoint_rows import uses
from model_deployment.dashboard.environment_lines import of_deployment
from model_deployment.dashboard.launch_rows import launch_rows, threads_shown, worth_a_table
from model_deployment.dashboard.overview import Overview
from model_deployment.dashboard.predict_form import form

#: States that answer a request; a parked deployment is started by it.
ANSWERING = (State.READY, State.PARKED)


class Tab(StrEnum):
    """The value is the name of the tab in the address, of its template, and of its script."""

    OVERVIEW = "overview"
    PREDICT = "predict"
    QUALITY = "quality"
    INPUTS = "inputs"
    LOGS = "logs"
    SETTINGS = "settings"


#: In the order of the page.
LABELS = {
    Tab.OVERVIEW: "Overview",
    Tab.PREDICT: "Predict",
    Tab.QUALITY: "Quality",
    Tab.INPUTS: "Inputs",
    Tab.LOGS: "Logs and events",
    Tab.SETTINGS: "Settings",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """What all tabs of an opened page know."""

    deployment: Deployment
    overview: Overview


def chosen(tab: str, deployment: Deployment) -> Tab:
    """The tab that an address names, else the one that the deployment's state makes the most useful."""
    if tab in LABELS:
        return Tab(tab)
    fails = deployment.state in (State.PENDING, State.STARTING, State.FAILED)
    return Tab.LOGS if fails else Tab.OVERVIEW


async def values(tab: Tab, dependencies: Dependencies, opened: Opened) -> dict[str, Any]:
    """What the template of a tab is filled with."""
    return await _VALUES[tab](dependencies, opened)


async def launches(dependencies: Dependencies, row: Deployment) -> dict[str, Any]:
    """What the table of launches is filled with; empty where there is nothing to compare."""
    found = launch_rows(await dependencies.launches(row), dependencies.runs_as)
    counts = replica_counts(row)
    return {
        "launches": found if worth_a_table(row, found) else [],
        "replicas": counts,
        "several": max(counts.wanted, counts.ready) > 1,
    }


async def _overview(dependencies: Dependencies, opened: Opened) -> dict[str, Any]:
    return {
        **await launches(dependencies, opened.deployment),
        "uses": uses(opened.overview.endpoints.values(), opened.deployment.key),
        "windows": [*charts.WINDOWS],
        "threads": threads_shown(opened.deployment.handle, dependencies.runs_as),
        "environment": of_deployment(await dependencies.environments.view(opened.deployment)),
    }


async def _predict(dependencies: Dependencies, opened: Opened) -> dict[str, Any]:
    deployment = opened.deployment
    signature, own, request = await asyncio.to_thread(dependencies.describe, deployment)
    made = form(signature, request if signature or own is not None else None)
    return {
        "form": made,
        "columns": [asdict(column) for column in made.columns or ()],
        # The signature is unknown until the model's files have been fetched.
        "known": signature is not None or deployment.state in ANSWERING,
        "counters": dependencies.counters(deployment.key),
    }


async def _settings(dependencies: Dependencies, opened: Opened) -> dict[str, Any]:
    deployment = opened.deployment
    counters = dependencies.counters(deployment.key)
    ready = deployment.state is State.READY
    return {
        "options": deployment.options.as_dict(),
        "replicas": replica_counts(deployment),
        "declarations": deployment.options.declarations(),
        "defaults": dependencies.controller.defaults.as_dict(),
        "merging": turned_off(deployment.merging_in_force, counters.unmergeable) if ready else None,
    }


async def _nothing(dependencies: Dependencies, opened: Opened) -> dict[str, Any]:
    """The script of the tab loads all of it."""
    return {}


_VALUES: dict[Tab, Callable[[Dependencies, Opened], Awaitable[dict[str, Any]]]] = {
    Tab.OVERVIEW: _overview,
    Tab.PREDICT: _predict,
    Tab.QUALITY: _nothing,
    Tab.INPUTS: _nothing,
    Tab.LOGS: _nothing,
    Tab.SETTINGS: _settings,
}
