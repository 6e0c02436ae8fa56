"""The environment of the service of flows and of its runs."""

from model_deployment.settings import model_environment
from model_deployment.settings.settings import Settings


def flows_environment(settings: Settings, password: str) -> dict[str, str]:
    """The variables of the service, with the credentials of the registry.

    Args:
        password: of the user ``flows`` that runs call the controller as; empty: there are no users.
    """
    user = {"MODEL_DEPLOYMENT_USER": "flows", "MODEL_DEPLOYMENT_PASSWORD": password}
    return {
        **model_environment.for_flows(),
        "MODEL_DEPLOYMENT_DATA_DIR": str(settings.data_dir),
        "MODEL_DEPLOYMENT_FLOWS_PROJECT": str(settings.flows_project or ""),
        "MODEL_DEPLOYMENT_FLOWS_IDLE_TIMEOUT": f"{settings.flows_idle_timeout:g}",
        "MODEL_DEPLOYMENT_FLOWS_PRIORITY": settings.flows_priority,
        "MODEL_DEPLOYMENT_URL": settings.client_url,
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "MLFLOW_REGISTRY_URI": settings.registry_uri,
        **(user if password else {}),
    }
