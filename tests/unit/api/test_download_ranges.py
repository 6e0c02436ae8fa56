"""Parts of files of releases: ranges, conditions and tags as RFC 9110 has them."""

import hashlib

import pytest

from model_deployment.api.device_downloads import RangeNotSatisfiable, usable_ranges
from tests.support.release_front import DIGEST, WEIGHTS, ReleaseFront

EMPTY = hashlib.sha256(b"").hexdigest()
SIZE = len(WEIGHTS)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-", 100, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        (f"bytes=5-{10**15}", 5, SIZE - 1),
        ("bytes=-7", SIZE - 7, SIZE - 1),
        (f"bytes=-{SIZE * 2}", 0, SIZE - 1),
        (f"bytes=10-19, {SIZE}-", 10, 19),
    ],
)
async def test_one_range_is_sent(front: ReleaseFront, asked: str, first: int, last: int) -> None:
    answer = await front.get(range=asked)
    assert (answer.status_code, answer.content) == (206, WEIGHTS[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["content-length"] == str(last - first + 1)
    assert answer.headers["etag"] == f'"{DIGEST}"'


async def test_several_ranges_are_sent_in_parts(front: ReleaseFront) -> None:
    answer = await front.get(range="bytes=0-3,100-103")
    assert answer.status_code == 206
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = answer.content.split(f"--{boundary}".encode())
    assert [part.partition(b"\r\n\r\n")[2].strip(b"\r\n") for part in parts[1:3]] == [
        WEIGHTS[0:4].strip(b"\r\n"), WEIGHTS[100:104],
    ]  # fmt: skip
    assert b"Content-Range: bytes 100-103/512000" in parts[2]


@pytest.mark.parametrize(
    "asked",
    [
        "items=0-1", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-2-3", "bytes=5-3", "bytes=0-1,5-3",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 300, 2)), "BYTES 0-1", "bytes=²-³",
    ],
)  # fmt: skip
async def test_what_is_no_range_is_ignored(front: ReleaseFront, asked: str) -> None:
    answer = await front.client.get(
        f"/hall/blobs/{DIGEST}", headers={b"Range": asked.encode("latin-1")}
    )
    assert (answer.status_code, answer.content) == (200, WEIGHTS)


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE}", "bytes=-0"])
async def test_a_range_behind_the_end_is_not_satisfiable(front: ReleaseFront, asked: str) -> None:
    answer = await front.get(range=asked)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert answer.json()["detail"] == f"cannot send this range: the file has {SIZE} bytes"


def test_ranges_of_a_file_without_bytes() -> None:
    assert usable_ranges("bytes=0-", 0) == usable_ranges("bytes=-5", 0) == ""
    with pytest.raises(RangeNotSatisfiable):
        usable_ranges("bytes=1-", 1)
    assert usable_ranges("bytes= 0-0 , 9-", 1) == "bytes=0-0"


async def test_a_file_without_bytes_is_sent(front: ReleaseFront) -> None:
    answer = await front.get(f"/hall/blobs/{EMPTY}", range="bytes=0-")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (f'"{DIGEST}"', 206),
        (f'W/"{DIGEST}"', 200),
        ('"other"', 200),
        (DIGEST, 200),
        ("Sat, 31 Jan 2026 12:00:00 GMT", 200),
        ("", 200),
    ],
)
async def test_a_part_is_sent_only_of_the_file_that_the_caller_has(
    front: ReleaseFront, condition: str, status: int
) -> None:
    answer = await front.get(range="bytes=9-", if_range=condition)
    assert answer.status_code == status
    assert answer.content == (WEIGHTS[9:] if status == 206 else WEIGHTS)
    beyond = await front.get(range=f"bytes={SIZE}-", if_range='"other"')
    assert beyond.status_code == 200


@pytest.mark.parametrize(
    ("known", "status"),
    [
        (f'"{DIGEST}"', 304),
        (f'W/"{DIGEST}"', 304),
        (f'"a", "{DIGEST}"', 304),
        ("*", 304),
        ('"a"', 200),
        (DIGEST, 200),
    ],
)
async def test_a_file_that_the_caller_has_is_not_sent(
    front: ReleaseFront, known: str, status: int
) -> None:
    answer = await front.get(if_none_match=known, range="bytes=0-1" if status == 304 else "")
    assert answer.status_code == status
    assert answer.headers["etag"] == f'"{DIGEST}"'
    assert answer.content == (b"" if status == 304 else WEIGHTS)
