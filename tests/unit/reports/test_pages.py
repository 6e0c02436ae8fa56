"""Pages of reports in the store: what all of them share is there once, and old pages stay readable."""

import gzip
from pathlib import Path
from typing import Any, cast

from model_deployment.degradation import report_files
from model_deployment.documents.owner_view import DocumentSource
from model_deployment.reports import service
from model_deployment.reports.inputs import InputWriter
from model_deployment.reports.service import Reporter

LIBRARY = "<script>" + "library " * 10_000 + "</script>"


class Blobs:
    """A store with nothing but blobs."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}

    async def opened(self) -> "Blobs":
        return self

    async def put_blob(self, id: str, content: bytes) -> None:
        self.found[id] = content

    async def get_blob(self, id: str) -> bytes | None:
        return self.found.get(id)


def reporter(blobs: Blobs, work: Path) -> Reporter:
    async def nothing(*_: Any) -> None:
        return None

    store = cast(DocumentSource, blobs)
    return Reporter(store, cast(InputWriter, None), work=work, on_report=nothing)


async def test_the_library_is_stored_once_and_joined_again(tmp_path: Path) -> None:
    blobs = Blobs()
    for id in ("one", "two"):
        folder = tmp_path / id
        folder.mkdir()
        report_files.write_page(folder, f"<p>{id}</p>")
        report_files.write_evidently(folder, f"<h1>{id}</h1>{LIBRARY}")
        await service._store_pages(cast(Any, blobs), id, folder)
    assert len(blobs.found) == 5
    it = reporter(blobs, tmp_path)
    for id in ("one", "two"):
        assert gzip.decompress(await it.page(id) or b"").decode() == f"<p>{id}</p>"
        assert await it.evidently(id) == f"<h1>{id}</h1>{LIBRARY}"
        assert await it.has_evidently(id)


async def test_a_page_of_an_earlier_release_has_no_page_by_evidently(tmp_path: Path) -> None:
    blobs = Blobs()
    blobs.found["old"] = gzip.compress(b"<p>all in one</p>")
    it = reporter(blobs, tmp_path)
    assert await it.page("old") == blobs.found["old"]
    assert await it.evidently("old") is None
    assert not await it.has_evidently("old")
