"""All aliases of a registered model, in one call."""

from typing import Any

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.registry.mlflow_server import MlflowServer
from model_deployment.registry.server_features import ServerFeature


def read_aliases(name: str, server: MlflowServer, client: Any) -> dict[str, int]:
    """The version that each alias of a model names. Asks MLflow's client; raises as the client does.

    Args:
        server: of the registry.

    Raises:
        RegistryUnavailable: the server is too old to have aliases.
    """
    model = client.get_registered_model(name)
    found = {str(alias): int(version) for alias, version in (model.aliases or {}).items()}
    if not found and not server.has(ServerFeature.ALIASES):
        why = server.lack(ServerFeature.ALIASES)
        raise RegistryUnavailable(f"cannot look up the aliases of {name}: {why}", retry_after=300)
    return found
