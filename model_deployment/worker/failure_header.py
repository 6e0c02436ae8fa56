"""What went wrong in a prediction, beyond what MLflow's own answer tells of it: a header of that answer."""

import re
from types import TracebackType

#: The header, in which nothing is said that MLflow's own answer says.
FAULT = b"x-model-deployment-fault"
#: Its value where a check of the input failed itself.
CHECK = b"check"
#: How it begins where the model's answer is nothing that JSON can hold; the reason follows.
UNWRITABLE = b"answer: "
#: How it begins where the input does not fit the signature, and the model failed; the reason follows.
UNFIT = b"input: "

#: Functions that write an answer: MLflow's, and that of ``fast_path``.
_WRITERS = frozenset({"predictions_to_json", "unwrapped_predictions_to_json", "encode_answer"})
_NO_TYPE = re.compile(r"Object of type (\S{1,100}) is not JSON serializable")
_NO_KEY = re.compile(r"keys must be str, int, float, bool or None, not (\S{1,100})")
#: How MLflow begins where the check of a type hint raised something that is none of its own errors.
_CHECKING = "Failed to validate the input data against the type hint"


def unwritable(error: Exception) -> bytes:
    """The header's value that says why an answer cannot be written; empty if something else went wrong."""
    if not _was_writing(error.__traceback__):
        return b""
    return UNWRITABLE + _why(error).encode("ascii", "backslashreplace")


def is_a_bug_of_a_check(error: BaseException, message: str) -> bool:
    """Whether a validator that the model brings along failed itself, and did not refuse the input.

    Pydantic takes ValueError and AssertionError for a refusal, and MLflow tells everything else alike.
    """
    return (
        _CHECKING in message
        and error.__context__ is not None
        and not isinstance(error.__context__, ValueError)
    )


def _was_writing(trace: TracebackType | None) -> bool:
    while trace is not None:
        if trace.tb_frame.f_code.co_name in _WRITERS:
            return True
        trace = trace.tb_next
    return False


def _why(error: Exception) -> str:
    text = str(error)
    if found := _NO_TYPE.search(text):
        return f"there is a value of type {found[1]} in it"
    if found := _NO_KEY.search(text):
        return f"there is a dict in it with a key of type {found[1]}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or of a NumPy type without a number in Python (longdouble)"
    if isinstance(error, ValueError) and "Circular" in text:
        return "it contains itself"
    return f"{type(error).__name__} while it was written"
