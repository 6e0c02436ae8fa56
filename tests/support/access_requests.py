"""Requests of users with and without rights, as they are admitted and authorised."""

from typing import Any

from model_deployment.api.access import OPEN_CALLS, authorise
from model_deployment.api.policies import SOCKET
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import Access

OPERATOR, CALLER = User("olga", Role.OPERATOR), User("carl", Role.CALLER)
DEVICE = User("camera-7", Role.DEVICE, "Halls", 7)
SECRETS = {b"olga": OPERATOR, b"carl": CALLER, b"device": DEVICE}


class FakeCredentials:
    """The authorization of a user is the key of :data:`SECRETS`."""

    async def user(self, authorization: bytes | None) -> User | None:
        return SECRETS.get(authorization or b"")


def scope(method: str, path: str, query: str = "", **headers: str) -> dict[str, Any]:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    kind = {"type": "websocket"} if method == SOCKET else {"type": "http", "method": method}
    return {**kind, "path": path, "query_string": query.encode(), "headers": raw}


async def ask(method: str, path: str, user: str = "", query: str = "", **headers: str) -> None:
    """Admit and authorise one request; raises as they do."""
    named = {"host": "127.0.0.1:8000", **headers} | ({"authorization": user} if user else {})
    one = scope(method, path, query, **named)
    await Access(FakeCredentials(), ["models.example"], OPEN_CALLS).admit(one, dict(one["headers"]))
    authorise(one)


def concrete(template: str, project: str = "halls", device: str = "Camera-7") -> str:
    """A path of a route; names of projects and devices are the same in any case."""
    named = {
        "{project}": project,
        "{client_id}": device,
        "{device}": device,
        "{sha256}": "0" * 64,
        "{number}": "3",
        "{file:path}": "model/MLmodel",
        "{path:path}": "x.js",
        "{file}": "x.js",
        "{model}": "iris",
        "{version}": "1",
        "{name}": "iris-1",
    }
    for parameter, value in named.items():
        template = template.replace(parameter, value)
    return template
