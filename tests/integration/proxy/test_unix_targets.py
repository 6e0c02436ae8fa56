"""Model servers that listen on Unix sockets."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from model_deployment.core.domain import Address
from model_deployment.core.routes import Target
from tests.support.proxy_front import Front
from tests.support.raw_http import post, post_chunked
from tests.support.upstreams import Behave, HeldUpstream, Server, echo
from tests.support.waiting import until


@asynccontextmanager
async def front(folder: Path, *behave: Behave, **options: Any) -> AsyncIterator[Front]:
    """Launches that listen in folders of their own, whose paths are long."""
    async with AsyncExitStack() as stack:
        targets = list[Target]()
        for number, one in enumerate(behave, start=1):
            path = folder / ("z" * 120) / f"unix-{number}" / "model.sock"
            path.parent.mkdir(parents=True)
            server = await stack.enter_async_context(Server(one, path))
            address = Address("model.invalid", 80 + number, str(path))
            targets.append(Target(f"unix-{number}", f"unix-{number}", address))
        made = await stack.enter_async_context(Front(server, **options))
        made.publish(replace(made.route(), targets=(*targets,)))
        yield made


async def test_a_model_behind_a_unix_socket_answers(tmp_path: Path) -> None:
    async with front(tmp_path, echo) as it:
        caller = await it.call()
        for _ in range(3):
            assert (await caller.ask(post(b"x"))).body == b"x"
        assert (await caller.ask(post_chunked(b"a" * 100_000, b"b" * 3_000_000))).status == 200
        assert it.upstream.connections == 1
        assert it.upstream.requests[0].get("host") == "model.invalid:81"


async def test_many_calls_at_the_same_time_are_all_answered(tmp_path: Path) -> None:
    held = HeldUpstream()
    async with front(tmp_path, held, held, connections=200) as it:
        callers = [await it.call() for _ in range(300)]
        for n, caller in enumerate(callers):
            await caller.send(post(b"%d" % n))
        await until(lambda: held.held == 300, what="all calls at the models")
        held.open()
        for n, caller in enumerate(callers):
            assert (await caller.receive()).body == b"%d" % n


def remove(folder: Path, name: str) -> None:
    """Remove sockets by the names of their folders."""
    for path in folder.rglob(f"{name}/model.sock"):
        path.unlink()


async def test_a_launch_whose_socket_is_gone_gets_no_requests(tmp_path: Path) -> None:
    async with front(tmp_path, echo, echo) as it:
        remove(tmp_path, "unix-1")
        for n in range(10):
            assert (await it.ask(post(b"%d" % n))).status == 200
        assert it.failures == 1


async def test_if_all_sockets_are_gone_it_does_not_accept_connections(tmp_path: Path) -> None:
    async with front(tmp_path, echo, echo, recovery_timeout=0.1) as it:
        remove(tmp_path, "unix-*")
        assert "does not accept connections" in (await it.ask(post(b"x"))).problem(503)["detail"]
