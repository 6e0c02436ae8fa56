"""A request as an ASGI application has it."""

from urllib.parse import unquote

import httptools

from model_deployment.http.asgi import Scope
from model_deployment.proxy.headers import RawHeader

_ASGI = {"version": "3.0", "spec_version": "2.3"}

Address = tuple[str, int | None] | None


def asgi_scope(
    method: bytes,
    url: bytes,
    version: str,
    headers: list[RawHeader],
    addresses: tuple[Address, Address],
) -> Scope:
    """
    Args:
        url: the target of the request line.
        headers: names in lower case.
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
        "headers": headers,
        "state": {},
    }
