"""What cached models say of themselves, read once for each copy of their files.

Reading a large signature takes a tenth of a second, in which the loop that proxies predictions must not
stand still: whoever may be the first to ask does so on a thread, and later calls find it here.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar, cast

from model_deployment.core.options import Validation
from model_deployment.gate import Gate
from model_deployment.registry.mlmodel import MLmodelReader

T = TypeVar("T")

#: What is remembered, of all copies together; and bytes of files of examples that are.
_MOST, _LARGEST = 512, 256 * 1024
_HOLD_EXAMPLES = frozenset({"read", "example"})


class MLmodelCache:
    """A :class:`MLmodelReader` that remembers. Safe to be used by several threads."""

    def __init__(self, description: MLmodelReader) -> None:
        self._description = description
        self._known: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, model_path: Path) -> tuple[dict[str, Any] | None, Any, Any]:
        """As :meth:`MLmodelReader.read`; what is returned is shared, and nobody's to change."""
        return self._once("read", model_path, lambda: self._description.read(model_path))

    def example(self, model_path: Path) -> Any:
        """As :meth:`MLmodelReader.example`."""
        return self._once("example", model_path, lambda: self._description.example(model_path))

    def gate(self, model_path: Path, validation: Validation) -> Gate:
        """As :meth:`MLmodelReader.gate`."""

        def make() -> Gate:
            return self._description.gate(model_path, validation)

        return self._once(("gate", validation), model_path, make)

    def _once(self, what: Hashable, path: Path, make: Callable[[], T]) -> T:
        version = _version(path)
        if not version or (what in _HOLD_EXAMPLES and sum(size for *_, size in version) > _LARGEST):
            return make()
        key = (what, str(path), version)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return cast(T, self._known[key])
        made = make()
        with self._lock:
            self._known[key] = made
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return made


def _version(path: Path) -> tuple[tuple[int, int, int], ...]:
    """Tells the copies that were at a place apart; empty where there is none."""
    try:
        files = [(path / "MLmodel").stat(), *(file.stat() for file in path.glob("*.json"))]
    except OSError:  # not there yet, or just being replaced
        return ()
    return tuple((file.st_ino, file.st_mtime_ns, file.st_size) for file in files)
