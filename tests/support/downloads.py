"""A registry that hands out files, for the tests of the cache, and a look at what came of them."""

import asyncio
from pathlib import Path

NAME = "diabetes-1-1700000000000"
FILES = {"MLmodel": b"flavors: {}", "model.pkl": b"\x80weights", "code/lib/a.py": b"A = 1"}


class Source:
    """A registry that hands out files, and counts."""

    def __init__(self, files: dict[str, bytes] = FILES) -> None:
        self.files = dict(files)
        self.downloads = 0
        self.error: Exception | None = None
        #: Downloads end when this is set.
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def download(self, destination: Path) -> Path:
        self.downloads += 1
        for name, content in self.files.items():
            path = destination / "inner" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.begun.set()
        await self.gate.wait()
        if self.error:
            raise self.error
        return destination / "inner"


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def entries(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def flip(entry: Path) -> None:
    """One bit of one byte, in place."""
    path = entry / "model" / "model.pkl"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
