"""An upload is kept whole or not at all, whatever its caller does."""

import asyncio
import hashlib
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from model_deployment.core.errors import (
    DiskFull,
    IncompleteBody,
    InvalidRequest,
    ModelDeploymentError,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from model_deployment.training_data.body import UploadedFile, clean_name
from model_deployment.training_data.receiving import UploadTimeout, ensure_room, receive
from model_deployment.training_data.retention import Retention, beyond
from model_deployment.training_data.versions import Versions
from tests.support.kept_versions import kept

MIB = 1024 * 1024


async def pieces(content: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


def form(*parts: str, end: str = "--B--\r\n") -> bytes:
    return ("".join(f"--B\r\n{part}\r\n" for part in parts) + end).encode()


FILE = (
    'Content-Disposition: form-data; name="f"; filename="..\\x/ä.csv"\r\n'
    "Content-Type: text/csv\r\n\r\na\n1\n"
)
FORM = {"content-type": "multipart/form-data; boundary=B"}


async def test_a_form_is_read_in_pieces_of_any_size() -> None:
    sent = form(FILE)
    for size in (1, 7, len(sent)):
        file = UploadedFile(FORM, pieces(sent[at : at + size] for at in range(0, len(sent), size)))
        assert b"".join([piece async for piece in file.pieces()]) == b"a\n1\n"
        assert (file.name, file.format) == ("ä.csv", "csv")


@pytest.mark.parametrize(
    ("headers", "body", "error"),
    [
        (FORM, form(FILE, FILE), InvalidRequest),
        (FORM, form('Content-Disposition: form-data; name="experiment"\r\n\r\nx'), InvalidRequest),
        (FORM, form(FILE.replace("text/csv", "image/png")), UnsupportedMediaType),
        (FORM, form(FILE)[:-8], IncompleteBody),
        (FORM, b"", IncompleteBody),
        (FORM, b"--B--\r\n", InvalidRequest),
        (FORM, b"junk" * 9, IncompleteBody),
        ({"content-type": "multipart/form-data"}, b"", UnsupportedMediaType),
        ({"content-type": "application/json"}, b"", UnsupportedMediaType),
        ({"content-type": "application/x-www-form-urlencoded"}, b"", UnsupportedMediaType),
        ({"content-encoding": "gzip"}, b"", UnsupportedMediaType),
    ],
)
async def test_what_is_no_file_is_refused(
    headers: dict[str, str], body: bytes, error: type[ModelDeploymentError]
) -> None:
    with pytest.raises(error):
        async for _ in UploadedFile(headers, pieces([body])).pieces():
            pass


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\x\\y.csv", "y.csv"), ("a\n\x00\u202eb", "ab"),
        ("/", None), ("", None), (None, None), ("x" * 999, "x" * 200), ("<b>.csv", "<b>.csv"),
    ],
)  # fmt: skip
def test_names_have_no_folders_and_nothing_that_cannot_be_seen(
    name: str | None, clean: str | None
) -> None:
    assert clean_name(name) == clean


async def test_a_file_is_written_as_it_comes_and_stopped_at_its_limit(tmp_path: Path) -> None:
    content = [b"ab" * 300_000] * 4
    sha256, size = await receive(pieces(content), tmp_path / "a", limit=4 * 600_000)
    assert sha256 == hashlib.sha256(b"".join(content)).hexdigest()
    assert (tmp_path / "a").stat().st_size == size == 2_400_000
    taken = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * MIB

    with pytest.raises(PayloadTooLarge, match="larger than 3145728 bytes"):
        async with aclosing(endless()) as source:
            await receive(source, tmp_path / "b", limit=3 * MIB)
    assert taken == 4


async def test_a_caller_who_stops_sending_is_given_up(tmp_path: Path) -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    with pytest.raises(UploadTimeout, match="after 1 bytes"):
        await receive(stuck(), tmp_path / "a", limit=9, pause=0.01)


async def test_a_caller_who_trickles_is_given_up(tmp_path: Path) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0)
            yield b"x"

    async with asyncio.timeout(10):
        with pytest.raises(UploadTimeout, match="bytes a second came"):
            await receive(trickle(), tmp_path / "a", limit=1 << 40, pause=0.3, slowest=1e12)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only who may mount a disk can fill one")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


async def test_a_full_disk_is_said(small_disk: Path) -> None:
    with pytest.raises(DiskFull):
        await receive(pieces([b"x" * MIB] * 2), small_disk / "a", limit=9 * MIB)
    with pytest.raises(DiskFull):
        ensure_room(small_disk, 1, 9 * MIB)


async def test_only_old_versions_that_nothing_uses_are_deleted(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    income = [kept(versions, b"a\n%d\n" % n, after=n) for n in range(5)]
    kept(versions, b"b\n", "sales", after=9)
    assert beyond(versions.list(), 0) == []
    assert beyond(versions.list(), 3) == income[:2]
    used = {income[1].sha256: "a run uses it"}

    async def in_use(sha256: str) -> str:
        return used.get(sha256, "")

    async def delete(sha256: str) -> None:
        versions.delete(sha256)

    await Retention(versions, 3, in_use, delete).apply()
    assert versions.list("income") == [*income[:1:-1], income[1]]
