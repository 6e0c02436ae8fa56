"""Which version is the champion: the one that serves the endpoint, else the one that the alias names."""

import logging

from model_deployment.client import ClientError
from model_deployment.core.endpoints import EndpointName
from model_deployment.core.errors import NotFound
from model_deployment_flows import handover, registry
from model_deployment_flows.registry import ModelVersion
from model_deployment_flows.run_context import RunContext

#: The alias where the experiment has no endpoint.
CHAMPION = "champion"

_log = logging.getLogger(__name__)


def champion_of(context: RunContext) -> ModelVersion | None:
    """The champion; None: no version of the registry serves, and no alias names one.

    The alias names a candidate while a rollout is under way, so the controller is asked first.
    """
    model, name = context.settings.model, context.settings.endpoint
    if name and context.environment.controller_url:
        try:
            with handover.controller(context.environment) as client:
                found = handover.endpoint(client, name)
        except ClientError as error:
            _log.warning("cannot ask which version serves %s, the alias says it: %s", name, error)
        else:
            if found is not None and found["champion"] is not None:
                return _registered(model, found["champion"])
            if found is not None:
                return None
    return registry.version_at(model, EndpointName.parse(name).alias if name else CHAMPION)


def _registered(model: str, version: int) -> ModelVersion | None:
    """The version; None: it serves from the cache, but was deleted from the registry."""
    try:
        return registry.version_of(model, version)
    except NotFound as error:
        _log.warning("version %d serves, but nothing is compared with it: %s", version, error)
        return None
