"""The records of runs on the disk: damage, a full disk, and how many there are."""

from pathlib import Path

import pytest

from model_deployment.core.errors import DiskFull, Unavailable
from model_deployment.flows.base import FlowType, NewRun
from model_deployment.flows.prefect import PrefectFlows
from model_deployment.flows.records import KEPT, Records
from tests.support.flow_runs import Scene, record
from tests.support.prefect_engine import Engine


def test_records_survive_damage_and_the_oldest_are_forgotten(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.open()
    for number in range(KEPT + 2):
        records.write(record(f"r{number:04}"))
    (tmp_path / "r0001.json").write_text("{")
    (tmp_path / "left.json.new").write_text("{")
    again = Records(tmp_path)
    again.open()
    assert len(again.all()) == KEPT + 1
    again.forget_oldest()
    assert len(again.all()) == KEPT
    assert again.all()[0].id == f"r{KEPT + 1:04}"
    assert not (tmp_path / "left.json.new").exists()


async def test_runs_are_read_though_the_disk_is_full(
    scene: Scene, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = PrefectFlows(lambda: engine.address)
    await flows.start(NewRun(FlowType.EVAL, "key", {"experiment": "income"}))
    await flows.close()

    def full(*_: object, **__: object) -> None:
        raise DiskFull("cannot save this run")

    monkeypatch.setattr(Records, "write", full)
    assert await scene.runs.all() == []


def test_a_record_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    records = Records(tmp_path / "gone")
    with pytest.raises(Unavailable, match="cannot save this run"):
        records.write(record())
