"""Fetches one file from an allowed place to the disk, up to a size and by a deadline. It blocks."""

import errno
import http.client
import os
import shutil
import ssl
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_deployment.registry.sources import Bucket, File, Place, Places, Web, join

_CHUNK = 1024 * 1024
#: Seconds between two bytes of a web server.
_SILENCE = 20.0
_REDIRECTS = 5
_MOVED = frozenset({301, 302, 303, 307, 308})
#: Not there, not ours to read, or no file.
_NEVER = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO}
)
#: Answers after which asking again may help.
_PASSING = frozenset({408, 425, 429})


class NotRetrievable(Exception):
    """It may not be fetched, or is not there, or is not what it should be; asking again does not help."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What fetching may take."""

    bytes: int
    #: On the monotonic clock.
    end: float


def fetch(
    place: Place, places: Places, target: Path, limits: Limits, s3: Callable[[], Any]
) -> None:
    """Copy a file to ``target``.

    Args:
        s3: makes a client of boto3.

    Raises:
        NotRetrievable: it never can be.
        OSError, TimeoutError, http.client.HTTPException: not now.
    """
    if not places.allow(place):
        raise NotRetrievable(f"{place} is not among the places that are allowed")
    match place:
        case File(path):
            copy(path, places, target, limits)
        case Web():
            _get(place, places, target, limits)
        case Bucket():
            _get_object(place, target, limits, s3())


def copy(path: Path, places: Places, target: Path, limits: Limits) -> None:
    """Copy a regular file that lies in an allowed folder, wherever links lead meanwhile.

    Raises:
        NotRetrievable: it is none, or none any more.
        OSError: the disk says so.
    """
    folder = places.folder(path)
    if folder is None:
        raise NotRetrievable(f"{path} is not in a folder that is allowed")
    # Not blocking, since it may be a pipe.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path.resolve(), flags)
    except OSError as error:
        if error.errno not in _NEVER:
            raise
        raise NotRetrievable(f"{path}: {error.strerror}") from None
    try:
        # What was opened, and not what the name stood for a moment ago.
        if not Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(folder):
            raise NotRetrievable(f"{path} is not in a folder that is allowed")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRetrievable(f"{path} is no file")
        _write(iter(lambda: os.read(descriptor, _CHUNK), b""), target, limits)
    finally:
        os.close(descriptor)


def _get(place: Web, places: Places, target: Path, limits: Limits) -> None:
    at = place
    for _ in range(_REDIRECTS + 1):
        connection = _connect(at, limits)
        try:
            # Neither proxies nor netrc: nothing but what was allowed is asked, and by nobody in particular.
            headers = {"Accept-Encoding": "identity", "User-Agent": "model-deployment"}
            connection.request("GET", at.path + at.query, headers=headers)
            answer = connection.getresponse()
            if answer.status in _MOVED:
                at = _next(at, answer.getheader("Location", ""), places)
                continue
            _judge(at, answer)
            _write(_body(answer, connection, limits), target, limits)
            return
        finally:
            connection.close()
    raise NotRetrievable(f"{place} leads elsewhere too often")


def _connect(at: Web, limits: Limits) -> http.client.HTTPConnection:
    host, timeout = at.host.strip("[]"), _time_left(limits)
    if at.scheme == "http":
        return http.client.HTTPConnection(host, at.port, timeout=timeout)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, at.port, timeout=timeout, context=context)


def _next(at: Web, location: str, places: Places) -> Web:
    found = join(at, location)
    if found is None or not places.allow(found):
        where = str(found) if found else "somewhere else"
        raise NotRetrievable(f"{at} leads to {where}, which is not allowed")
    return found


def _judge(at: Web, answer: http.client.HTTPResponse) -> None:
    if answer.status >= 500 or answer.status in _PASSING:
        raise OSError(f"{at} answers {answer.status}")
    if answer.status != 200:
        raise NotRetrievable(f"{at} answers {answer.status}")
    if (coding := answer.getheader("Content-Encoding", "identity").lower()) != "identity":
        raise NotRetrievable(f"{at} is packed ({coding[:20]})")


def _body(
    answer: http.client.HTTPResponse, connection: http.client.HTTPConnection, limits: Limits
) -> Iterator[bytes]:
    announced, had = answer.length, 0
    if announced is not None and announced > limits.bytes:
        raise _too_large(limits)
    while (announced is None or had < announced) and (chunk := answer.read1(_CHUNK)):
        had += len(chunk)
        yield chunk
        if connection.sock is not None:
            connection.sock.settimeout(_time_left(limits))
    # The standard library takes an answer that was cut off for a whole one.
    if announced is not None and had != announced:
        raise OSError(f"the answer broke off after {had} of {announced} bytes")


def _get_object(place: Bucket, target: Path, limits: Limits, client: Any) -> None:
    try:
        answer = client.get_object(Bucket=place.bucket, Key=place.key)
    except Exception as error:
        code = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if 400 <= code < 500 and code not in _PASSING:
            raise NotRetrievable(f"{place}: the store answers {code}") from error
        raise OSError(f"{place}: {type(error).__name__}") from error
    if answer.get("ContentLength", 0) > limits.bytes:
        raise _too_large(limits)
    try:
        _write(answer["Body"].iter_chunks(_CHUNK), target, limits)
    except (NotRetrievable, OSError):
        raise
    except Exception as error:  # whatever botocore calls a connection that broke off
        raise OSError(f"{place}: {type(error).__name__}") from error


def _write(chunks: Iterable[bytes], target: Path, limits: Limits) -> None:
    size = 0
    with target.open("xb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > limits.bytes:
                raise _too_large(limits)
            _time_left(limits)
            file.write(chunk)


def _time_left(limits: Limits) -> float:
    left = limits.end - time.monotonic()
    if left <= 0:
        raise TimeoutError("it takes too long")
    return min(left, _SILENCE)


def _too_large(limits: Limits) -> NotRetrievable:
    return NotRetrievable(f"it is larger than {limits.bytes} bytes")


def clear(folder: Path) -> None:
    """Remove a folder, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
