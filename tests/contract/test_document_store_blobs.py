"""What every document store does with blobs."""

import asyncio
import random

import pytest

from model_deployment.documents.base import DocumentRefused, Documents
from model_deployment.documents.envelope import MAX_BLOB

pytest_plugins = ["tests.support.document_store_fixtures"]


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, MAX_BLOB - 5])
async def test_blobs_come_back_whole(store: Documents, size: int) -> None:
    content = random.Random(size).randbytes(size)
    await store.put_blob("report", content)
    assert await store.get_blob("report") == content
    await store.put_blob("report", content[: size // 2] + b"other")
    assert await store.get_blob("report") == content[: size // 2] + b"other"
    await store.delete_blob("report")
    assert await store.get_blob("report") is None


async def test_blob_that_no_document_holds_is_refused(store: Documents) -> None:
    await store.put_blob("report", b"page")
    with pytest.raises(
        DocumentRefused, match=f"it has {MAX_BLOB + 1} bytes; at most {MAX_BLOB} are"
    ):
        await store.put_blob("report", bytes(MAX_BLOB + 1))
    await store.put_blob("i" * 1000, bytes(MAX_BLOB))
    assert await store.get_blob("report") == b"page"


async def test_blobs_have_names(store: Documents) -> None:
    await store.put_blob("a", b"1")
    await store.put_blob("ä/😀 $.", b"2")
    assert await store.get_blob("a") == b"1"
    assert await store.get_blob("ä/😀 $.") == b"2"
    assert await store.get_blob("A") is None
    await store.delete_blob("A")
    await store.delete_blob("a")
    assert await store.get_blob("ä/😀 $.") == b"2"
    assert await store.get_blob("\ud800") is None
    await store.delete_blob("\ud800")
    with pytest.raises(DocumentRefused):
        await store.put_blob("\ud800", b"")


async def test_a_blob_that_is_replaced_is_one_or_the_other(store: Documents) -> None:
    contents = [bytes([n]) * 3_000_000 for n in range(4)]
    await store.put_blob("x", contents[0])
    writing = asyncio.gather(*(store.put_blob("x", content) for content in contents))
    while not writing.done():
        assert await store.get_blob("x") in contents
    await writing
    assert await store.get_blob("x") in contents
    await store.put_blob("x", b"last")
    assert await store.get_blob("x") == b"last"
    await store.delete_blob("x")
    assert await store.get_blob("x") is None
