"""The folders of launches: what a container gets of the file system, and the socket that it serves.

``<root>/<launch>/model`` holds hard links to the artifacts, which therefore stay while the launch lives.
``offer/`` is where the listening socket is handed over. The container has both, read-only. ``serve.sock``,
which callers connect to, is beside them, where no container reaches.
"""

import contextlib
import os
import shutil
import stat
from pathlib import Path

#: Names in the folder of a launch.
MODEL, OFFER, SOCKET, LOGGED = "model", "offer", "serve.sock", "logged"


class LaunchFolders:
    """The folders of an instance."""

    def __init__(self, root: Path) -> None:
        """``root``: absolute; made when it is needed."""
        self.root = root

    def of(self, launch_id: str) -> Path:
        return self.root / launch_id

    def socket(self, launch_id: str) -> str:
        """Path of the socket that callers connect to."""
        return str(self.of(launch_id) / SOCKET)

    def make(self, launch_id: str, model: Path) -> Path:
        """The folder of a launch, with its artifacts.

        Raises:
            OSError: it cannot be made; nothing is left of it.
        """
        folder = self.of(launch_id)
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
        try:
            (folder / OFFER).mkdir()
            (folder / OFFER).chmod(0o755)
            _copy(model, folder / MODEL)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder

    def remove(self, launch_id: str) -> None:
        """Idempotent. Only a full removal counts: what is left is removed by a later call."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.of(launch_id))

    def launches(self) -> list[str]:
        """The ids of launches that have a folder: each launch whose container may exist."""
        with contextlib.suppress(FileNotFoundError):
            return [entry.name for entry in os.scandir(self.root) if entry.is_dir()]
        return []


def _copy(source: Path, target: Path) -> None:
    """Link the files of a folder, and let every user read them: the folder above lets nobody in."""
    target.mkdir()
    target.chmod(0o755)
    top = source.resolve()
    for folder, names, files in os.walk(top):
        inside = target / Path(folder).relative_to(top)
        for name in names:
            if not (Path(folder) / name).is_symlink():
                (inside / name).mkdir()
                (inside / name).chmod(0o755)
        for name in [*files, *(one for one in names if (Path(folder) / one).is_symlink())]:
            _link(Path(folder) / name, inside / name, top)


def _link(file: Path, link: Path, top: Path) -> None:
    if file.is_symlink():
        # One that leaves the artifacts would lead somewhere else in the container.
        if (top / file).resolve().is_relative_to(top):
            link.symlink_to(file.readlink())
        return
    try:
        os.link(file, link, follow_symlinks=False)
    except OSError:  # another file system, or another owner
        shutil.copy2(file, link, follow_symlinks=False)
    mode = link.stat().st_mode
    if not mode & stat.S_IROTH:
        link.chmod(stat.S_IMODE(mode) | 0o444)
