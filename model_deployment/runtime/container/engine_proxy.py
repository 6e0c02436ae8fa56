"""A proxy before the engine's socket, for a controller that is in a container itself: a program of its own.

``python -m model_deployment.runtime.container.engine_proxy --listen 0.0.0.0:2375 --data /data``

The controller's container has models of its own, which must not become root on the machine. So the socket
is in this program's container, and ``allowed.py`` says what gets through. It needs to see the data folder
(read-only): it looks that a folder which a container is to get is one, and no link to somewhere else.
"""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

import aiohttp
from aiohttp import web

from model_deployment.runtime.container import allowed
from model_deployment.runtime.container.allowed import Allowed, Call, Ours
from model_deployment.runtime.container.engine import Engine
from model_deployment.runtime.container.folders import MODEL, OFFER
from model_deployment.runtime.container.host_paths import HostPaths

_log = logging.getLogger("engine_proxy")

#: Seconds that answers have to end when this program ends: the events never do.
_GRACE = 2.0
#: Bytes of a request: the programs and the requirements of an image at most.
_MOST = 16 * 1024 * 1024
#: Seconds to connect. An answer may take as long as it likes: events never end.
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5)
#: Of a request. What kind its body is of is said here.
_SENT_ON = ("Accept", "User-Agent", "X-Registry-Auth")
#: Of an answer, what concerns a connection, and not what is sent on it.
_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "host"}


class EngineProxy:
    """Sends on what is allowed."""

    def __init__(self, socket: str, data: Path, network: str, paths: HostPaths) -> None:
        """
        Args:
            socket: path of the engine's socket.
            data: the data directory of the controller, as this program sees it.
            network: of builds.
            paths: knows where the engine's machine has the data directory.
        """
        self._socket = socket
        self._containers = data / "containers"
        self._network = network
        self._paths = paths
        self._session: aiohttp.ClientSession | None = None

    def app(self) -> web.Application:
        app = web.Application(client_max_size=_MOST)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_startup.append(self._open)
        app.on_cleanup.append(self._close)
        return app

    async def _open(self, _: web.Application) -> None:
        connector = aiohttp.UnixConnector(path=self._socket)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=_TIMEOUT, auto_decompress=False
        )

    async def _close(self, _: web.Application) -> None:
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = Call(request.method, request.path, dict(request.query), await request.read())
        try:
            found = await asyncio.to_thread(
                allowed.judge, call, self._network, self._is_launch_folder
            )
            if isinstance(found, Allowed) and (why := await self._why_not_ours(found)):
                found = allowed.Refused(why)
            if not isinstance(found, Allowed):
                _log.warning("refused %s %s: %s", call.method, call.path, found.why)
                return web.json_response({"message": f"refused: {found.why}"}, status=403)
            return await self._send_on(request, call, found)
        except aiohttp.ClientError as error:
            return web.json_response(
                {"message": f"the engine does not answer: {error}"}, status=502
            )

    def _is_launch_folder(self, source: str) -> bool:
        """Blocking."""
        for launch in self._containers.iterdir():
            for name in (MODEL, OFFER):
                folder = launch / name
                if self._paths.of(folder) == source:
                    # A link would lead to somewhere else on the engine's machine.
                    return folder.is_dir() and folder.resolve() == folder
        return False

    async def _why_not_ours(self, found: Allowed) -> str:
        """Why what a request names is not for it; empty if it is."""
        if found.ours is Ours.NOTHING:
            return ""
        kind = "images" if found.ours is Ours.IMAGE else "containers"
        status, body = await self._ask(f"/{kind}/{found.name}/json")
        # What is not there may be asked for: the engine says so.
        if status == 404:
            return ""
        if status != 200 or not allowed.is_ours(body):
            return "it is not of this program"
        if found.ours is Ours.STARTED:
            return await asyncio.to_thread(allowed.why_not_started, body, self._is_launch_folder)
        return ""

    async def _ask(self, path: str) -> tuple[int, bytes]:
        assert self._session is not None  # noqa: S101
        async with self._session.get(f"http://engine{path}") as answer:
            return answer.status, await answer.read()

    async def _send_on(
        self, request: web.Request, call: Call, found: Allowed
    ) -> web.StreamResponse:
        assert self._session is not None  # noqa: S101
        headers = {name: value for name, value in request.headers.items() if name in _SENT_ON}
        if kind := allowed.content_type(call):
            headers["Content-Type"] = kind
        async with self._session.request(
            call.method,
            f"http://engine{request.path}",
            params=call.query,
            data=allowed.rewritten(call) or None,
            headers=headers,
        ) as answer:
            kept = {
                name: value for name, value in answer.headers.items() if name.lower() not in _HOP
            }
            if found.trimmed and answer.status == 200:
                return web.Response(body=allowed.trimmed(await answer.read()), headers=kept)
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for part in answer.content.iter_any():
                await response.write(part)
            await response.write_eof()
            return response


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--engine", default="/var/run/docker.sock", help="path of the engine's socket"
    )
    parser.add_argument("--listen", default="127.0.0.1:2375", help="HOST:PORT")
    parser.add_argument("--data", type=Path, required=True, help="the controller's data directory")
    parser.add_argument(
        "--network", default="", help="network of builds, as MODEL_DEPLOYMENT_IMAGE_NETWORK"
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    host, _, port = given.listen.rpartition(":")
    paths = HostPaths(Engine(f"unix://{given.engine}"))
    proxy = EngineProxy(given.engine, given.data, given.network, paths)
    web.run_app(
        proxy.app(), host=host, port=int(port), print=None, access_log=None, shutdown_timeout=_GRACE
    )


if __name__ == "__main__":
    main()
