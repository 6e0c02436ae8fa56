"""What a base image is made of, since nothing can be pulled in tests: the Python that runs the tests.

Its interpreter, the shared libraries that this needs, and some of the installed packages with all that they
require.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import IO

from packaging.requirements import Requirement

#: What a base image for stubs has, and one for real models.
SMALL: tuple[str, ...] = ("pip",)
WHOLE: tuple[str, ...] = (
    "mlflow",
    "skops",
    "scikit-learn",
    "uvicorn",
    "uvloop",
    "httptools",
    "orjson",
    "pip",
)
#: Parts of Python that no model needs.
_LEFT_OUT = re.compile(
    r"/(test|tests|idlelib|tkinter|lib2to3|ensurepip|turtledemo)(/|$)|\.a$|/config-3"
)


def write(file: IO[bytes], distributions: Sequence[str], files: Mapping[str, bytes]) -> None:
    """Write an archive with these packages and further files, by their paths, to be read next.

    Args:
        file: empty, with a name.
    """
    with tarfile.open(fileobj=file, mode="w", dereference=True) as archive:
        _add_python(archive)
        for path, content in files.items():
            _text(archive, path.lstrip("/"), content)
    file.flush()
    _append_packages(file.name, distributions)
    file.seek(0)


def archive(files: Mapping[str, bytes]) -> bytes:
    """An archive of files, by their paths."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as made:
        for path, text in files.items():
            _text(made, path.lstrip("/"), text)
    return content.getvalue()


def _add_python(archive: tarfile.TarFile) -> None:
    prefix = Path(sys.base_prefix)
    program = prefix / "bin" / f"python3.{sys.version_info.minor}"
    modules = Path(os.__file__).parent

    def wanted(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if _LEFT_OUT.search(f"/{info.name}") or "/site-packages/" in f"/{info.name}":
            return None
        return _as_root(info)

    archive.add(program, _inside(program), filter=_as_root)
    archive.add(modules, _inside(modules), filter=wanted)
    sleep = Path("/bin/sleep").resolve()
    archive.add(sleep, "usr/local/bin/sleep", filter=_as_root)
    for library in _libraries([program, sleep, *modules.glob("lib-dynload/*.so")]):
        archive.add(library.resolve(), _inside(library), filter=_as_root)
    for name in ("python3", f"python3.{sys.version_info.minor}"):
        _link(archive, f"usr/local/bin/{name}", str(program))
    for folder in ("tmp", "root", "proc", "sys", "dev", "run"):
        info = tarfile.TarInfo(folder)
        info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
        archive.addfile(info)
    _text(archive, "etc/passwd", b"root:x:0:0:root:/root:/usr/sbin/nologin\n")
    _text(archive, "etc/group", b"root:x:0:\n")


def _append_packages(archive: str, distributions: Sequence[str]) -> None:
    """Append them to an archive, with the program that does it in a tenth of Python's time."""
    target = _inside(Path(os.__file__).parent / "site-packages")
    names: dict[str, set[str]] = {}
    for one in _closure(distributions):
        folder = str(one.locate_file(""))
        names.setdefault(folder, set()).update(
            str(file)
            for file in one.files or ()
            if file.parts[0] != ".."
            and not _LEFT_OUT.search(f"/{file}")
            and Path(str(file.locate())).is_file()
        )
    for folder, wanted in names.items():
        command = [
            "tar", "--append", "--file", archive, "--directory", folder, "--dereference",
            "--hard-dereference", "--owner=0", "--group=0", "--numeric-owner", "--mode=a+rX",
            "--transform", f"flags=r;s,^,{target}/,", "--null", "--files-from=-",
        ]  # fmt: skip
        subprocess.run(command, input="\0".join(sorted(wanted)).encode(), check=True)


def _closure(names: Sequence[str]) -> list[metadata.Distribution]:
    """The distributions with all that they require, as far as that is installed."""
    found: dict[str, metadata.Distribution] = {}
    left = [*names]
    while left:
        name = left.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[key] = metadata.distribution(name)
            for text in found[key].requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                    left.append(needed.name)
    return [*found.values()]


def _libraries(programs: Sequence[Path]) -> set[Path]:
    """The shared libraries that these load, and what compiled packages commonly need besides."""
    found: set[Path] = set()
    for program in programs:
        said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
        found |= {Path(path) for path in re.findall(r"(/\S+) \(0x", said.stdout)}
    (libc,) = (path for path in found if path.name == "libc.so.6")
    extra = (
        "libstdc++.so.6",
        "libgcc_s.so.1",
        "libnss_files.so.2",
        "librt.so.1",
        "libpthread.so.0",
        "libdl.so.2",
    )
    for folder in (libc.parent, Path("/usr/lib") / libc.parent.name):
        found |= {folder / name for name in extra if (folder / name).exists()}
    return found


def _inside(path: Path) -> str:
    return str(path).lstrip("/")


def _as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.mode |= 0o444 | (0o111 if info.isdir() else 0)
    return info


def _link(archive: tarfile.TarFile, name: str, target: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    archive.addfile(info)


def _text(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    archive.addfile(info, io.BytesIO(content))
