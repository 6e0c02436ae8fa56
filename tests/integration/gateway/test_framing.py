"""Bytes that are no clear HTTP: no request is let through twice, and none that hides in another.

``{n}`` is the number of a case: ``/raw-{n}`` is what it asks for, ``/hidden-{n}`` what nobody may get.
"""

import asyncio

from tests.support.echo_server import Echo
from tests.support.nginx_gateway import AS, Gateway
from tests.support.raw_requests import send, statuses

LINE = "POST /raw-{n} HTTP/1.1\r\n"
HOST = "Host: x\r\n"
AUTH = f"Authorization: {AS['caller']['Authorization']}\r\n"
CLOSE = "Connection: close\r\n"
HEAD = LINE + HOST + AUTH + CLOSE
HIDDEN = f"POST /hidden-{{n}} HTTP/1.1\r\n{HOST}{AUTH}Content-Length: 0\r\n\r\n"
CHUNKED = HEAD + "Transfer-Encoding: chunked\r\n\r\n"

#: Nothing of these may be let through.
REFUSED = {
    "CL and TE": HEAD + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE and CL": HEAD + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": HEAD + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nab",
    "two equal lengths": HEAD + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "a list of lengths": HEAD + "Content-Length: 2, 2\r\n\r\nab",
    "negative length": HEAD + "Content-Length: -1\r\n\r\n",
    "length with a sign": HEAD + "Content-Length: +2\r\n\r\nab",
    "length with an underscore": HEAD + "Content-Length: 1_0\r\n\r\n0123456789",
    "hexadecimal length": HEAD + "Content-Length: 0x2\r\n\r\nab",
    "length in letters": HEAD + "Content-Length: two\r\n\r\nab",
    "empty length": HEAD + "Content-Length:\r\n\r\nab",
    "fractional length": HEAD + "Content-Length: 2.0\r\n\r\nab",
    "enormous length": HEAD + "Content-Length: 99999999999999999999999\r\n\r\nab",
    "length of 2**63": HEAD + "Content-Length: 9223372036854775808\r\n\r\nab",
    "two codings": HEAD + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "list of codings": HEAD + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "identity": HEAD + "Transfer-Encoding: identity\r\n\r\n",
    "unknown coding": HEAD + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding in quotes": HEAD + 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "coding with a tab": HEAD + "Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
    "coding with a vertical tab": HEAD + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "space before the colon": HEAD + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "tab before the colon": HEAD + "Content-Length\t: 2\r\n\r\nab",
    "space in a name": HEAD + "X Y: 1\r\n\r\n",
    "folded line": HEAD + "X-A: 1\r\n 2\r\n\r\n",
    "folded coding": HEAD + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "space before the first header": LINE + " X: 1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "header without a name": HEAD + ": 1\r\n\r\n",
    "NUL in a name": HEAD + "X\x00Y: 1\r\n\r\n",
    "NUL in a value": HEAD + "X-A: 1\x002\r\n\r\n",
    "CR in a value": HEAD + "X-A: 1\rTransfer-Encoding: chunked\r\n\r\n",
    "CR in a name": HEAD + "X\rY: 1\r\n\r\n",
    "no host": LINE + AUTH + CLOSE + "\r\n",
    "empty host": LINE + "Host:\r\n" + AUTH + CLOSE + "\r\n",
    "two hosts": HEAD + "Host: y\r\n\r\n",
    "two equal hosts": HEAD + HOST + "\r\n",
    "host with a slash": LINE + "Host: x/y\r\n" + AUTH + CLOSE + "\r\n",
    "host with a NUL": LINE + "Host: x\x00y\r\n" + AUTH + CLOSE + "\r\n",
    "two authorizations": HEAD + AUTH + "\r\n",
    "HTTP/0.9": "GET /health\r\n",
    "HTTP/0.9 with headers": "POST /raw-{n}\r\n" + HOST + AUTH + "\r\n",
    "HTTP/1.0": "POST /raw-{n} HTTP/1.0\r\n" + HOST + AUTH + "Content-Length: 0\r\n\r\n",
    "HTTP/1.0, chunked": "POST /raw-{n} HTTP/1.0\r\n" + HOST + AUTH
    + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.2": "POST /raw-{n} HTTP/1.2\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "HTTP/2.0 in text": "POST /raw-{n} HTTP/2.0\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "HTTP/3.0": "POST /raw-{n} HTTP/3.0\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "HTTP/01.1": "POST /raw-{n} HTTP/01.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "HTTP/1.": "POST /raw-{n} HTTP/1.\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "http/1.1": "POST /raw-{n} http/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "no HTTP": "POST /raw-{n} FTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tabs in the first line": "POST\t/raw-{n}\tHTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "space after the path": "POST /raw-{n} x HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "small method": "post /raw-{n} HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "method with a NUL": "PO\x00ST /raw-{n} HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "no method": " /raw-{n} HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "unknown method": "BREW /raw-{n} HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "long method": "P" * 5000 + " /raw-{n} HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "CONNECT": "CONNECT x:80 HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "TRACE": "TRACE /raw-{n} HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "another host in the target": "POST http://y/raw-{n} HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "a whole URL": "POST http://x/raw-{n} HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "NUL in the path": "POST /raw-{n}\x00 HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "escape in the path": "POST /raw-{n}\x1b HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "DEL in the path": "POST /raw-{n}\x7f HTTP/1.1\r\n" + HOST + AUTH + CLOSE + "\r\n",
    "CR only": HEAD.replace("\r\n", "\r") + "\r",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\x00" * 40,
    "PROXY protocol": "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + HEAD + "\r\n",
    "rubbish": "\x80\x81\x82\r\n\r\n",
    "chunk size in letters": CHUNKED + "zz\r\nab\r\n0\r\n\r\n",
    "negative chunk": CHUNKED + "-2\r\nab\r\n0\r\n\r\n",
    "chunk with a sign": CHUNKED + "+2\r\nab\r\n0\r\n\r\n",
    "chunk with 0x": CHUNKED + "0x2\r\nab\r\n0\r\n\r\n",
    "chunk with an underscore": CHUNKED + "0_2\r\nab\r\n0\r\n\r\n",
    "enormous chunk": CHUNKED + "fffffffffffffffff\r\nab\r\n0\r\n\r\n",
    "chunk of 2**63": CHUNKED + "8000000000000000\r\nab\r\n0\r\n\r\n",
    "empty chunk size": CHUNKED + "\r\nab\r\n0\r\n\r\n",
    "chunk longer than it says": CHUNKED + "1\r\nab\r\n0\r\n\r\n",
    "no last chunk": CHUNKED + "2\r\nab\r\n",
    "less than the length": HEAD + "Content-Length: 10\r\n\r\nab",
    "no end of the head": HEAD,
    "many headers": HEAD + "".join(f"X-{i}: {'v' * 100}\r\n" for i in range(1000)) + "\r\n",
    "long header": HEAD + f"X-A: {'v' * 40_000}\r\n\r\n",
    "long name": HEAD + f"X-{'n' * 40_000}: 1\r\n\r\n",
}  # fmt: skip

#: Let through, as one request: nginx reads them kindly, and writes what it read in its own words.
TAKEN = {
    "plain": HEAD + "Content-Length: 2\r\n\r\nab",
    "chunked": CHUNKED + "2\r\nab\r\n0\r\n\r\n",
    "line feeds only": (HEAD + "Content-Length: 2\r\n\r\n").replace("\r\n", "\n") + "ab",
    "empty lines before": "\r\n\r\n" + HEAD + "Content-Length: 2\r\n\r\nab",
    "coding in capitals": HEAD + "Transfer-Encoding: CHUNKED\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "chunk with an extension": CHUNKED + "2;x=y\r\nab\r\n0\r\n\r\n",
    "chunk with zeros": CHUNKED + "0002\r\nab\r\n0\r\n\r\n",
    "trailer": CHUNKED + "2\r\nab\r\n0\r\nX-Trailer: 1\r\n\r\n",
    "trailer with a length": CHUNKED + "2\r\nab\r\n0\r\nContent-Length: 99\r\n\r\n",
    "underscore in a name": HEAD + "Content_Length: 99\r\nContent-Length: 2\r\n\r\nab",
    "more than the length": HEAD + "Content-Length: 2\r\n\r\nab" + HIDDEN,
    "upgrade": HEAD + "Upgrade: websocket\r\nContent-Length: 2\r\n\r\nab",
    "h2c": HEAD.replace(CLOSE, "Connection: Upgrade, HTTP2-Settings, close\r\n")
    + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAA\r\nContent-Length: 2\r\n\r\nab",
    "h2c, chunked": HEAD.replace(CLOSE, "Connection: Upgrade, HTTP2-Settings, close\r\n")
    + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAA\r\nTransfer-Encoding: chunked\r\n\r\n"
    "2\r\nab\r\n0\r\n\r\n",
    "expect": HEAD + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
}


async def run(gateway: Gateway, cases: dict[str, str]) -> list[tuple[str, int, list[int]]]:
    async def one(n: int, case: str) -> bytes:
        return await send(gateway, case.replace("{n}", str(n)).encode("latin-1"))

    answers = await asyncio.gather(*(one(n, case) for n, case in enumerate(cases.values(), 1)))
    return [
        (name, n, statuses(answer))
        for n, (name, answer) in enumerate(zip(cases, answers, strict=True), 1)
    ]


async def test_what_is_no_clear_request_is_refused(gateway: Gateway, echo: Echo) -> None:
    taken = []
    for name, n, got in await run(gateway, REFUSED):
        wrong = [status for status in got if 200 <= status < 400]
        if wrong or any(path.endswith(f"-{n}") for path in echo.paths()):
            taken.append((name, got, [path for path in echo.paths() if path.endswith(f"-{n}")]))
    assert taken == []
    assert echo.seen == []


async def test_what_is_read_kindly_is_one_request(gateway: Gateway, echo: Echo) -> None:
    for name, n, got in await run(gateway, TAKEN):
        assert [status for status in got if status != 100] == [200], name
        assert [seen.body for seen in echo.seen if seen.path == f"/raw-{n}"] == [b"ab"], name
    assert len(echo.seen) == len(TAKEN)
    for seen in echo.seen:  # in nginx's own words
        assert seen.header("content-length") == ["2"]
        assert not {
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "expect",
            "trailer",
            "content_length",
        } & {name for name, _ in seen.headers}


async def test_a_chunk_that_takes_the_line_end_in_is_one_request(
    gateway: Gateway, echo: Echo
) -> None:
    [(_, _, got)] = await run(gateway, {"short": CHUNKED + "3\r\nab\r\n0\r\n\r\n" + HIDDEN})
    assert got == [200]
    assert [(seen.path, seen.body) for seen in echo.seen] == [("/raw-1", b"ab\r")]


async def test_requests_in_a_row_are_as_many_behind_the_gateway(
    gateway: Gateway, echo: Echo
) -> None:
    one = f"{HOST}{AUTH}Content-Length: 2\r\n\r\nab"
    row = "".join(f"POST /raw-{n} HTTP/1.1\r\n{one}" for n in range(1, 21))
    answer = await send(gateway, (row + HEAD.replace("{n}", "21") + "\r\n").encode())
    assert statuses(answer) == [200] * 21
    assert echo.paths() == [f"/raw-{n}" for n in range(1, 22)]
