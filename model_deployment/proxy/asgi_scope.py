"""A request as an ASGI application has it, and the answer as the caller gets it."""

from collections.abc import Callable
from urllib.parse import unquote

import httptools

from model_deployment.http.asgi import App, Message, Receive, Scope, Send
from model_deployment.proxy import headers
from model_deployment.proxy.headers import RawHeader

_ASGI = {"version": "3.0", "spec_version": "2.3"}

Address = tuple[str, int | None] | None


def asgi_scope(
    method: bytes,
    url: bytes,
    version: str,
    raw: list[RawHeader],
    addresses: tuple[Address, Address],
) -> Scope:
    """
    Args:
        url: the target of the request line.
        raw: headers, with names in lower case.
        addresses: of the server, and of the caller.

    Raises:
        httptools.HttpParserInvalidURLError: the target is none.
    """
    path, query = url, b""
    if b"?" in url or b"#" in url or url[:1] != b"/":
        parsed = httptools.parse_url(url)
        path, query = parsed.path, parsed.query or b""
    text = path.decode("ascii")
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": version,
        "server": addresses[0],
        "client": addresses[1],
        "scheme": "http",
        "root_path": "",
        "method": method.decode("ascii"),
        "path": unquote(text) if "%" in text else text,
        "raw_path": path,
        "query_string": query,
        "headers": raw,
        "state": {},
    }


def with_tags(app: App, request_id: bytes, closing: Callable[[], bool]) -> App:
    """An application whose answers have the headers that all answers of a proxy have.

    Args:
        closing: whether the caller is to close the connection after the answer.
    """

    async def tagged(scope: Scope, receive: Receive, send: Send) -> None:
        async def tag(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = (headers.CLOSE,) if closing() else ()
                tags = (headers.REQUEST_ID, request_id), headers.NO_SNIFFING
                message["headers"] = [*message.get("headers", ()), *tags, *more]
            await send(message)

        await app(scope, receive, tag)

    return tagged
