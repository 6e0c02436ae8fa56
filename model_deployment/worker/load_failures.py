"""Which failures to load a model would repeat at the next start: a closed list, and what overrules it.

A missing module or attribute, a wrong type or value, an unreadable pickle and a missing file of the model
itself are the same in the next process. A failure of a network, a disk, a lock, memory or a device may be
over by then, also where it was turned into an exception of another kind. After an unknown failure the start
is repeated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Exit status of a process whose model cannot be loaded by any start (EX_CONFIG of sysexits.h).
STATUS = 78

#: Exceptions that are due to the code and not to the moment, whatever their messages.
_OF_CODE = frozenset(
    (
        "ImportError", "ModuleNotFoundError", "AttributeError", "NameError", "UnboundLocalError",
        "TypeError", "SyntaxError", "IndentationError", "TabError", "NotImplementedError",
        "UnpicklingError",
    )
)  # fmt: skip
#: All exceptions that repeat, with known subclasses.
LASTING = _OF_CODE | {
    "ZipImportError", "AssertionError", "LookupError", "KeyError", "IndexError", "ValueError",
    "UnicodeError", "UnicodeDecodeError", "UnicodeEncodeError", "ArithmeticError", "ZeroDivisionError",
    "OverflowError", "RecursionError", "PickleError", "BadZipFile", "BadGzipFile", "LZMAError",
    "NotADirectoryError", "IsADirectoryError",
    # Of pickles and archives that are too short; "error" is that of zlib, struct and others.
    "EOFError", "error",
    # Codes of MLflow's own exception.
    "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST",
}  # fmt: skip
_MISSING = "FileNotFoundError"
#: Subclasses of OSError that are due to the model's files; OSError itself may have any cause.
_FILES = frozenset({_MISSING, "NotADirectoryError", "IsADirectoryError", "BadGzipFile"})
_PASSING_NAMES = re.compile(
    r"Connect|Time(d)?_?[Oo]ut|HTTP|URL|SSL|Socket|Retr(y|ies)|Unavailable|Operational|Memory|Throttl|Busy|Lock"
    r"|Request|Rest|Remote|Cuda|Accelerator|gaierror|BrokenPipe|BlockingIO|Interrupted|PermissionError"
    r"|ProcessLookup|ChildProcess|IncompleteRead|TEMPORARILY|INTERNAL_ERROR|LIMIT_EXCEEDED"
)
_PASSING_WORDS = re.compile(
    r"out of memory|cannot allocate|CUDA|cuDNN|already in use|timed? ?out|temporar|connect|unreachable"
    r"|locked|busy|too many|try again|stale file|no space left|input/output error",
    re.IGNORECASE,
)
#: Messages about a pickle or an archive that ends early; that of a closed pipe is empty.
_ENDS_EARLY = re.compile(r"out of input|end-of-stream|truncated", re.IGNORECASE)


@dataclass(frozen=True)
class RaisedException:
    """One exception."""

    #: Of its class, and of the base classes as far as they are known.
    names: tuple[str, ...]
    words: str
    #: The file that the exception names, if any.
    path: str = ""
    #: The exception before this one in the chain was raised from it.
    caused: bool = False


def lasts(chain: Sequence[RaisedException], model: str) -> bool:
    """Whether another start would fail in the same way.

    Args:
        chain: the exception that ended the process, and behind it those that led to it.
        model: a part of the path of every file of the model.
    """
    if not chain or any(_passes(one) for one in chain):
        return False
    causes = [chain[0]]
    for one in chain[1:]:
        if not one.caused:
            break
        causes.append(one)
    return any(_lasts(one, model) for one in causes)


def _passes(one: RaisedException) -> bool:
    plain_os_error = not _FILES.intersection(one.names) and {"OSError", "IOError"} & {*one.names}
    return bool(
        plain_os_error
        or ("EOFError" in one.names and not _ENDS_EARLY.search(one.words))
        or any(_PASSING_NAMES.search(name) for name in one.names)
        or (not (_OF_CODE | _FILES).intersection(one.names) and _PASSING_WORDS.search(one.words))
    )


def _lasts(one: RaisedException, model: str) -> bool:
    if _MISSING in one.names:
        return one.path != "" and (model in one.path or not one.path.startswith("/"))
    return bool(LASTING.intersection(one.names))


def chain_of(error: BaseException) -> list[RaisedException]:
    """An exception and those that led to it, as a traceback shows them."""
    chain: list[RaisedException] = []
    seen: set[int] = set()
    caused = False
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        code = getattr(following, "error_code", None)
        names = [kind.__name__ for kind in type(following).__mro__]
        chain.append(
            RaisedException(
                tuple([*names, code] if isinstance(code, str) else names),
                str(following),
                str(getattr(following, "filename", None) or ""),
                caused,
            )
        )
        caused = following.__cause__ is not None
        context = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or context
    return chain


def status(error: BaseException, model: str) -> int:
    """The exit status of a process whose model could not be loaded."""
    return STATUS if lasts(chain_of(error), model) else 1
