"""What is kept of a version that was read once, and what is asked of the registry for it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from model_deployment.core.errors import RegistryUnavailable, UnknownModel
from model_deployment.core.names import ModelKey
from model_deployment.registry.client import Registry
from model_deployment.registry.version_details import DetailsReader

KEY = ModelKey("m-1", 2)
CREATED = 1_790_000_000_000


class FakeRegistry:
    """One version with a run, whose files can be downloaded."""

    def __init__(self) -> None:
        self.away: Exception | None = None
        self.created = CREATED
        self.downloads = 0
        #: Whether the second file does not come.
        self.broken = False
        self.asked = 0

    async def ask(self, what: str, work: Callable[[Any], Any], **_: Any) -> Any:
        self.asked += 1
        if self.away:
            raise self.away
        return work(self)

    def get_model_version(self, name: str, version: str) -> Any:
        return SimpleNamespace(
            name=name, version=version, status="READY", creation_timestamp=self.created, run_id="r",
            description="better", tags={"team": "red"}, source="s3://user:secret@bucket/a?sig=1",
        )  # fmt: skip

    def get_registered_model(self, name: str) -> Any:
        return SimpleNamespace(aliases={"champion": "2", "other": "1"})

    def get_run(self, id: str) -> Any:
        return SimpleNamespace(
            info=SimpleNamespace(run_id=id, experiment_id="7", user_id="unknown"),
            data=SimpleNamespace(
                metrics={"rmse": 1.0, "deployed/rmse": 2.0, "odd": float("nan")},
                params={"alpha": "0.1"},
                tags={"mlflow.user": "ann"},
            ),
        )

    def download_files(self, key: ModelKey, folder: Path, names: Any, client: Any) -> None:
        self.downloads += 1
        (folder / "MLmodel").write_text("flavors: {sklearn: {sklearn_version: 1.9.1}}")
        if self.broken:
            raise RegistryUnavailable("connection reset", retry_after=10)
        (folder / "requirements.txt").write_text("mlflow==3.17.2\n# a remark\nnumpy  # fast\n")


async def not_deployed(key: ModelKey) -> None:
    return None


def reader(registry: FakeRegistry, root: Path) -> DetailsReader:
    found = cast(Registry, registry)
    return DetailsReader(found, root, not_deployed, "http://ann:secret@mlflow:5000/")


async def test_details_of_a_version_that_is_not_deployed(tmp_path: Path) -> None:
    found = await reader(FakeRegistry(), tmp_path).of(KEY)
    assert (found.description, found.tags, found.aliases) == (
        "better",
        {"team": "red"},
        ["champion"],
    )
    assert (found.user, found.params, found.metrics) == ("ann", {"alpha": "0.1"}, {"rmse": 1.0})
    assert found.run_url == "http://mlflow:5000/#/experiments/7/runs/r"
    assert found.flavors == {"sklearn": "1.9.1"}
    assert found.requirements == ["mlflow==3.17.2", "numpy"]
    assert "secret" not in found.source + found.run_url
    assert "sig=1" not in found.source


async def test_details_stay_while_the_registry_is_away(tmp_path: Path) -> None:
    registry = FakeRegistry()
    read = await reader(registry, tmp_path).of(KEY)
    registry.away = RegistryUnavailable("connection refused", retry_after=10)
    later = reader(registry, tmp_path)  # of another controller
    stored = await later.of(KEY)
    assert (stored.metrics, stored.requirements) == (read.metrics, read.requirements)
    assert stored.as_of is not None
    assert read.as_of is None
    # Version 21 of m and version 2 of m-1 have names that begin alike.
    for other in (ModelKey("m", 1), ModelKey("m-1", 3), ModelKey("m", 12)):
        with pytest.raises(RegistryUnavailable):
            await later.of(other)
        assert await later.find(other) is None


async def test_files_of_a_registration_are_downloaded_once(tmp_path: Path) -> None:
    registry = FakeRegistry()
    await reader(registry, tmp_path).of(KEY)
    await reader(registry, tmp_path).of(KEY)
    assert registry.downloads == 1
    registry.created += 1000  # registered again
    await reader(registry, tmp_path).of(KEY)
    assert registry.downloads == 2


async def test_files_that_came_in_part_are_read_again(tmp_path: Path) -> None:
    registry = FakeRegistry()
    registry.broken = True
    partly = await reader(registry, tmp_path).of(KEY)
    assert (partly.flavors, partly.requirements) == ({"sklearn": "1.9.1"}, [])
    registry.broken = False
    whole = await reader(registry, tmp_path).of(KEY)
    assert whole.flavors == {"sklearn": "1.9.1"}
    assert whole.requirements == ["mlflow==3.17.2", "numpy"]


async def test_a_version_that_was_deleted_is_not_shown_from_memory(tmp_path: Path) -> None:
    registry = FakeRegistry()
    await reader(registry, tmp_path).of(KEY)
    registry.away = UnknownModel("the registry has no version 2 of m-1")
    with pytest.raises(UnknownModel):
        await reader(registry, tmp_path).of(KEY)


async def test_an_absent_registry_is_not_asked_for_each_page(tmp_path: Path) -> None:
    registry = FakeRegistry()
    it = reader(registry, tmp_path)
    await it.of(KEY)
    registry.away = RegistryUnavailable("connection refused", retry_after=10)
    with pytest.raises(RegistryUnavailable):
        await it.of(ModelKey("other", 1))
    asked = registry.asked
    assert await it.find(ModelKey("another", 1)) is None
    found = await it.find(KEY)
    assert found is not None
    assert found.as_of is not None
    assert registry.asked == asked


async def test_a_pass_over_deployments_ends_at_an_absent_registry(tmp_path: Path) -> None:
    registry = FakeRegistry()
    registry.away = RegistryUnavailable("connection refused", retry_after=10)
    it = reader(registry, tmp_path)
    with pytest.raises(RegistryUnavailable):
        await it._renew(KEY)
    registry.away = UnknownModel("deleted")
    await it._renew(KEY)
