"""All aliases of a registered model, in one call."""

from typing import Any


def read_aliases(name: str, client: Any) -> dict[str, int]:
    """The version that each alias of a model names. Asks MLflow's client; raises as the client does."""
    model = client.get_registered_model(name)
    return {str(alias): int(version) for alias, version in (model.aliases or {}).items()}
