"""Which row of the shared limits a deployment has."""

from pathlib import Path

import pytest

from model_deployment.core.names import ModelKey
from model_deployment.data_plane.usage_rows import UsageRows
from model_deployment.proxy.limits_file import ROWS

A, B, C = (ModelKey("m", version) for version in (1, 2, 3))


def test_each_deployment_has_a_row_of_its_own_as_long_as_it_is_there(tmp_path: Path) -> None:
    rows = UsageRows(tmp_path / "rows.json")
    first = rows.assign([A, B])
    assert len({*first.values()}) == 2
    assert rows.assign([A, B, C]) == {**first, C: rows.assign([A, B, C])[C]}
    assert rows.assign([B])[B] == first[B]


def test_the_next_controller_gives_the_same_rows(tmp_path: Path) -> None:
    first = UsageRows(tmp_path / "rows.json").assign([A, B])
    again = UsageRows(tmp_path / "rows.json").assign([B, A, C])
    assert {key: again[key] for key in first} == first
    assert again[C] not in first.values()


def test_a_row_that_was_freed_is_used_again_late(tmp_path: Path) -> None:
    rows = UsageRows(tmp_path / "rows.json")
    freed = rows.assign([A])[A]
    rows.assign([])
    later = [rows.assign([ModelKey("n", number)]) for number in range(1, ROWS)]
    assert freed not in {row for one in later for row in one.values()}


def test_more_deployments_than_rows_share_some(tmp_path: Path) -> None:
    keys = [ModelKey("m", number) for number in range(1, ROWS + 20)]
    given = UsageRows(tmp_path / "rows.json").assign(keys)
    assert {*given.values()} == {*range(ROWS)}


@pytest.mark.parametrize("text", ["", "[]", '{"m-1": "x"}', '{"m-1": null}', "\x00"])
def test_a_damaged_file_is_no_hindrance(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    assert UsageRows(path).assign([A]) == {A: 0}
