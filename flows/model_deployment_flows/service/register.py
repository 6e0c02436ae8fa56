"""Tells Prefect's server of the flows: ``python -m model_deployment_flows.service.register``.

A program of its own, since it imports Prefect and all that the flows need; the service stays small.
"""

from __future__ import annotations

import sys
import time

import httpx
from prefect import Flow
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.settings import get_current_settings

from model_deployment_flows.deployment_name import DEPLOYMENT_NAME
from model_deployment_flows.flows import ALL

#: Seconds to wait for a server that is starting.
_PATIENCE = 180.0


def main() -> None:
    _wait_for_server()
    for flow in ALL:
        deployment_of(flow).apply()


def deployment_of(flow: Flow[..., object]) -> RunnerDeployment:
    """Runs of it import the flow from this package, and are started by the service."""
    deployment = RunnerDeployment.from_flow(
        flow,
        name=DEPLOYMENT_NAME,
        entrypoint_type=EntrypointType.MODULE_PATH,
        enforce_parameter_schema=True,
    )
    deployment.entrypoint = f"{flow.fn.__module__}.{flow.fn.__name__}"
    return deployment


def _wait_for_server() -> None:
    settings = get_current_settings()
    end = time.monotonic() + _PATIENCE
    # One client: each reads all certificates of the machine, which would keep the server from its start.
    with httpx.Client(timeout=5, trust_env=False) as client:
        while time.monotonic() < end:
            try:
                if client.get(f"{settings.api.url}/health").is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
    sys.exit(f"cannot register the flows: Prefect's server did not answer within {_PATIENCE:g} s")


if __name__ == "__main__":
    main()
