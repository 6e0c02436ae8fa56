"""The name of a value as a category, as reports show it."""

from typing import Any

#: Letters of a name.
_MOST = 80


def category_name(value: Any) -> str:
    """Whole numbers without a fraction, truths in lower case, long texts shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = value if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _MOST else text[:_MOST] + "…"
