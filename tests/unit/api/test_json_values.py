"""What callers may store as JSON: what is let in can be sent to devices, and is read there as it was."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.api.json_values import plain_json
from model_deployment.core.devices import DeviceCommand
from model_deployment.devices.outbox import command_frame
from model_deployment.gate import loads

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def nested(levels: int, kind: type) -> Any:
    """So many arrays or objects within each other."""
    value: Any = 1
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value


def sent(value: Any) -> Any:
    """A value as a device reads it."""
    command = DeviceCommand(1, 2, "name", value, datetime(2026, 1, 31, tzinfo=UTC), "ann")
    return loads(command_frame(command).encode())["value"]


@given(ANYTHING)
def test_whatever_is_let_in_reaches_devices_as_it_was(value: Any) -> None:
    try:
        plain_json(value)
    except ValueError:
        return
    assert sent(value) == value


@pytest.mark.parametrize("kind", [list, dict])
def test_levels(kind: type) -> None:
    assert sent(plain_json(nested(32, kind))) == nested(32, kind)
    for levels in (33, 300, 500):
        with pytest.raises(ValueError, match="nested too deeply"):
            plain_json(nested(levels, kind))


@pytest.mark.parametrize("sign", [1, -1])
def test_whole_numbers(sign: int) -> None:
    most = sign * (2**53 - 1)
    assert sent(plain_json({"a": [most]})) == {"a": [most]}
    for beyond in (most + sign, sign * 2**64, sign * 10**400):
        with pytest.raises(ValueError, match="send it as a text"):
            plain_json({"a": [beyond]})
