"""A controller with a registry of its own, whose aliases tests move, and one endpoint that follows."""

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.harness import Controller
from tests.support.marked_callers import MarkedCallers
from tests.support.waiting import until_sync

MODEL, NAME = "rolling", "rolling@live"
ENDPOINT = f"/endpoints/{NAME}"
_NO_CHECKS = {"example": False, "signature": False, "replay": 0}
#: Requests a second, of all callers together: what changes an endpoint needs a processor as well.
RATE = 150
#: Policies: at once, and with a short canary, and with one that only its guards end.
STRAIGHT: dict[str, Any] = {"checks": _NO_CHECKS, "canary": {"steps": []}, "keep_previous": 2}
SHORT: dict[str, Any] = {
    "checks": _NO_CHECKS,
    "canary": {"steps": [50], "minutes": 0, "requests": 20},
    "guard": {"latency": 0},  # of a machine that tests keep busy
    "keep_previous": 2,
}
GUARDED: dict[str, Any] = SHORT | {"canary": {"steps": [50], "minutes": 60}}


class RolloutRegistry:
    """A copy of a registry's database, with one model more. Its versions tell their numbers as names."""

    def __init__(
        self, folder: Path, database: Path, faults: Mapping[int, Mapping[str, Any]]
    ) -> None:
        """
        Args:
            faults: what the stub server of each version does, from version 1 on.
        """
        shutil.copy(database, folder / "mlflow.db")
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        with self._client() as client:
            client.create_registered_model(MODEL)
        for version, menu in faults.items():
            source = folder / "versions" / str(version)
            source.mkdir(parents=True)
            columns = json.dumps([{"type": "double", "name": "x", "required": True}])
            described = {
                "flavors": {"python_function": {"loader_module": "stub"}},
                "signature": {"inputs": columns, "outputs": None, "params": None},
            }
            (source / "MLmodel").write_text(json.dumps(described))
            (source / "stub.json").write_text(json.dumps({"name": str(version), **menu}))
            with self._client() as client:
                client.create_model_version(MODEL, source.as_uri())
        self.move(1)

    def move(self, version: int) -> None:
        """Move the alias."""
        with self._client() as client:
            client.set_registered_model_alias(MODEL, "live", str(version))

    def delete_alias(self) -> None:
        with self._client() as client:
            client.delete_registered_model_alias(MODEL, "live")

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """MLflow's client; what it warns of is none of the tests' business."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow import MlflowClient

            yield MlflowClient(self.uri, self.uri)


class RolloutLab:
    """Moves the alias, and waits for what comes of it."""

    def __init__(self, controller: Controller, registry: RolloutRegistry) -> None:
        self.controller = controller
        self.registry = registry

    def show(self) -> Any:
        return self.controller.get(ENDPOINT)

    def put(self, policy: Mapping[str, Any]) -> None:
        answer = self.controller.call("PUT", ENDPOINT, json=policy)
        assert answer.status_code in (200, 201), answer.text

    def order(self, what: str) -> None:
        self.controller.post(f"{ENDPOINT}/{what}")

    def callers(self, number: int = 16) -> MarkedCallers:
        rest = number / RATE
        return MarkedCallers(self.controller.port, NAME, number, rest=rest, by_version=True)

    def serve(self, version: int) -> None:
        """Move the alias, and wait until its version serves and nothing is under way."""
        self.registry.move(version)
        self.serves(version)

    @property
    def at_rest(self) -> bool:
        """Whether no rollout is under way."""
        rollout = self.show()["rollout"]
        return rollout is None or not rollout["active"]

    def serves(self, version: int) -> None:
        def served() -> bool:
            at_rest, shown = self.at_rest, self.show()
            assert (shown["champion"], at_rest) == (version, True), shown["status"]
            return True

        until_sync(served, timeout=40, what=f"version {version} to serve")

    def rollout(self, version: int, state: str) -> Any:
        """The newest rollout, once it is the one of a version and in a state."""

        def arrived() -> Any:
            shown = self.show()
            rollout = shown["rollout"]
            assert (rollout["candidate"], rollout["state"]) == (version, state), shown["status"]
            return rollout

        return until_sync(arrived, timeout=40, what=f"version {version} to be {state}")
