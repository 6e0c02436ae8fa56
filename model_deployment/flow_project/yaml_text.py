"""Reads YAML so that each value's line is known, and a key that is written twice is refused."""

from collections.abc import Iterator
from typing import Any

import yaml

Path = tuple[str | int, ...]
#: Deeper texts are no settings; the time that a text takes grows with the square of its depth.
_DEEPEST = 12


class InvalidYaml(ValueError):
    """The text is no YAML that is read here."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise InvalidYaml("write the value out: aliases (*name) are not read", _line(event))
        if self._depth >= _DEEPEST:
            raise InvalidYaml("it is nested too deeply", _line(event))
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise InvalidYaml(f"the key {key.value!a} is written twice", _line(key))
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read(text: str) -> tuple[Any, dict[Path, int]]:
    """The value of a text, and the line (from 1) of each value in it by its path.

    Raises:
        InvalidYaml: it is no YAML, has a key twice, an alias, or is nested too deeply.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        return loader.construct_document(node), dict(_lines(node, ()))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(filter(None, (error.context, error.problem)))
        raise InvalidYaml(what, mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise InvalidYaml(str(error).splitlines()[0], None) from None
    except InvalidYaml:
        raise
    except (ValueError, TypeError) as error:  # the 99th of a month, a list as a key
        raise InvalidYaml(f"a value cannot be read: {str(error)[:100]}", None) from None


def _lines(node: yaml.Node, path: Path) -> Iterator[tuple[Path, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            yield below, _line(key)
            yield from _lines(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), _line(value)
            yield from _lines(value, (*path, index))


def _line(at: yaml.Node | yaml.Event) -> int:
    mark = at.start_mark
    return mark.line + 1 if mark else 1
