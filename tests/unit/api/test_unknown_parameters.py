"""Query parameters that a call does not have; WebSockets, which have none, are let in. Bodies of JSON."""

from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient

from model_deployment.api import problems
from model_deployment.api.unknown_parameters import StrictRoute, known_parameters_only


def application() -> FastAPI:
    app = FastAPI(dependencies=[Depends(known_parameters_only)])
    problems.install(app)

    @app.get("/call")
    async def call(limit: int = 1) -> int:
        return limit

    @app.websocket("/ws/{client_id}")
    async def socket(socket: WebSocket, client_id: str) -> None:
        await socket.accept()
        await socket.send_text(client_id)

    routes = APIRouter(route_class=StrictRoute)

    @routes.post("/body")
    async def take(body: dict[str, Any]) -> int:
        return len(body)

    app.include_router(routes)
    return app


def test_unknown_parameter_is_refused() -> None:
    client = TestClient(application())
    assert client.get("/call", params={"limit": 3}).json() == 3
    answer = client.get("/call", params={"limits": 3})
    assert answer.status_code == 422
    assert "the call takes limit" in answer.json()["detail"]


def test_websocket_is_let_in() -> None:
    with TestClient(application()).websocket_connect("/ws/camera-7?x=1") as socket:
        assert socket.receive_text() == "camera-7"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        # Deeper than any release of Python reads: 1,000 levels up to 3.11, thousands since.
        (f'{{"a": {"[" * 100_000}{"]" * 100_000}}}', "nested too deeply"),
        ('{"a": ' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ('{"a": ', "it is not JSON"),
        (b'{"a": "\xff"}', "it is not UTF-8"),
    ],
)
def test_body_that_cannot_be_read_is_an_invalid_request(body: str | bytes, words: str) -> None:
    client = TestClient(application())
    answer = client.post("/body", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]
    assert client.post("/body", json={"a": 1, "b": 2}).json() == 2
