"""Callers who hold back the last byte of large bodies: all of them together get a budget, and no more."""

import asyncio
import re
from contextlib import AsyncExitStack

import psutil
import pytest

from tests.support.harness import Controller, Controllers
from tests.support.raw_http import Message, Wire
from tests.support.waiting import until

MB = 1024 * 1024
BUDGET, CALLERS, SIZE = 48 * MB, 60, 5_000_000
#: Of one kind, beside the shares of the others and the part for small bodies.
OF_CALLS = BUDGET * 9 // 16
REFUSALS = (("Too many bodies", "2"), ("Too busy", "1"))
PATHS = ("/model/stub-1/feedback", "/deploy/stub/2", "/endpoints/stub@x/pause", "/slow-1")


def head(path: str, size: int) -> bytes:
    lines = f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"
    return "\r\n".join([*lines, f"Content-Length: {size}", "", ""]).encode()


async def refusal(caller: Wire, path: str) -> Message:
    """Send all but the last byte, and wait for what is answered."""
    sending = asyncio.ensure_future(caller.send(head(path, SIZE), bytes(SIZE - 1)))
    try:
        return await caller.receive()
    finally:
        sending.cancel()
        await asyncio.wait({sending})


async def figure(controller: Controller, name: str) -> float:
    page = (await asyncio.to_thread(controller.call, "GET", "/metrics")).text
    found = re.findall(rf"^model_deployment_{name}(?:{{.*}})? (\S+)$", page, re.MULTILINE)
    return sum(map(float, found))


def memory(controller: Controller) -> int:
    """Bytes of the controller and its proxies."""
    front = [psutil.Process(controller.pid)]
    front += [
        one
        for one in front[0].children(recursive=True)
        if "model_deployment.proxy" in one.cmdline()
    ]
    return sum(int(one.memory_full_info().pss) for one in front)


@pytest.mark.parametrize(
    ("proxies", "paths"), [(0, PATHS[:1]), (2, PATHS)], ids=["one process, feedback", "two, mixed"]
)
async def test_sixty_callers_get_the_budget_and_others_go_on(
    controllers: Controllers, proxies: int, paths: tuple[str, ...]
) -> None:
    controller = controllers(PROXIES=proxies, MAX_HELD_BYTES=BUDGET, programs=True).up()
    controller.deploy("stub-1")
    controller.deploy("slow-1")
    before = memory(controller)
    async with AsyncExitStack() as stack:
        callers = [await Wire.connect(controller.port) for _ in range(CALLERS)]
        for one in callers:
            stack.push_async_callback(one.close)
        answers = [
            asyncio.create_task(refusal(one, paths[n % len(paths)]))
            for n, one in enumerate(callers)
        ]
        for task in answers:
            stack.callback(task.cancel)
        refused = CALLERS - BUDGET // SIZE  # at least
        await until(lambda: sum(map(asyncio.Task.done, answers)) >= refused, timeout=60)
        assert memory(controller) - before < 2.5 * BUDGET
        held = await figure(controller, "held_bytes")
        for answer in (task.result() for task in answers if task.done()):
            if answer.status != 408:  # it held bytes while others were refused for long
                # A model has limits of its own as well.
                title = answer.problem(429)["title"]
                assert (title, answer.get("retry-after")) in REFUSALS
            assert answer.get("connection") == "close"
        assert held <= (OF_CALLS if len(paths) == 1 else BUDGET)
        assert await figure(controller, "held_refused_total") > 0
        # Others go on: another model, and small calls.
        predicted = await asyncio.to_thread(controller.predict, "stub-1", 7)
        assert predicted.json()["predictions"] == [7]
        said = await asyncio.to_thread(
            controller.call, "POST", "/model/stub-1/feedback", json={"items": []}
        )
        assert said.status_code == 422
    await until_free(controller)
    # Whoever comes then is read whole.
    for path in ("/model/stub-1/feedback", "/stub-1"):
        caller = await Wire.connect(controller.port)
        answer = await caller.ask(head(path, SIZE), bytes(SIZE))
        assert answer.status in (400, 422), "it is no JSON"
        await caller.close()
    await until_free(controller)


async def until_free(controller: Controller) -> None:
    async def free() -> bool:
        return await figure(controller, "held_bytes") == 0

    await until(free, timeout=30, what="nothing to be held")
