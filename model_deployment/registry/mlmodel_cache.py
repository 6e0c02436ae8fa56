"""Remembers what ``MLmodel`` files say, read once for each version of the files.

Reading a large signature takes a tenth of a second, for which the event loop must not stop. So the first
caller reads on a thread, and later callers find the result here.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar, cast

from model_deployment.core.model_kind import ModelKind
from model_deployment.core.options import Validation
from model_deployment.gate import Gate
from model_deployment.registry.mlmodel import MLmodelReader

T = TypeVar("T")

#: Results that are remembered, and bytes of the files whose example is.
_ENTRIES, _LARGEST = 512, 256 * 1024
_HOLD_EXAMPLES = frozenset({"read", "example"})


class MLmodelCache:
    """A :class:`MLmodelReader` that remembers. Thread-safe."""

    def __init__(self, reader: MLmodelReader) -> None:
        self._reader = reader
        self._known: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, model_path: Path) -> tuple[dict[str, Any] | None, Any, Any]:
        """As :meth:`MLmodelReader.read`; the result is shared and must not be changed."""
        return self._once("read", model_path, lambda: self._reader.read(model_path))

    def example(self, model_path: Path) -> Any:
        return self._once("example", model_path, lambda: self._reader.example(model_path))

    def comparable(self, model_path: Path) -> Any:
        """As :meth:`MLmodelReader.comparable`; not remembered: it is asked for once in a launch."""
        return self._reader.comparable(model_path)

    def flavors(self, model_path: Path) -> Any:
        """As :meth:`MLmodelReader.flavors`; the result is shared and must not be changed."""
        return self._once("flavors", model_path, lambda: self._reader.flavors(model_path))

    def kind(self, model_path: Path) -> ModelKind:
        return self._once("kind", model_path, lambda: self._reader.kind(model_path))

    def gate(self, model_path: Path, validation: Validation) -> Gate:
        def make() -> Gate:
            return self._reader.gate(model_path, validation)

        return self._once(("gate", validation), model_path, make)

    def _once(self, what: Hashable, path: Path, make: Callable[[], T]) -> T:
        stamps = _file_stamps(path)
        if not stamps or (what in _HOLD_EXAMPLES and sum(size for *_, size in stamps) > _LARGEST):
            return make()
        key = (what, str(path), stamps)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return cast(T, self._known[key])
        made = make()
        with self._lock:
            self._known[key] = made
            while len(self._known) > _ENTRIES:
                self._known.popitem(last=False)
        return made


def _file_stamps(path: Path) -> tuple[tuple[int, int, int], ...]:
    """Distinguishes the versions of the files at a path; empty if there is no model."""
    try:
        files = [(path / "MLmodel").stat(), *(file.stat() for file in path.glob("*.json"))]
    except OSError:  # not there yet, or just being replaced
        return ()
    return tuple((file.st_ino, file.st_mtime_ns, file.st_size) for file in files)
