"""The files of a backup besides the databases and the key.

These are versions of training data, ended runs of flows, and what was generated for releases to devices.
"""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from model_deployment.backup.archive import Member, measure
from model_deployment.state.files import give_to_owner
from model_deployment.state.snapshot import sync

_VERSIONS, _RUNS, _BLOBS = "training-data", "flows/requests", "releases/blobs"
#: Names within the data directory, in groups: the SHA-256 of a version, whether it is its data, and the
#: SHA-256 of a file of a release.
_NAME = re.compile(
    rf"{_VERSIONS}/([0-9a-f]{{64}})/(?:(data\.(?:csv|parquet))|version\.json|registry\.json"
    r"|analysis/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\.(?:json|html))"
    rf"|{_RUNS}/[A-Za-z0-9-]{{1,80}}\.(?:json|log)"
    rf"|{_BLOBS}/([0-9a-f]{{64}})",
    re.ASCII,
)
#: Begins the paths of generated files in a manifest.
_GENERATED = "onnx/"
#: States of a run that has ended. One that has not would be started a second time after a restore.
_ENDED = frozenset({"completed", "failed", "crashed", "cancelled"})


def is_sound(name: str, member: Member) -> bool:
    """Whether a member of an archive may be restored under its name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return False
    digest = found[3] or (found[1] if found[2] else None)
    return digest is None or member.sha256 == digest


def generated(manifests: Iterable[str]) -> set[str]:
    """The SHA-256 of what releases have besides the files of the registry, which are fetched again.

    Args:
        manifests: of the releases, as they were signed (docs/reference/device-protocol.md).
    """
    found = set()
    for text in manifests:
        # One that cannot be read keeps no backup from being made.
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            files = json.loads(text)["files"]
            found |= {str(one["sha256"]) for one in files if one["path"].startswith(_GENERATED)}
    return found


def copy(data_dir: Path, folder: Path, blobs: Iterable[str] = ()) -> dict[str, Member]:
    """Put the files into a folder, without a copy where the disk is the same, and describe them.

    A version that is deleted meanwhile may be left out, and so is a file of a release that has changed.

    Args:
        blobs: SHA-256 of files of releases.

    Raises:
        OSError: they cannot be read, or the disk is full.
    """
    members = {}
    for name in (*_names(data_dir), *_blobs(data_dir, blobs)):
        target = folder / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            _link(data_dir / name, target)
            members[name] = measure(target)
    whole = {name.rpartition("/")[0] for name in members if name.endswith("/version.json")}
    return {
        name: one
        for name, one in members.items()
        if (not name.startswith(_VERSIONS) or "/".join(name.split("/")[:2]) in whole)
        and (not name.startswith(_BLOBS) or is_sound(name, one))
    }


def _link(source: Path, target: Path) -> None:
    # Files of versions are replaced and never changed, so that a link stays as it is.
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def _names(data_dir: Path) -> Iterator[str]:
    versions, runs = data_dir / _VERSIONS, data_dir / _RUNS
    for path in sorted(versions.glob("*/**/*")):
        if _NAME.fullmatch(name := path.relative_to(data_dir).as_posix()) and _is_plain(
            path, versions
        ):
            yield name
    for path in sorted(runs.glob("*.json")):
        if _is_plain(path, runs) and _has_ended(path):
            yield f"{_RUNS}/{path.name}"
            if _is_plain(log := path.with_suffix(".log"), runs):
                yield f"{_RUNS}/{log.name}"


def _blobs(data_dir: Path, digests: Iterable[str]) -> Iterator[str]:
    for digest in sorted(digests):
        name = f"{_BLOBS}/{digest}"
        if _NAME.fullmatch(name) and _is_plain(data_dir / name, data_dir / _BLOBS):
            yield name


def _is_plain(path: Path, root: Path) -> bool:
    """Whether it is a file that no link below ``root`` leads to: one could lead anywhere."""
    return path.is_file() and path.resolve() == root.resolve() / path.relative_to(root)


def _has_ended(path: Path) -> bool:
    try:
        record = json.loads(path.read_bytes())
        state = record["settled"] or (record["run"] or {}).get("state")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False
    return state in _ENDED


def place(folder: Path, data_dir: Path) -> None:
    """Put what an archive had into a data directory; what is there already stays."""
    for source in (
        path for name in (_VERSIONS, _RUNS, _BLOBS) for path in folder.glob(f"{name}/*")
    ):
        target = data_dir / source.relative_to(folder)
        if not target.exists():
            for parent in (*target.relative_to(data_dir).parents,)[-2::-1]:
                (data_dir / parent).mkdir(mode=0o700, exist_ok=True)
                give_to_owner(data_dir / parent, data_dir)
            _move(source, target, data_dir)


def _move(source: Path, target: Path, data_dir: Path) -> None:
    try:
        source.rename(target)
        return
    except OSError as error:
        # Versions, and the folder of the flows, may be on a disk or in a volume of their own.
        if error.errno != errno.EXDEV:
            raise
    # Named as an upload that has not ended: the controller sweeps such folders, and reads no such file.
    unfinished = target.with_name(f".incoming-{target.name}.new")
    if source.is_dir():
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(source, unfinished)
    else:
        shutil.copy2(source, unfinished)
    for path in (unfinished, *unfinished.rglob("*")):
        give_to_owner(path, data_dir)
        sync(path)
    unfinished.rename(target)
    sync(target.parent)


def in_words(names: Iterable[str]) -> list[str]:
    """What an archive has, as people read it."""
    found = list(names)
    versions = len({name.split("/")[1] for name in found if name.startswith(_VERSIONS)})
    runs = sum(name.startswith(_RUNS) and name.endswith(".json") for name in found)
    blobs = sum(name.startswith(_BLOBS) for name in found)
    said = [name for name in found if "/" not in name]
    if versions:
        said.append(f"{versions} version{'' if versions == 1 else 's'} of training data")
    if runs:
        said.append(f"{runs} run{'' if runs == 1 else 's'} of flows")
    if blobs:
        said.append(f"{blobs} file{'' if blobs == 1 else 's'} of releases")
    return said
