"""The wire side of ``stub_model_server.py``: requests in, heads and pieces of answers out, rows of a body.

Written by hand: ``http.server`` doubles the stub's start-up time and cannot read chunked bodies.
"""

import json
import socket
import time
from http import HTTPStatus
from typing import BinaryIO, NamedTuple

Headers = list[tuple[str, str]]

_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Request(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    headers: Headers
    body: bytes
    keep_alive: bool


def read_request(stream: BinaryIO, connection: socket.socket) -> Request | None:
    """The next request of a connection, or None at its end or where there is no HTTP.

    Raises:
        ConnectionError: the caller hung up in the middle.
    """
    first = stream.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    method, path, protocol = first
    headers: Headers = []
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    known = {name.lower(): value for name, value in headers}
    if known.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if known.get("transfer-encoding", "").lower() == "chunked":
        body = b"".join(iter(lambda: _read_chunk(stream), b""))
    else:
        body = _read(stream, int(known.get("content-length", "0")))
    keep_alive = protocol == "HTTP/1.1" and known.get("connection", "").lower() != "close"
    return Request(method, path, headers, body, keep_alive)


def _read_chunk(stream: BinaryIO) -> bytes:
    """One chunk of a chunked body; empty at its end."""
    chunk = _read(stream, int(stream.readline().split(b";")[0], 16))
    stream.readline()
    return chunk


def _read(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:  # half a request is not answered
        raise ConnectionError("the caller hung up")
    return data


def head(status: int, own: Headers, ordered: dict[str, str | list[str]]) -> bytes:
    """The head of an answer; an ordered header takes the place of the stub's own of that name."""
    replaced = {name.lower() for name in ordered}
    lines = [f"{name}: {value}" for name, value in own if name not in replaced]
    for name, values in ordered.items():
        lines += [f"{name}: {value}" for value in ([values] if isinstance(values, str) else values)]
    first = f"HTTP/1.1 {status} {_PHRASES.get(status, 'Odd')}"
    return "\r\n".join([first, *lines, "", ""]).encode()


def send_pieces(connection: socket.socket, number: int, pause: float) -> None:
    """A chunked body in so many pieces, with seconds between them: the predictions are 0, 1, ..."""
    for place in range(number):
        last = place == number - 1
        piece = ("," if place else '{"predictions": [') + str(place) + "]}" * last
        connection.sendall(f"{len(piece):x}\r\n{piece}\r\n".encode())
        time.sleep(pause * (not last))
    connection.sendall(b"0\r\n\r\n")


def predictions(body: bytes) -> list[object]:
    """One prediction per row where rows can be made out, else a single 0."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return [0]
    match data:
        case {"instances": [*rows]} | {"inputs": [*rows]}:
            return rows
        case {"dataframe_records": [*rows]}:
            return [row.get("x", 0) if isinstance(row, dict) else 0 for row in rows]
        case {"dataframe_split": {"columns": [*columns], "data": [*rows]}}:
            place = columns.index("x") if "x" in columns else None
            return [0 if place is None else row[place] for row in rows]
        case _:
            return [0]
