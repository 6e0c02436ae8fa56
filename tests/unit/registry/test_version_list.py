"""Pages of a model's versions."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from model_deployment.registry.run_metrics import RunMetrics
from model_deployment.registry.version_list import VersionRange, read_versions


class Page(list[Any]):
    token: str | None = None


class Client:
    """Versions 1 to 300, without runs, in answers of 100 at most."""

    def __init__(self) -> None:
        self.returned = 0

    def get_registered_model(self, name: str) -> Any:
        return SimpleNamespace(aliases={"champion": "298"})

    def search_model_versions(
        self, filter: str, *, order_by: list[str], max_results: int, page_token: str | None
    ) -> Any:
        assert order_by == ["version_number DESC"]
        _, _, below = filter.partition("version_number < ")
        numbers = range((int(below) if below else 301) - 1, 0, -1)
        start = int(page_token or 0)
        end = start + min(max_results, 100)
        page = Page(
            SimpleNamespace(name="m", version=str(n), status="READY", creation_timestamp=0, run_id=None)
            for n in numbers[start:end]
        )  # fmt: skip
        page.token = str(end) if end < len(numbers) else None
        self.returned += len(page)
        return page


@pytest.mark.parametrize(
    ("wanted", "first", "count"),
    [
        (VersionRange(), 300, 300),
        (VersionRange(50), 300, 50),
        (VersionRange(150, before=200), 199, 150),
        (VersionRange(50, before=3), 2, 2),
        (VersionRange(before=1), None, 0),
    ],
)
def test_a_page_is_read_and_no_more(wanted: VersionRange, first: int | None, count: int) -> None:
    client = Client()
    found = read_versions("m", wanted, RunMetrics(), time.monotonic() + 30, client)
    assert [one.key.version for one in found] == [*range(first or 0, (first or 0) - count, -1)]
    assert client.returned == count
    assert {one.key.version: one.aliases for one in found}.get(298, ["champion"]) == ["champion"]


class ComparesNoNumbers(Client):
    """A server of MLflow 1.30."""

    def search_model_versions(self, filter: str, **named: Any) -> Any:
        if "<" in filter:
            raise Refusal
        return super().search_model_versions(filter, **named)


class Refusal(Exception):
    """In the words of MLflow 1.30."""

    error_code = "INVALID_PARAMETER_VALUE"


def test_server_that_compares_no_numbers_has_its_versions_paged() -> None:
    wanted = VersionRange(3, before=200)
    found = read_versions("m", wanted, RunMetrics(), time.monotonic() + 30, ComparesNoNumbers())
    assert [one.key.version for one in found] == [199, 198, 197]
