"""Streams and OpenAI's client through the gateway: frames come at once, and tokens reach the controller."""

import itertools
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from model_deployment.core.agent import Agent, Interface
from model_deployment.core.model_kind import ModelKind
from model_deployment.credentials.access import Access
from model_deployment.credentials.verify import Credentials
from tests.integration.gateway.conftest import Gateways
from tests.support.nginx_gateway import AS, USERS, Gateway, credentials
from tests.support.proxy_front import KEY, Front
from tests.support.raw_http import HOST, Wire, post
from tests.support.routes import ready_route
from tests.support.streaming_models import Gate, Streams, pyfunc, served
from tests.support.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore")  # importing MLflow warns


class Slow:
    """Says one word, and further ones when it may."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.words: Iterable[str] = ("one ", "two ")

    def __call__(self, _: Any) -> Iterator[Any]:
        for word in self.words:
            delta = {"role": "assistant", "content": word, "id": "1"}
            yield {"delta": delta}
            self.gate.wait()


@dataclass
class Served:
    gateway: Gateway
    slow: Slow
    model: Streams

    def client(self, token: str) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.gateway.url}/v1", api_key=token, max_retries=0)


@asynccontextmanager
async def agent(tmp_path: Path, gateways: Gateways) -> AsyncIterator[Served]:
    """A gateway in front of a proxy in front of an agent."""
    folder = credentials(tmp_path / "credentials")
    users = Credentials(folder)
    users.open()
    slow = Slow()
    model = Streams(slow)
    async with (
        served(pyfunc(model)) as server,
        Front(
            server,  # type: ignore[arg-type]
            kinds=lambda route: ModelKind(Agent(Interface.CHAT_AGENT, streams=True)),
            admit=Access(users).admit,
        ) as front,
    ):
        front.publish(ready_route(KEY, "l", server.port, artifact="iris-1-1000"))
        gateway = gateways(controller=f"{HOST}:{front.port}", credentials=folder)
        yield Served(gateway, slow, model)
    users.close()


async def test_frames_pass_the_gateway_as_they_come(tmp_path: Path, gateways: Gateways) -> None:
    async with agent(tmp_path, gateways) as it:
        caller = await Wire.connect(it.gateway.port)
        body = json.dumps({"inputs": "x", "stream": True}).encode()
        who = AS["caller"]["Authorization"]
        await caller.send(post(body, host=HOST, content_type="application/json", authorization=who))
        answer = await caller.head()
        assert answer is not None
        assert b"one " in await caller.piece(answer)  # and two is not made yet
        it.slow.gate.open()
        await caller.rest(answer)
        assert answer.body.endswith(b"data: [DONE]\n\n")
        await caller.close()


async def test_a_token_is_a_password_with_or_without_its_name(
    tmp_path: Path, gateways: Gateways
) -> None:
    async with agent(tmp_path, gateways) as it:
        it.slow.gate.open()
        for token in (USERS["operator"][1], ":".join(USERS["caller"])):
            async with it.client(token) as client:
                assert [one.id async for one in client.models.list()] == ["iris-1"]
                stream = await client.chat.completions.create(
                    model="iris-1", messages=[{"role": "user", "content": "x"}], stream=True
                )
                texts = [one.choices[0].delta.content async for one in stream]
                assert "".join(filter(None, texts)) == "one two "
        for token in ("wrong", "caller:wrong", "caller"):
            async with it.client(token) as client:
                with pytest.raises(openai.AuthenticationError) as refused:
                    await client.models.list()
                assert refused.value.code == "invalid_api_key"


async def test_caller_who_leaves_the_gateway_ends_the_generator(
    tmp_path: Path, gateways: Gateways
) -> None:
    async with agent(tmp_path, gateways) as it, it.client(":".join(USERS["caller"])) as client:
        it.slow.words = itertools.repeat("one ")
        stream = await client.chat.completions.create(
            model="iris-1", messages=[{"role": "user", "content": "x"}], stream=True
        )
        async for chunk in stream:
            assert chunk.choices[0].delta.content == "one "
            break
        await stream.close()
        it.slow.gate.open()
        await until(lambda: it.model.ended == 1)
