"""How a launch ended, told from its exit status and its log; and what another try cannot mend."""

import asyncio
import gzip
import lzma
import pickle
import sqlite3
import traceback
import zipfile
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.core.domain import LOST, Exit
from model_deployment.core.hints import advice, with_advice
from model_deployment.runtime.exit_reasons import explain, of_status
from model_deployment.worker.load_failures import STATUS, chain_of, lasts, status
from tests.support.cases import each

MODEL = "wine-1-1700000000000"
FOLDER = f"/data/models/{MODEL}"
WRAPPER = (
    "Traceback (most recent call last):\n"
    '  File "mlflow/pyfunc/backend.py", line 326, in serve\n'
    "    raise Exception(\n"
    "Exception: Command '['bash', '-c', 'exec uvicorn --port 9']' returned non zero return code. "
    "Return code = {}\n"
)


WARNED = (
    "/lib/python3/site-packages/mlflow/pyfunc/validation.py:187: UserWarning: Add type hints\n"
    "  color_warning(\n"
)


class LicenceError(Exception):
    """A model's own, of which nothing is known."""


class ConfigError(ValueError):
    """A model's own that tells what it is."""


class FeatureStoreUnavailable(ConfigError):
    """And one that may pass."""


def missing(path: str) -> Exception:
    return FileNotFoundError(2, "No such file or directory", path)


def from_(outer: Exception, inner: Exception) -> Exception:
    """Raised from another."""
    with suppress(Exception):
        try:
            raise inner
        except Exception as error:
            raise outer from error
    return outer


def during(outer: Exception, inner: Exception) -> Exception:
    """Raised while another was handled."""
    with suppress(Exception):
        try:
            raise inner
        except Exception:
            raise outer  # noqa: B904 - that is the difference
    return outer


#: The exception, whether another try cannot mend it, and what the reason begins with.
KINDS: list[tuple[Exception, bool, str]] = [
    (
        ModuleNotFoundError("No module named 'xgboost'"),
        True,
        "ModuleNotFoundError: No module named",
    ),
    (
        ImportError("libcudart.so.12: cannot open shared object file"),
        True,
        "ImportError: libcudart",
    ),
    (AttributeError("'Pipeline' object has no attribute 'connect'"), True, "AttributeError: 'Pip"),
    (TypeError("__init__() got an unexpected keyword argument 'n'"), True, "TypeError: __init__"),
    (NameError("name 'spark' is not defined"), True, "NameError: name"),
    (SyntaxError("invalid syntax"), True, "SyntaxError: invalid syntax"),
    (KeyError("API_KEY"), True, "KeyError: 'API_KEY'"),
    (ValueError("unsupported pickle protocol: 5"), True, "ValueError: unsupported"),
    (NotImplementedError(), True, "NotImplementedError"),
    (pickle.UnpicklingError("pickle data was truncated"), True, "UnpicklingError: pickle"),
    (zipfile.BadZipFile("File is not a zip file"), True, "BadZipFile: File"),
    (gzip.BadGzipFile("Not a gzipped file (b'PK')"), True, "BadGzipFile: Not a gzipped file"),
    (lzma.LZMAError("Corrupt input data"), True, "LZMAError: Corrupt input data"),
    (zlib.error("Error -3 while decompressing data"), True, "error: Error -3"),
    (EOFError("Ran out of input"), True, "EOFError: Ran out of input"),
    (EOFError(), False, "EOFError"),
    (asyncio.IncompleteReadError(b"", 5), False, "IncompleteReadError: 0 bytes read"),
    (RecursionError("maximum recursion depth exceeded"), True, "RecursionError: maximum"),
    (missing(f"{FOLDER}/artifacts/weights.bin"), True, "FileNotFoundError: [Errno 2] No such"),
    (missing("weights.bin"), True, "FileNotFoundError: [Errno 2] No such"),
    (missing("/mnt/shared/weights.bin"), False, "FileNotFoundError: [Errno 2] No such"),
    (PermissionError(13, "Permission denied", "/mnt/x"), False, "PermissionError: [Errno 13]"),
    (OSError(5, "Input/output error"), False, "OSError: [Errno 5]"),
    (ConnectionRefusedError(111, "Connection refused"), False, "ConnectionRefusedError: [Errno"),
    (TimeoutError("no answer"), False, "TimeoutError: no answer"),
    (MemoryError(), False, "MemoryError"),
    (sqlite3.OperationalError("database is locked"), False, "OperationalError: database is locked"),
    (RuntimeError("CUDA out of memory. Tried to allocate 20 MiB"), False, "RuntimeError: CUDA out"),
    (RuntimeError("no such thing"), False, "RuntimeError: no such thing"),
    (ValueError("the server is busy, try again"), False, "ValueError: the server is busy"),
    (LicenceError("no licence for\nthis host"), False, "LicenceError: no licence for this host"),
    (
        from_(RuntimeError("cannot load the tokenizer"), ImportError("no 'tokenizers'")),
        True,
        "RuntimeError: cannot load the tokenizer, from ImportError: no 'tokenizers'",
    ),
    (from_(ValueError("no weights"), ConnectionError("reset")), False, "ValueError: no weights"),
    (during(ValueError("no weights"), TimeoutError("no")), False, "ValueError: no weights"),
    (during(RuntimeError("no weights"), KeyError("cache")), False, "RuntimeError: no weights"),
    (during(ModuleNotFoundError("No module named 'b'"), ImportError("a")), True, "ModuleNotFound"),
]


def printed(error: BaseException) -> str:
    """What Python prints at the end of a process that it ends."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    if isinstance(error, ExceptionGroup):
        lines.insert(0, "  + Exception Group Traceback (most recent call last):")
    elif not any(line.startswith("Traceback") for line in lines):
        # It was never raised: as if from a frame.
        lines = ["Traceback (most recent call last):", '  File "m.py", line 1, in load', *lines]
    return "$ mlflow models serve\nloading\n" + "\n".join(lines) + "\n"


@each("error, lasting, begin", KINDS)
@pytest.mark.parametrize("behind", ["", WRAPPER.format(1), "\n\n", "bye\n"])
def test_reason_of_a_failed_load_begins_with_its_exception(
    error: Exception, lasting: bool, begin: str, behind: str
) -> None:
    log = printed(error) + behind
    found = explain(of_status(1), log, loading=True, model=MODEL)
    assert found.reason.startswith(begin.partition(", from")[0])
    assert (begin in found.reason) or behind == "bye\n"
    assert "exited" not in found.reason
    assert found.permanent is lasting


@each("error, lasting, begin", KINDS)
def test_worker_judges_a_failed_load_as_its_log_is_judged(
    error: Exception, lasting: bool, begin: str
) -> None:
    assert lasts(chain_of(error), FOLDER) is lasting
    assert status(error, FOLDER) == (STATUS if lasting else 1)
    ended = of_status(status(error, FOLDER))
    assert explain(ended, printed(error), loading=True, model=MODEL).permanent is lasting


def test_base_classes_of_an_exception_count() -> None:
    assert status(ConfigError("no such column"), FOLDER) == STATUS
    assert status(FeatureStoreUnavailable("no such column"), FOLDER) == 1
    wrapped = from_(LicenceError("see below"), FeatureStoreUnavailable("gone"))
    assert status(wrapped, FOLDER) == 1
    code = LicenceError("m not found")
    code.error_code = "RESOURCE_DOES_NOT_EXIST"  # type: ignore[attr-defined]
    assert status(code, FOLDER) == STATUS
    code.error_code = "TEMPORARILY_UNAVAILABLE"  # type: ignore[attr-defined]
    assert status(code, FOLDER) == 1


def test_circular_chain_of_exceptions_ends() -> None:
    one, other = KeyError("a"), KeyError("b")
    one.__context__, other.__context__ = other, one
    assert len(chain_of(one)) == 2


@pytest.mark.parametrize(
    ("code", "log", "loading", "reason"),
    [
        (
            7,
            "$ x\nstub: cannot load model\n",
            True,
            "the process exited with status 7: stub: cannot",
        ),
        (1, "no gpu, no service\n" + WRAPPER.format(1), True, "status 1: no gpu, no service"),
        (1, WRAPPER.format(-9), True, "the process was killed by SIGKILL"),
        (1, "serving\n" + WRAPPER.format(-11), False, "the process was killed by SIGSEGV: serving"),
        (5, "$ x\n", True, "the process exited with status 5"),
        # An exception that was only written down, long ago, or of a process that works.
        (
            1,
            printed(KeyError("old")) + "line\n" * 31,
            True,
            "the process exited with status 1: line",
        ),
        (3, printed(KeyError("k")), True, "the process exited with status 3: KeyError: 'k'"),
        (1, printed(KeyError("k")), False, "the process exited with status 1: KeyError: 'k'"),
        (-9, "loading\n", True, "the process was killed by SIGKILL: loading"),
        (139, "loading\n", True, "the process was killed by SIGSEGV: loading"),
        (255, "loading\n", True, "the process exited with status 255: loading"),
        (-11, f"$ x\nloading\n{WARNED}", True, "the process was killed by SIGSEGV: loading"),
        (-9, "anything\n", False, "the process was killed by SIGKILL"),
        (-64, "", False, "the process was killed by SIGRTMAX"),
        (-99, "", False, "the process was killed by signal 99"),
    ],
)
def test_reason_of_other_exits(code: int, log: str, loading: bool, reason: str) -> None:
    found = explain(of_status(code), log, loading=loading, model=MODEL)
    assert reason in found.reason
    assert not found.permanent


def test_killed_server_below_its_wrapper_counts_as_killed() -> None:
    log = "serving\n" + WRAPPER.format(-9)
    assert explain(of_status(1), log, loading=False, model=MODEL).code == -9


def test_exit_that_was_not_observed_gets_no_reason() -> None:
    assert explain(LOST, printed(KeyError("k")), loading=False, model=MODEL) == LOST


def test_reason_of_an_exception_group_has_all_exceptions() -> None:
    group = ExceptionGroup("no weights", [KeyError("a"), from_(TypeError("b"), ValueError("c"))])
    found = explain(of_status(1), printed(group), loading=True, model=MODEL)
    assert found.reason.startswith("ExceptionGroup: no weights (2 sub-exceptions) KeyError: 'a'")
    assert "TypeError: b" in found.reason
    assert "+--" not in found.reason


@pytest.mark.parametrize("ended", [1, 3])
def test_reason_shows_no_password_of_an_address(ended: int) -> None:
    # What MODEL_DEPLOYMENT_MODEL_ENV hands to a model stands in its exceptions.
    error = RuntimeError("API request to https://anna:s3cret@mlflow.example/api failed")
    found = explain(of_status(ended), printed(error), loading=True, model=MODEL)
    assert "mlflow.example" in found.reason
    assert "s3cret" not in found.reason


def test_long_reason_is_cut_at_its_end() -> None:
    log = printed(ValueError("shape mismatch: " + "x" * 1000))
    found = explain(of_status(1), log, loading=True, model=MODEL)
    assert found.reason.startswith("ValueError: shape mismatch: x")
    assert len(found.reason) == 300
    assert found.reason.endswith("…")


@given(st.text(), st.integers(0, 255), st.booleans())
def test_any_log_gives_a_reason(log: str, code: int, loading: bool) -> None:
    found = explain(of_status(code), log, loading=loading, model=MODEL)
    assert found.reason
    assert isinstance(found, Exit)


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("ModuleNotFoundError: No module named 'xgboost' (another start would fail", "uv"),
        ("RuntimeError: no, from ImportError: No module named 'x'", "not installed"),
        ("AttributeError: 'A' object has no attribute 'b'", "version differs"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'x'", "Log the file"),
        ("ConnectionRefusedError: [Errno 111] Connection refused", "MODEL_ENV"),
        ("MemoryError", "memory"),
        ("LicenceError: no registry, no artifacts, no free port", "own code"),
        ("LicenceMissing: no artifacts (gave up after 5 tries)", "own code"),
        ("NoWeights (gave up after 5 tries)", "own code"),
        ("error: Error -3 while decompressing data", "own code"),
        ("the process was killed by SIGKILL", "memory"),
        ("the process was killed by SIGSEGV: x", "native code"),
        ("its process is stopped (SIGSTOP)", "SIGSTOP"),
        ("undeployed", ""),
        ("verifying the local artifacts", ""),
    ],
)
def test_each_reason_has_a_hint(reason: str, word: str) -> None:
    assert word in advice(reason)
    assert bool(advice(reason)) == bool(word)
    told = with_advice(f"cannot: {reason}", reason)
    assert told.startswith(f"cannot: {reason}")
    assert told.endswith(advice(reason) or reason)
