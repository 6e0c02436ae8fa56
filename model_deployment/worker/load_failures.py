"""Which failures to load a model another try cannot mend: a closed list, and what speaks against it.

A missing module, a missing attribute, a wrong type or value, a pickle that cannot be read and a file that
is not among the model's own are the same in the next process. Whatever has to do with a network, a disk, a
lock, memory or a device may be over by then, also where an exception of another kind was made of it. What
is not known is tried again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

#: Exit status of a process whose model cannot be loaded, now or later (EX_CONFIG of sysexits.h).
STATUS = 78

#: Names of exceptions that tell of the code, and nothing of the moment, whatever their words.
_OF_CODE = frozenset(
    (
        "ImportError", "ModuleNotFoundError", "AttributeError", "NameError", "UnboundLocalError",
        "TypeError", "SyntaxError", "IndentationError", "TabError", "NotImplementedError",
        "UnpicklingError",
    )
)  # fmt: skip
#: All that are the same each time, with what derives from them where that is known.
LASTING = _OF_CODE | {
    "ZipImportError", "AssertionError", "LookupError", "KeyError", "IndexError", "ValueError",
    "UnicodeError", "UnicodeDecodeError", "UnicodeEncodeError", "ArithmeticError", "ZeroDivisionError",
    "OverflowError", "RecursionError", "PickleError", "BadZipFile", "BadGzipFile", "LZMAError",
    "NotADirectoryError", "IsADirectoryError",
    # Of pickles and archives that are too short, and of zlib, struct and others that have one name for it.
    "EOFError", "error",
    # Codes of MLflow's own exception.
    "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST",
}  # fmt: skip
_MISSING = "FileNotFoundError"
#: OSError, from which all of these derive, is none of its own: it tells of anything.
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
#: What is said of a pickle or an archive that does; of a pipe to another process nothing is.
_ENDS_EARLY = re.compile(r"out of input|end-of-stream|truncated", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RaisedException:
    """One exception."""

    #: Of its class, and of those that it derives from as far as they are known.
    names: tuple[str, ...]
    words: str
    #: The file it is about, if it is about one.
    path: str = ""
    #: The one before it in the chain was raised from it.
    caused: bool = False


def lasts(chain: Sequence[RaisedException], model: str) -> bool:
    """Whether another start would fail in the same way.

    Args:
        chain: the exception that ended it, and behind it those that led to it.
        model: what the path of a file has in it that is among the model's own.
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
    """The status to exit with after this, while a model was loaded."""
    return STATUS if lasts(chain_of(error), model) else 1
