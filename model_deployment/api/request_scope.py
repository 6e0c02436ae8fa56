"""Keys of the ASGI scope under which a request carries its id and more; its user is there too."""

from collections.abc import Mapping
from typing import Any

from model_deployment.core.users import User
from model_deployment.credentials.access import USER

#: The ``X-Request-Id`` of the answer; set by the proxy.
REQUEST_ID = "model_deployment.request_id"
#: The number of items in the body of a call.
ITEMS = "model_deployment.items"
#: The endpoint or deployment that a call concerns whose path does not name it.
TARGET = "model_deployment.target"
#: The project and the device that a call concerns, where its path does not name them.
PROJECT, DEVICE = "model_deployment.project", "model_deployment.device"


def user_name(scope: Mapping[str, Any]) -> str:
    """The name of the user; empty if no password is needed."""
    user: User | None = scope.get(USER)
    return user.name if user else ""
