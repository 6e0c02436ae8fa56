"""A header of MLflow's answer to a failed prediction: the cause, where the answer does not say it."""

import re
from traceback import walk_tb

FAULT = b"x-model-deployment-fault"
#: The value where a check of the input has a bug.
CHECK = b"check"
#: Begins the value where JSON cannot hold the model's answer; the reason follows.
UNWRITABLE = b"answer: "
#: Begins the value where the input does not fit the signature, and the model failed; the reason follows.
UNFIT = b"input: "

#: Functions that write an answer: MLflow's, and those of ``fast_path`` and ``streaming``.
_WRITERS = frozenset({
    "predictions_to_json", "unwrapped_predictions_to_json", "encode_answer", "encode_value",
})  # fmt: skip
_NO_TYPE = re.compile(r"Object of type (\S{1,100}) is not JSON serializable")
_NO_KEY = re.compile(r"keys must be str, int, float, bool or None, not (\S{1,100})")
#: Begins MLflow's message where the check of a type hint raised an exception that is not MLflow's.
_CHECKING = "Failed to validate the input data against the type hint"


def unwritable(error: Exception) -> bytes:
    """The header's value for an answer that cannot be written; empty if another step failed."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    if not any(frame.f_code.co_name in _WRITERS for frame in frames):
        return b""
    return UNWRITABLE + _why(error).encode("ascii", "backslashreplace")


def is_a_bug_of_a_check(error: BaseException, message: str) -> bool:
    """Whether a validator of the model has a bug, rather than refusing the input.

    Pydantic takes ValueError and AssertionError for a refusal; MLflow words all other exceptions alike.
    """
    return (
        _CHECKING in message
        and error.__context__ is not None
        and not isinstance(error.__context__, ValueError)
    )


def _why(error: Exception) -> str:
    text = str(error)
    if found := _NO_TYPE.search(text):
        return f"it contains a value of type {found[1]}"
    if found := _NO_KEY.search(text):
        return f"it contains a dict with a key of type {found[1]}"
    if isinstance(error, RecursionError):
        return (
            "it is nested too deeply, or has a NumPy type without a Python equivalent (longdouble)"
        )
    if isinstance(error, ValueError) and "Circular" in text:
        return "it contains itself"
    return f"{type(error).__name__} while it was written"
