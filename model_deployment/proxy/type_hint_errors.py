"""What MLflow says of input that does not fit the type hint of a model, without the data it repeats. Pure.

The text comes nested: MLflow's own words around the representation of a list of pairs, each of some data
and of what Pydantic, or MLflow, says of it (``mlflow.types.type_hints``).
"""

import re

#: How the check of a type hint begins to speak; a model's own words begin in another way.
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
#: Pydantic's two lines for each thing that is wrong, however often the ends of lines are escaped.
_PYDANTIC = re.compile(r"(?:\n|\\+n)([^\s\\][^\n\\]{0,200})(?:\n|\\+n)  ([^\n]{1,300}?) \[type=")
_PLAIN = re.compile(
    r"Expected (?:list|dict|type [\w.\[\], |]{1,100}), but got \w+"
    r"|Expected model input to contain at least one string column"
    r"|Key must be a string, got \w+"
    r"|Expecting example to be a dictionary[^,]*, got <class '[\w.]+'>"
)
_CLASS = re.compile(r"<class '([\w.]+)'>")
_OTHER = ". Error: "
#: Characters of the text that are looked at, and reasons that are told.
_LOOKED_AT, _REASONS = 20_000, 5


def type_hint_error(said: str) -> str | None:
    """The reason in MLflow's words; None if this is none of its check of a type hint.

    Args:
        said: what MLflow says, from its beginning.
    """
    if not _MLFLOW.match(said):
        return None
    text = said[:_LOOKED_AT]
    hint = _HINT.search(text)
    found = [f"{place}: {what}" for place, what in _PYDANTIC.findall(text)]
    found = found or [_CLASS.sub(r"\1", reason) for reason in _PLAIN.findall(text)]
    reasons = list(dict.fromkeys(found))[:_REASONS]
    if not reasons and _OTHER in text:
        reasons = [text.partition(_OTHER)[2]]
    where = f"the model's type hint {hint[1]}" if hint else "what the model's type hint says"
    return f"the input does not fit {where}: " + ("; ".join(reasons) or "MLflow says no more")
