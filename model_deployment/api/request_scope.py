"""Names under which a request carries what its handlers did not find out themselves."""

from collections.abc import Mapping
from typing import Any

from model_deployment.core.domain import User

#: Who asks: a :class:`~model_deployment.core.domain.User`, or None.
USER = "model_deployment.user"
#: What the answer will have as X-Request-Id; the proxy leaves it here.
REQUEST_ID = "model_deployment.request_id"
#: How many things a call was about.
ITEMS = "model_deployment.items"


def user_name(scope: Mapping[str, Any]) -> str:
    """Who asks; empty where nobody has to say."""
    user: User | None = scope.get(USER)
    return user.name if user else ""
