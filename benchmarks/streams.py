"""What a stream costs: the time to its first frame against a plain prediction, and frames a second.

    python benchmarks/streams.py

A model in a process of its own, as a fork serves it, with a proxy in front, both on this machine. The bar
is a ratio: the first frame of a stream comes within three times the time of a prediction of the same model,
both in the fastest tenth, since other programs disturb the others.
"""

import json
import multiprocessing
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.proxy_front import Front
from tests.support.raw_http import HOST, Wire, post
from tests.support.streaming_models import ModelServer, pyfunc

REQUESTS, FRAMES = 300, 20_000


class Words:
    """Yields as fast as it can."""

    def predict(self, model_input: Any, params: Any = None) -> Any:
        return ["word"]

    def predict_stream(self, model_input: Any, params: Any = None) -> Iterator[Any]:
        for _ in range(int(model_input)):
            yield "word"


def serve(descriptor: int) -> None:
    """Be the process of the model."""
    import uvicorn

    from model_deployment.http.connection import Connection
    from model_deployment.worker.scoring import Application

    app = Application(pyfunc(Words()), 60)
    config = uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_config=None)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def request(number: int, *, stream: bool) -> bytes:
    body = {"inputs": number} | ({"stream": True} if stream else {})
    return post(json.dumps(body).encode(), content_type="application/json")


async def first_frames(port: int, *, stream: bool) -> float:
    """Seconds from the request to the first piece of the answer, in the fastest tenth."""
    caller, times = await Wire.connect(port), []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        await caller.send(request(1, stream=stream))
        answer = await caller.head()
        assert answer is not None
        await caller.piece(answer)
        times.append(time.perf_counter() - began)
        await caller.rest(answer)
    await caller.close()
    return statistics.quantiles(times, n=10)[0]


async def frame_rate(port: int) -> float:
    """Frames a second of one stream."""
    caller, began = await Wire.connect(port), time.perf_counter()
    answer = await caller.ask(request(FRAMES, stream=True))
    assert answer.body.count(b"\n\n") == FRAMES + 1
    await caller.close()
    return FRAMES / (time.perf_counter() - began)


async def measure(port: int) -> int:
    async with Front(ModelServer(port)) as front:  # type: ignore[arg-type]
        await first_frames(front.port, stream=False)
        plain = await first_frames(front.port, stream=False)
        first = await first_frames(front.port, stream=True)
        rate = await frame_rate(front.port)
    print(
        f"prediction {plain * 1e3:.2f} ms; first frame {first * 1e3:.2f} ms: {first / plain:.2f} times"
    )
    print(f"frames of one stream: {rate:,.0f} a second")
    return 0 if first <= 3 * plain else 1


def main() -> int:
    listener = socket.create_server((HOST, 0))
    listener.set_inheritable(True)
    context = multiprocessing.get_context("fork")
    model = context.Process(target=serve, args=(listener.fileno(),), daemon=True)
    model.start()
    try:
        return uvloop.run(measure(listener.getsockname()[1]))
    finally:
        model.terminate()


if __name__ == "__main__":
    raise SystemExit(main())
