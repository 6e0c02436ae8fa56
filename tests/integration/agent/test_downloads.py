"""Downloads over a line that is cut anywhere, onto a disk that is full, and of files that changed."""

import hashlib
import random
import threading
from pathlib import Path

import pytest
from model_deployment_agent import download
from model_deployment_agent.controller import Address, Controller
from model_deployment_agent.errors import Unreachable, UpdateFailed
from model_deployment_agent.manifest import ReleaseFile
from model_deployment_agent.release_folders import BrokenFile

from tests.support.edge_controller import EdgeController

CONTENT = random.Random(7).randbytes(300_000)


class Loader:
    """Loads one file of a controller."""

    def __init__(self, edge: EdgeController, blobs: Path, content: bytes = CONTENT) -> None:
        edge.token = "mdd_x"
        self.file = ReleaseFile("model/x", len(content), hashlib.sha256(content).hexdigest())
        edge.signer.blobs[self.file.sha256] = content
        self.blobs = blobs
        self.part = blobs / f"{self.file.sha256}.part"
        self.told: list[int] = []
        self.cancelled = threading.Event()
        self._controller = Controller(Address.of(edge.url, insecure=False))

    def load(self) -> bytes:
        """Load what is missing; the whole."""
        download.load(
            self._controller, "mdd_x", "hall", self.file, self.blobs, loaded=self.told.append,
            cancelled=self.cancelled,
        )  # fmt: skip
        return (self.blobs / self.file.sha256).read_bytes()


@pytest.fixture
def loader(edge: EdgeController, tmp_path: Path) -> Loader:
    return Loader(edge, tmp_path)


def test_it_goes_on_at_the_byte_where_it_was_cut(edge: EdgeController, loader: Loader) -> None:
    """Cut at random bytes, a dozen times: each byte is sent once."""
    chance = random.Random(19)
    left = len(CONTENT)
    while left > 30_000:
        cut = chance.choice([1, chance.randrange(1, 40_000)])
        left -= cut
        edge.cuts = [cut]
        with pytest.raises(Unreachable):
            loader.load()
        assert loader.part.stat().st_size == len(CONTENT) - left
    assert loader.load() == CONTENT
    starts = [asked for _, asked in edge.downloads]
    assert starts[0] is None
    assert starts[-1] == f"bytes={len(CONTENT) - left}-"
    assert not loader.part.exists()
    assert loader.told[-1] == len(CONTENT)
    assert loader.told == sorted(loader.told)
    assert (loader.blobs / loader.file.sha256).stat().st_mode & 0o222 == 0


def test_a_server_without_ranges_sends_all_again(edge: EdgeController, loader: Loader) -> None:
    edge.cuts = [1000]
    with pytest.raises(Unreachable):
        loader.load()
    loader.part.write_bytes(b"X" * 2000)  # longer than what the server says has been sent
    edge.ranges = False
    assert loader.load() == CONTENT


@pytest.mark.parametrize(
    "before", [b"", CONTENT[:-1], CONTENT, CONTENT + b"x"], ids=["none", "most", "all", "more"]
)
def test_what_is_there_is_taken_or_replaced(
    edge: EdgeController, loader: Loader, before: bytes
) -> None:
    loader.part.write_bytes(before)
    assert loader.load() == CONTENT
    assert len(edge.downloads) == (before != CONTENT)


@pytest.mark.parametrize("what", ["other", "longer", "shorter", "beginning"])
def test_another_content_is_removed(edge: EdgeController, loader: Loader, what: str) -> None:
    other = {"other": b"X" * len(CONTENT), "longer": CONTENT + b"x", "shorter": CONTENT[:-1]}.get(
        what
    )
    if other is not None:
        edge.instead = lambda digest, content: other
    else:
        loader.part.write_bytes(b"X" * 1000)
    error = Unreachable if what == "shorter" else BrokenFile
    with pytest.raises(error):
        loader.load()
    assert not (loader.blobs / loader.file.sha256).exists()
    edge.instead = lambda digest, content: content
    if what == "shorter":
        assert loader.part.stat().st_size == len(CONTENT) - 1
    else:
        assert not loader.part.exists()
    assert loader.load() == CONTENT


def test_an_empty_file(edge: EdgeController, tmp_path: Path) -> None:
    assert Loader(edge, tmp_path, b"").load() == b""


def test_a_file_that_is_gone(edge: EdgeController, loader: Loader) -> None:
    del edge.signer.blobs[loader.file.sha256]
    with pytest.raises(BrokenFile, match="there is no such file"):
        loader.load()


def test_a_full_disk(loader: Loader) -> None:
    """/dev/full takes no byte, as a disk without space does."""
    loader.part.symlink_to("/dev/full")
    with pytest.raises(UpdateFailed, match=r"cannot write model/x: .*No space left on device"):
        loader.load()
    with pytest.raises(UpdateFailed, match="are free; free some"):
        download.check_space(loader.blobs, [ReleaseFile("model/y", 2**60, "0" * 64)])
    download.check_space(loader.blobs, [loader.file])


def test_it_ends_when_another_release_is_wanted(edge: EdgeController, loader: Loader) -> None:
    edge.hold.set()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            loader.load()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not loader.told:
        thread.join(0.01)
    loader.cancelled.set()
    edge.hold.clear()
    thread.join(10)
    assert [type(error) for error in errors] in ([download.Cancelled], [])
    loader.cancelled.clear()
    assert loader.load() == CONTENT


def test_a_blocked_call_ends_at_once_when_the_agent_ends(
    edge: EdgeController, loader: Loader
) -> None:
    edge.hold.set()
    ended: list[str] = []

    def run() -> None:
        with pytest.raises(Unreachable):
            loader.load()
        ended.append("unreachable")

    thread = threading.Thread(target=run)
    thread.start()
    while not loader.told:
        thread.join(0.01)
    loader._controller.abort()
    thread.join(5)
    assert ended == ["unreachable"]


def test_a_redirect_does_not_carry_the_token_away(edge: EdgeController, loader: Loader) -> None:
    edge.redirect = "http://127.0.0.1:1/elsewhere"
    with pytest.raises(Unreachable, match="answered 307"):
        loader.load()


def test_the_page_of_a_portal_is_no_file(edge: EdgeController, loader: Loader) -> None:
    """Networks answer in place of the controller until somebody logs in; the release is not to blame."""
    edge.portal = b"<html>Welcome to the hotel</html>"
    with pytest.raises(Unreachable, match="not of the controller"):
        loader.load()
    edge.portal = None
    loader.load()
