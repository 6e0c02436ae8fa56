"""Many cases in one test: all of them run, and each that fails is named."""

import inspect

import pytest

from tests.support.cases import each


def test_all_cases_run_and_those_that_fail_are_named() -> None:
    seen = []

    @each("number, word", [(1, "a"), (2, "b"), (3, "c"), (4, "d")])
    def test(folder: str, number: int, word: str) -> None:
        seen.append((folder, number, word))
        assert number % 2

    assert [*inspect.signature(test).parameters] == ["folder"]
    with pytest.raises(ExceptionGroup, match="2 of 4 cases failed") as caught:
        test(folder="f")
    assert seen == [("f", 1, "a"), ("f", 2, "b"), ("f", 3, "c"), ("f", 4, "d")]
    notes = [error.__notes__[-1] for error in caught.value.exceptions]
    assert notes == ["case: {'number': 2, 'word': 'b'}", "case: {'number': 4, 'word': 'd'}"]


async def test_cases_of_coroutines_are_awaited() -> None:
    @each("number", range(3))
    async def test(number: int) -> None:
        assert number != 1

    with pytest.raises(AssertionError) as caught:
        await test()
    assert caught.value.__notes__[-1] == "case: {'number': 1}"


@each("number", [1, 2])
@pytest.mark.parametrize("word", ["a", "b"])
def test_cases_and_parameters_go_together(number: int, word: str) -> None:
    assert f"{number}{word}" in {"1a", "1b", "2a", "2b"}
