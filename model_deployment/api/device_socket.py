"""The WebSocket of devices: ``/ws/{client_id}``."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from model_deployment.core.devices import Device
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER
from model_deployment.devices.connections import DeviceConnections
from model_deployment.devices.frames import NotProtocol

#: The device with an id; None: it was removed.
FindDevice = Callable[[int], Awaitable[Device | None]]


def router(connections: DeviceConnections, find: FindDevice) -> APIRouter:
    """Which user may open a socket, ``api/access.py`` says; that the device is the one of its token is
    checked here as well.
    """
    routes = APIRouter()

    @routes.websocket("/ws/{client_id}")
    async def device_socket(socket: WebSocket, client_id: str) -> None:
        device = await _device(socket.scope.get(USER), client_id, find)
        if device is None:
            await socket.close()  # before it was accepted: answered 403
            return
        await socket.accept()
        await connections.serve(AcceptedSocket(socket), device)

    return routes


async def _device(user: User | None, client_id: str, find: FindDevice) -> Device | None:
    if user is None or user.role is not Role.DEVICE or user.device_id is None:
        return None
    device = await find(user.device_id)
    if device is None or device.revoked_at is not None:
        return None
    return device if device.name.lower() == client_id.lower() else None


class AcceptedSocket:
    """A WebSocket of Starlette as sessions use it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def receive(self) -> str | None:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text = message.get("text")
        if not isinstance(text, str):
            raise NotProtocol("frames are text")
        return text

    async def send(self, text: str) -> None:
        await self._call({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        await self._call({"type": "websocket.close", "code": int(code), "reason": reason})

    async def _call(self, message: dict[str, Any]) -> None:
        """
        Raises:
            ConnectionError: the connection is over.
        """
        try:
            await self._socket.send(message)
        except (OSError, RuntimeError, WebSocketDisconnect) as error:
            raise ConnectionError(str(error)) from error
