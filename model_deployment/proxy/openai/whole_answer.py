"""The body of a model's whole answer, parsed."""

from typing import Any

from model_deployment.core.errors import OddAnswer
from model_deployment.gate import MalformedJson, loads


def parsed(content: bytes) -> Any:
    """
    Raises:
        OddAnswer: it is no JSON.
    """
    try:
        return loads(content)
    except MalformedJson:
        raise OddAnswer("cannot say the answer of this model here: it is no JSON") from None
