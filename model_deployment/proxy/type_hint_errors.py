"""Extracts why input does not fit a model's type hint from MLflow's message, which repeats the data. Pure.

The message is nested: MLflow's own words around the representation of a list of pairs, each of some data
and of the error of Pydantic, or of MLflow, about this data (``mlflow.types.type_hints``).
"""

import re

#: How messages of the type hint check begin; a model's own messages begin differently.
_MLFLOW = re.compile(
    r"Failed to validate (?:the input )?data against (?:the )?type hint `"
    r"|Data doesn't match type hint, error: "
    r"|Expecting example to be a dictionary or pydantic model instance for Pydantic type hint, got "
    r"|Only `list\[\.\.\.\]` type hint supports pandas DataFrame input "
    r"|Expected model input to contain at least one string column"
    r"|Invalid dictionary input for a (?:Chat|Responses)Agent\. "
    r"|Expected (?:list|dict|type [\w.\[\], |]{1,100}), but got \w+\Z"
)
_HINT = re.compile(r"type hint `([^`]{1,200})`")
#: Pydantic's two lines for each error, however often their line ends are escaped.
_PYDANTIC = re.compile(r"(?:\n|\\+n)([^\s\\][^\n\\]{0,200})(?:\n|\\+n)  ([^\n]{1,300}?) \[type=")
_PLAIN = re.compile(
    r"Expected (?:list|dict|type [\w.\[\], |]{1,100}), but got \w+"
    r"|Expected model input to contain at least one string column"
    r"|Key must be a string, got \w+"
    r"|Expecting example to be a dictionary[^,]*, got <class '[\w.]+'>"
)
_CLASS = re.compile(r"<class '([\w.]+)'>")
_OTHER = ". Error: "
#: Characters of the message that are searched, and reasons that are reported.
_SEARCHED, _REASONS = 20_000, 5


def type_hint_error(message: str) -> str | None:
    """The reason in MLflow's words; None if the message is not from the check of a type hint."""
    if not _MLFLOW.match(message):
        return None
    text = message[:_SEARCHED]
    hint = _HINT.search(text)
    found = [f"{place}: {what}" for place, what in _PYDANTIC.findall(text)]
    found = found or [_CLASS.sub(r"\1", reason) for reason in _PLAIN.findall(text)]
    reasons = list(dict.fromkeys(found))[:_REASONS]
    if not reasons and _OTHER in text:
        reasons = [text.partition(_OTHER)[2]]
    where = f"the model's type hint {hint[1]}" if hint else "the model's type hint"
    return f"the input does not fit {where}: " + ("; ".join(reasons) or "MLflow gives no details")
