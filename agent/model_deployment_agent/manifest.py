"""The manifest of a release: reading it, and whether this device may run it.

Its text is signed as it is, so the signature is checked before anything of it is read. The format is in
``docs/reference/device-protocol.md``.
"""

import base64
import hashlib
import json
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Self

from model_deployment_agent import __version__, ed25519
from model_deployment_agent.errors import ReleaseRefused

MAX_FILES = 10_000
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One file of a release."""

    #: Relative, with ``/``; begins with ``model/`` or ``onnx/``.
    path: str
    #: Bytes.
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A manifest with its signature, as the controller sends it."""

    manifest: str
    #: Base64.
    signature: str
    #: Id of the key.
    key: str

    @classmethod
    def of(cls, found: object) -> Self:
        """Read ``{"manifest", "signature", "key"}``.

        Raises:
            ReleaseRefused: it is something else.
        """
        members = ("manifest", "signature", "key")
        if not isinstance(found, Mapping) or any(
            not isinstance(found.get(one), str) for one in members
        ):
            raise ReleaseRefused(
                "cannot read the release: manifest, signature and key are not all there"
            )
        return cls(found["manifest"], found["signature"], found["key"])

    def as_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return {"manifest": self.manifest, "signature": self.signature, "key": self.key}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a release is."""

    project: str
    number: int
    model: str
    version: int
    #: Milliseconds since 1970.
    created: int
    expires: int
    minimum_agent: str
    files: tuple[ReleaseFile, ...]
    #: JSON; how to call ``onnx/model.onnx``, or why it is not there.
    onnx: Mapping[str, Any]
    #: Path in ``files``.
    example: str | None
    #: JSON: ``predictions`` and ``tolerance``.
    answer: Mapping[str, Any] | None

    @property
    def size(self) -> int:
        """Bytes of all different files."""
        return sum({one.sha256: one.size for one in self.files}.values())

    @property
    def folder(self) -> str:
        """Name of its folder: the same for a manifest that only expires later."""
        listed = [
            [one.path, one.size, one.sha256] for one in sorted(self.files, key=lambda one: one.path)
        ]
        content = [self.model, self.version, listed, self.onnx, self.example, self.answer]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{self.number}-{digest[:12]}"


def number_of(folder: str) -> int:
    """The number of the release of a folder, by its name."""
    return int(folder.partition("-")[0])


def key_id(public: bytes) -> str:
    """The id of a key: the first 16 hexadecimal digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(public).hexdigest()[:16]


def opened(offer: Offer, public: bytes) -> Manifest:
    """Check the signature, then read the manifest.

    Raises:
        ReleaseRefused: the key, the signature or the format is not good; the message says which.
    """
    if offer.key != key_id(public):
        raise ReleaseRefused(
            f"cannot accept the release: it is signed by key {offer.key[:16]!a}, and this device trusts "
            f"{key_id(public)} only; enrol the device again if the controller has a new key"
        )
    try:
        signature = base64.b64decode(offer.signature, validate=True)
        text = offer.manifest.encode()
    except ValueError:
        signature, text = b"", b""
    if not ed25519.verify(public, text, signature):
        raise ReleaseRefused("cannot accept the release: its signature does not fit the manifest")
    try:
        return _read(json.loads(text))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ReleaseRefused(f"cannot read the manifest: {why[:450]}") from error


def check(
    manifest: Manifest, *, project: str, highest: int, running: Container[str | None], now: int
) -> None:
    """Whether this device may run a release whose signature is good.

    Args:
        highest: the highest number that the device has accepted; 0 if none.
        running: folders of what runs or was accepted: these releases are never too low or expired.
        now: milliseconds since 1970, by the clock that is trusted most.

    Raises:
        ReleaseRefused: it may not; the message says why.
    """
    name = f"release {manifest.number}"
    if manifest.project != project:
        raise ReleaseRefused(f"cannot accept {name}: it is of the project {manifest.project!a:.70}")
    if version_tuple(__version__) < version_tuple(manifest.minimum_agent):
        raise ReleaseRefused(
            f"cannot accept {name}: it needs agent {manifest.minimum_agent}, and this one is "
            f"{__version__}; update the agent"
        )
    if manifest.folder in running:
        return
    if manifest.number < highest:
        raise ReleaseRefused(
            f"cannot accept {name}: release {highest} was accepted before; "
            "make a new release of that version"
        )
    if manifest.expires <= now:
        raise ReleaseRefused(
            f"cannot accept {name}: it expired {(now - manifest.expires) // 1000:,} s ago; "
            "check the clocks of the controller and of the device"
        )


def version_tuple(text: str) -> tuple[int, ...]:
    """``major.minor.patch`` as numbers.

    Raises:
        ValueError: it is something else.
    """
    found = _VERSION.fullmatch(text)
    if not found:
        raise ValueError(f"not a version: {text[:30]!a}")
    return tuple(map(int, found.groups()))


def _read(found: Mapping[str, Any]) -> Manifest:
    if found["format"] != 1:
        raise ValueError(f"format {found['format']!a:.20} is not known; update the agent")
    version_tuple(found["minimum_agent"])
    if not isinstance(found["files"], list):
        raise ValueError("files is no list")
    files = tuple(_file(one) for one in found["files"])
    _no_clashes([one.path for one in files])
    example = found["example"]
    if example is not None and example not in {one.path for one in files}:
        raise ValueError("the example is not among the files")
    answer = found["answer"]
    if not isinstance(found["onnx"], Mapping) or not isinstance(answer, Mapping | None):
        raise ValueError("onnx or answer is no object")
    if answer is not None and not isinstance(answer.get("tolerance", 0), int | float):
        raise ValueError("the tolerance of the answer is no number")
    return Manifest(
        project=_text(found["project"]),
        number=_whole(found["number"], 1),
        model=_text(found["model"]),
        version=_whole(found["version"], 1),
        created=_whole(found["created"]),
        expires=_whole(found["expires"]),
        minimum_agent=found["minimum_agent"],
        files=files,
        onnx=found["onnx"],
        example=example,
        answer=answer,
    )


def _file(found: Mapping[str, Any]) -> ReleaseFile:
    path = safe_path(found["path"])
    if not _SHA256.fullmatch(found["sha256"]):
        raise ValueError(f"no SHA-256 of {path[:80]!a}")
    return ReleaseFile(path, _whole(found["size"]), found["sha256"])


def safe_path(path: str) -> str:
    """Check that a path stays inside the folder of its release.

    Raises:
        ValueError: it may not be used.
    """
    parts = path.split("/")
    usable = (
        parts[0] in {"model", "onnx"}
        and len(parts) > 1
        and len(path) <= 1024
        and path.isprintable()  # so there are no halves of characters either
        and all(part not in {"", ".", ".."} and len(part.encode()) <= 255 for part in parts)
        and "\\" not in path
    )
    if not usable:
        raise ValueError(f"the path {path[:60]!a} may not be used")
    return path


def _no_clashes(paths: list[str]) -> None:
    """No path twice, and none that is the folder of another."""
    if len(paths) > MAX_FILES or len(set(paths)) != len(paths):
        raise ValueError("files are too many, or one is there twice")
    folders = {str(above) for path in paths for above in PurePosixPath(path).parents}
    if clash := folders.intersection(paths):
        raise ValueError(f"{min(clash)[:80]!a} is a file and a folder")


def _whole(found: object, least: int = 0) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found < 2**53:
        raise ValueError(f"not a whole number: {found!a:.30}")
    return found


def _text(found: object) -> str:
    if not isinstance(found, str) or not 0 < len(found) <= 500:
        raise ValueError(f"not a name: {found!a:.30}")
    return found
