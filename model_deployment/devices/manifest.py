"""The manifest of a release: what devices load, and how they try it. Pure.

``docs/reference/device-protocol.md`` says what each member means. What is signed is the text, so a text is
never made a second time from its parts.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from model_deployment.core.errors import InvalidRequest
from model_deployment.core.names import ModelKey

FORMAT = 1
#: The first agent that understands this format.
MINIMUM_AGENT = "0.1.0"
#: Folders of the files: of the model, and of its ONNX form.
MODEL, ONNX = "model", "onnx"
#: Types of the inputs of an ONNX form.
INPUT_TYPES = frozenset({"float32", "float64", "int32", "int64", "bool", "string"})
#: Characters of a text that a device gets in one frame of 1 MiB, in which each quote takes two.
MOST_CHARACTERS = 600_000

_SHA256 = re.compile("[0-9a-f]{64}")
_VERSION = re.compile(r"\d{1,5}\.\d{1,5}\.\d{1,5}", re.ASCII)
#: Characters of a path, and bytes of one of its names, as file systems have them.
_MOST_PATH, _MOST_NAME = 1024, 255


class UnfitRelease(InvalidRequest, title="Cannot be released"):
    """A model cannot be released to devices, for what its files are."""


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """A file that devices load.

    Attributes:
        path: relative, with ``/``.
        size: in bytes.
        sha256: 64 lower-case hexadecimal digits.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OnnxInput:
    """What an input of an ONNX form takes: these columns of the rows, or the tensor (``columns`` None)."""

    name: str
    columns: tuple[str, ...] | None
    type: str


@dataclass(frozen=True, slots=True)
class OnnxForm:
    """How ``onnx/model.onnx`` is called. The first output is the prediction."""

    inputs: tuple[OnnxInput, ...]
    outputs: tuple[str, ...]
    #: Largest difference of a predicted number from that of the model itself, on the example.
    max_difference: float

    @classmethod
    def read(cls, found: Any) -> Self:
        """The form in a parsed JSON object.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is none.
        """
        inputs = tuple(
            OnnxInput(
                str(one["name"]),
                None if one["columns"] is None else tuple(map(str, one["columns"])),
                one["type"],
            )
            for one in found["inputs"]
        )
        for one in inputs:
            if one.type not in INPUT_TYPES:
                raise ValueError(f"the input {one.name[:80]!a} has the unknown type {one.type!a}")
        outputs = tuple(map(str, found["outputs"]))
        if not inputs or not outputs:
            raise ValueError("its ONNX form has no inputs or no outputs")
        difference = float(found["max_difference"])
        if not 0 <= difference < math.inf:
            raise ValueError(f"its ONNX form differs by {difference}")
        return cls(inputs, outputs, difference)


@dataclass(frozen=True, slots=True)
class NoOnnxForm:
    """Why there is no ONNX form."""

    why_not: str


@dataclass(frozen=True, slots=True)
class ExampleAnswer:
    """What the model answered for its example.

    Attributes:
        predictions: as MLflow's scoring protocol has them; what is no number is null.
        tolerance: of numbers, and relative to those above 1.
    """

    predictions: Any
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseManifest:
    """The parts of a manifest."""

    project: str
    number: int
    key: ModelKey
    created: datetime
    expires: datetime
    files: tuple[ReleaseFile, ...]
    onnx: OnnxForm | NoOnnxForm
    example: str | None = None
    answer: ExampleAnswer | None = None
    reverts: int | None = None
    minimum_agent: str = MINIMUM_AGENT

    def text(self) -> str:
        """The text that is signed: canonical JSON.

        Raises:
            UnfitRelease: a path cannot be used, or the text is too long for a device.
        """
        for file in self.files:
            if why := unsafe(file.path):
                raise UnfitRelease(
                    f"cannot release {self.key}: its file {file.path[:200]!a} {why}; register the model "
                    "with other file names"
                )
        text = canonical(self._as_dict())
        if len(text) > MOST_CHARACTERS:
            raise UnfitRelease(
                f"cannot release {self.key}: the manifest of its {len(self.files)} files has {len(text)} "
                f"characters, and a device takes {MOST_CHARACTERS}; put the files into an archive"
            )
        return text

    def _as_dict(self) -> dict[str, Any]:
        onnx: dict[str, Any]
        match self.onnx:
            case NoOnnxForm(why_not):
                onnx = {"why_not": why_not}
            case OnnxForm(inputs, outputs, difference):
                onnx = {
                    "inputs": [
                        {"name": one.name, "columns": one.columns, "type": one.type}
                        for one in inputs
                    ],
                    "outputs": outputs,
                    "max_difference": difference,
                }
        answer = self.answer
        return {
            "format": FORMAT,
            "project": self.project,
            "number": self.number,
            "model": self.key.model,
            "version": self.key.version,
            "created": _milliseconds(self.created),
            "expires": _milliseconds(self.expires),
            "minimum_agent": self.minimum_agent,
            "files": [
                {"path": one.path, "size": one.size, "sha256": one.sha256} for one in self.files
            ],
            "onnx": onnx,
            "example": self.example,
            "answer": answer and {"predictions": answer.predictions, "tolerance": answer.tolerance},
            "reverts": self.reverts,
        }

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of :meth:`text`.

        Raises:
            ValueError: it is no manifest of this format; the message says what is wrong.
        """
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise ValueError(f"its format is {found['format']!a}, not {FORMAT}")
            files = tuple(_file(one) for one in found["files"])
            if len({one.path for one in files}) < len(files):
                raise ValueError("two files have the same path")
            example, minimum = found["example"], found["minimum_agent"]
            if example is not None and example not in {one.path for one in files}:
                raise ValueError("its example is none of its files")
            if not _VERSION.fullmatch(minimum):
                raise ValueError(f"{minimum!a} is no version of an agent")
            answer, reverts = found["answer"], found["reverts"]
            return cls(
                project=str(found["project"]),
                number=_whole(found["number"], 1),
                key=ModelKey.addressed(found["model"], _whole(found["version"], 1)),
                created=_moment(found["created"]),
                expires=_moment(found["expires"]),
                files=files,
                onnx=_onnx(found["onnx"]),
                example=example,
                answer=None
                if answer is None
                else ExampleAnswer(answer["predictions"], float(answer["tolerance"])),
                reverts=None if reverts is None else _whole(reverts, 1),
                minimum_agent=minimum,
            )
        except (KeyError, TypeError, AttributeError, InvalidRequest, OverflowError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"cannot read the manifest: {what}") from error
        except ValueError as error:
            raise ValueError(f"cannot read the manifest: {error}") from error


def canonical(value: Any) -> str:
    """Canonical JSON: keys sorted, no spaces, ASCII only.

    Raises:
        ValueError: it has a number that JSON has not (NaN, infinity).
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def unsafe(path: str) -> str:
    """Why a path must not be used below a folder, in words; empty if it may be."""
    names = path.split("/")
    if not path.isprintable() or "\\" in path:
        return "has characters that not every file system takes"
    if len(path) > _MOST_PATH or any(len(name.encode()) > _MOST_NAME for name in names):
        return "is too long"
    if any(name in ("", ".", "..") for name in names):
        return "is no plain relative path"
    return ""


def finite(value: Any) -> Any:
    """A JSON value in which numbers that JSON has not (NaN, infinity) are null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): finite(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [finite(one) for one in value]
    return value


def wanted_blobs(texts: Sequence[str]) -> Iterator[str]:
    """The digests of all files that manifests name, some more than once."""
    for text in texts:
        for file in ReleaseManifest.parse(text).files:
            yield file.sha256


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _moment(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(_whole(milliseconds, 0) / 1000, UTC)


def _whole(value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{value!a} is no whole number from {least} on")
    return value


def _file(found: Any) -> ReleaseFile:
    file = ReleaseFile(found["path"], _whole(found["size"], 0), found["sha256"])
    if why := unsafe(file.path):
        raise ValueError(f"the path {file.path[:200]!a} {why}")
    if not _SHA256.fullmatch(file.sha256):
        raise ValueError(f"{file.sha256[:80]!a} is no SHA-256")
    return file


def _onnx(found: Any) -> OnnxForm | NoOnnxForm:
    if "why_not" in found:
        return NoOnnxForm(str(found["why_not"]))
    return OnnxForm.read(found)
