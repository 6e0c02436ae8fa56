"""Keys of the ASGI scope under which a request carries its user, its id and more."""

from collections.abc import Mapping
from typing import Any

from model_deployment.core.domain import User

#: The user: a :class:`~model_deployment.core.domain.User`, or None.
USER = "model_deployment.user"
#: The ``X-Request-Id`` of the answer; set by the proxy.
REQUEST_ID = "model_deployment.request_id"
#: The number of items in the body of a call.
ITEMS = "model_deployment.items"


def user_name(scope: Mapping[str, Any]) -> str:
    """The name of the user; empty if no password is needed."""
    user: User | None = scope.get(USER)
    return user.name if user else ""
