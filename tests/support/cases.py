"""Many cases in one test: each test takes milliseconds of its own, however little is in it."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def each(names: str, cases: Iterable[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As ``pytest.mark.parametrize``, for tests of which none changes what the next one finds.

    All cases run. The exceptions of those that failed are raised together, each with its case.
    """
    words, given = names.replace(",", " ").split(), [*cases]
    assert given, "there is no case"
    rows = [dict(zip(words, one if len(words) > 1 else (one,), strict=True)) for one in given]

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        def run(**fixtures: Any) -> None:
            failures = _Failures()
            for row in rows:
                with failures.noted(row):
                    test(**fixtures, **row)
            failures.report(len(rows))

        async def run_async(**fixtures: Any) -> None:
            failures = _Failures()
            for row in rows:
                with failures.noted(row):
                    await test(**fixtures, **row)
            failures.report(len(rows))

        chosen: Any = run_async if inspect.iscoroutinefunction(test) else run
        whole: Any = functools.wraps(test)(chosen)
        signature = inspect.signature(test)
        kept = [one for name, one in signature.parameters.items() if name not in words]
        whole.__signature__ = signature.replace(parameters=kept)
        found: Callable[..., Any] = whole
        return found

    return decorate


class _Failures:
    def __init__(self) -> None:
        self._found: list[Exception] = []

    @contextlib.contextmanager
    def noted(self, row: dict[str, Any]) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            error.add_note(f"case: {str(row)[:500]}")
            self._found.append(error)

    def report(self, number: int) -> None:
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            raise ExceptionGroup(f"{len(self._found)} of {number} cases failed", self._found)
