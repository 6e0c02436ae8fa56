"""What a report with the verdict ``degraded`` brings about."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.core.names import ModelKey
from model_deployment.flows.retraining import BY, Retraining
from tests.support.flow_runs import SETTINGS, SHA, Scene, flow_runs

KEY = ModelKey("income", 3)


@dataclass
class Watched:
    """A scene of runs, and what stands among the events of a deployment."""

    scene: Scene
    notes: list[str] = field(default_factory=list)
    #: SHA-256 of the training data of the version; None: the registry is away.
    trained_on: str | None = "other"

    async def report(self, verdict: str = "degraded", key: ModelKey = KEY) -> None:
        async def trained_on(_: ModelKey) -> str | None:
            if self.trained_on is None:
                raise RegistryUnavailable("cannot read the version: the registry is away")
            return self.trained_on

        async def champion(_: str) -> int:
            return 3

        retraining = Retraining(
            self.scene.runs,
            trained_on=trained_on,
            champion=champion,
            note=lambda key, text, level=0: self.notes.append(text),
        )
        await retraining.on_report(key, {"verdict": verdict})

    @property
    def started(self) -> list[tuple[str, str, object]]:
        known = self.scene.runs.known()
        return [(one.flow, one.by, one.parameters.get("data")) for one in known]


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with flow_runs(tmp_path, None, newest=SHA) as scene:
        yield Watched(scene)


def allow(folder: Path) -> None:
    text = SETTINGS.replace("trials: 12", "trials: 12\n    retrain_when_degraded: true")
    text = text.replace("target: income", "target: income\n    endpoint: income@champion")
    (folder / "project" / "settings.yaml").write_text(text)


async def test_it_is_off_by_default(watched: Watched) -> None:
    await watched.report()
    assert (watched.started, watched.notes) == ([], [])


async def test_it_starts_one_run_with_the_new_data_and_says_why_no_second(
    watched: Watched, tmp_path: Path
) -> None:
    allow(tmp_path)
    await watched.report("drift")
    await watched.report(key=ModelKey("other", 3))
    assert (watched.started, watched.notes) == ([], [])
    await watched.report(key=ModelKey("income", 2))
    assert "income@champion serves another version" in watched.notes.pop()
    await watched.report()
    assert watched.started == [("full_flow", BY, SHA)]
    assert "so full_flow was started: run " in watched.notes.pop()
    await watched.report()
    assert "has not ended" in watched.notes.pop()
    await watched.scene.runs.cancel(watched.scene.runs.known()[0].id)
    await watched.report()
    assert "the next may start at" in watched.notes.pop()
    assert len(watched.started) == 1


async def test_what_it_cannot_find_out_is_said(watched: Watched, tmp_path: Path) -> None:
    allow(tmp_path)
    watched.trained_on = None
    await watched.report()
    assert "the registry is away" in watched.notes.pop()
    (tmp_path / "project" / "settings.yaml").write_text("experiments: 3")
    await watched.report()
    assert "cannot use the settings" in watched.notes.pop()
    assert watched.started == []
