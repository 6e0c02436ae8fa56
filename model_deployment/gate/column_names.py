"""The names of a signature's columns, and which column a name in a request means.

MLflow saves a column's name as the training data has it: text, or the number that pandas gives to the
columns of an array. It looks names up as Python does: 1 equals 1.0, and the text "1" equals neither.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Name = str | int | float


class ColumnNames:
    def __init__(self, specs: Sequence[Mapping[str, Any]]) -> None:
        #: Whether the columns have names; otherwise their order identifies them.
        self.named = all(spec.get("name") is not None for spec in specs)
        given = [spec["name"] for spec in specs] if self.named else []
        odd = next((one for place, one in enumerate(given) if not _is_found(one, place)), None)
        #: A name that MLflow itself does not find, so that the model cannot be called.
        self.unfindable: str | None = None if odd is None else _text(odd)
        self.names: list[Name] = given if odd is None else list(map(_text, given))
        #: Names for messages, also for columns without names.
        self.labels = list(map(_text, given)) or [str(place) for place in range(len(specs))]
        self.places = {name: place for place, name in enumerate(self.names)}
        #: The names as keys of a JSON object, which can only be text.
        self.keys = self._keys()
        #: Whether a row may be a list: where columns have no names, or not only text for names.
        self.numbered = not self.named or self.names != self.keys
        self.by_key = dict(zip(self.keys, self.names, strict=True))

    def _keys(self) -> list[str]:
        texts = {name for name in self.names if type(name) is str}
        keys = []
        for name in self.names:
            key = name if type(name) is str else _text(name)
            # Beside a column "1" no key means the column 1: only a split frame can name that.
            keys.append(f"\0{key}" if key in texts and type(name) is not str else key)
        return keys

    def place(self, name: Any) -> int | None:
        return self.places.get(name)

    def lookalike(self, label: str) -> str:
        """The name of the other kind (text or number) that looks like this one; empty if there is none."""
        meant = self.by_key.get(label)
        if meant is None:
            return ""
        return f"the {'text' if type(meant) is str else 'number'} {json.dumps(meant)}"


def _is_found(name: Any, place: int) -> bool:
    """Whether MLflow finds a column by this name. To MLflow 0 and "" are no names; NaN equals nothing."""
    if name is False or not isinstance(name, str | int | float):
        return False
    return bool((name or place) == name)


def _text(name: Any) -> str:
    """As a key of a JSON object, and for messages."""
    return name if isinstance(name, str) else json.dumps(name)
