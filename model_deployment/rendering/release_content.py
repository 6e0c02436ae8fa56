"""What a release brings to devices, in words, from its manifest. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from model_deployment.rendering import numbers


def content_text(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of a word and what there is, for a table.

    Args:
        manifest: parsed, see ``docs/reference/device-protocol.md``.
    """
    try:
        return [
            ("files", _files(manifest["files"])),
            ("ONNX form", _onnx(manifest["onnx"])),
            ("example", _example(manifest)),
        ]
    except KeyError:  # of another format than this program knows
        return []


def _files(files: Sequence[Mapping[str, Any]]) -> str:
    size = numbers.size(sum({one["sha256"]: one["size"] for one in files}.values()))
    return f"{numbers.count(len(files), 'file')}, {size}"


def _onnx(onnx: Mapping[str, Any]) -> str:
    if "why_not" in onnx:
        return f"none: {onnx['why_not']}"
    difference = onnx["max_difference"]
    how = f"by {difference:.1g} at most" if difference else "not at all"
    return f"yes; its answers on the example differ from the model's {how}"


def _example(manifest: Mapping[str, Any]) -> str:
    if manifest["example"] is None:
        return "none: devices try the release without one"
    if manifest["answer"] is None:
        return "devices predict it, and compare with nothing"
    return "devices predict it, and compare with the answer here"
