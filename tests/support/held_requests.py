"""A model that tells each row from all others, and answers when the test says so."""

import asyncio
import json
from typing import Any

from model_deployment.core.options import Options
from model_deployment.gate import Gate
from tests.support.gates import column, gate
from tests.support.proxy_front import Front, Serve
from tests.support.raw_http import Message, Wire, post
from tests.support.upstreams import Peer
from tests.support.waiting import until

JSON = ("Content-Type", "application/json")


def body(*values: int, columns: tuple[str, ...] = ("a",), **params: Any) -> bytes:
    """Rows of which all columns have the same value."""
    split = {"columns": columns, "data": [[value] * len(columns) for value in values]}
    return json.dumps({"dataframe_split": split} | ({"params": params} if params else {})).encode()


def question(*values: int, path: str = "/iris-1", name: str = "", **more: Any) -> bytes:
    """A request with such rows, and perhaps a name of its own."""
    names = {"x_request_id": name} if name else {}
    return post(body(*values, **more), path, content_type="application/json", **names)


def marked(values: list[int]) -> list[str]:
    """The predictions for these rows, as the model here makes them."""
    return [f"of {value}" for value in values]


def predictions(answer: Message) -> Any:
    """What an answer holds, which is nothing but predictions."""
    assert answer.status == 200, answer
    found = json.loads(answer.body)
    assert list(found) == ["predictions"]
    return found["predictions"]


class Asked:
    """A call of the model."""

    def __init__(self, request: Message) -> None:
        self.request = request
        self.body: Any = {}
        self.values: list[int] = []
        if request.get("content-type") == JSON[1]:
            self.body = json.loads(request.body)
            self.values = [row[0] for row in self.body["dataframe_split"]["data"]]
        self.reply: asyncio.Future[tuple[int, bytes] | None] = asyncio.Future()

    def predict(self) -> None:
        """Answer each row with its own mark."""
        self.say({"predictions": marked(self.values)})

    def say(self, value: Any, status: int = 200) -> None:
        self.reply.set_result((status, json.dumps(value).encode()))

    def fail(self, canary: str = "") -> None:
        """As MLflow does for an exception inside the model."""
        self.say({"error_code": "BAD_REQUEST", "message": canary, "stack_trace": canary}, 400)

    def break_off(self) -> None:
        self.reply.set_result(None)


class Held:
    """Holds every call until the test answers it."""

    def __init__(self) -> None:
        self._asked: asyncio.Queue[Asked] = asyncio.Queue()

    async def __call__(self, peer: Peer) -> None:
        while request := await peer.next():
            asked = Asked(request)
            self._asked.put_nowait(asked)
            reply = await asked.reply
            if reply is None:
                return
            await peer.answer(reply[1], reply[0], [JSON])

    async def next(self) -> Asked:
        """The next call, which there has to be."""
        async with asyncio.timeout(10):
            return await self._asked.get()

    async def next_ones(self, number: int) -> dict[tuple[int, ...], Asked]:
        """So many calls that come at the same time, by their values."""
        calls = [await self.next() for _ in range(number)]
        return {tuple(call.values): call for call in calls}

    @property
    def idle(self) -> bool:
        """Whether no further call has come."""
        return self._asked.empty()


async def batching(
    serve: Serve, *, rows: int = 4, workers: int = 1, check: Gate | None = None, **more: Any
) -> tuple[Front, Held]:
    """A proxy that merges requests for a model that is held."""
    model = Held()
    options = Options(batch_max_rows=rows, workers=workers)
    check = check or gate(column("long"))
    return await serve(model, gate=check, options=options, **more), model


async def send(front: Front, *values: int, **more: Any) -> Wire:
    """Send a request on a connection of its own, and wait until it is in the proxy."""
    caller = await front.call()
    before = front.traffic.in_flight
    await caller.send(question(*values, **more))
    await until(lambda: front.traffic.in_flight == before + 1, what="the request in the proxy")
    return caller


async def send_all(front: Front, *bodies: tuple[int, ...]) -> list[Wire]:
    """One request after the other."""
    return [await send(front, *values) for values in bodies]
