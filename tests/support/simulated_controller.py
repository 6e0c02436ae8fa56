"""A controller as the commands apply, diff and export see it."""

import json
import threading
from collections.abc import Callable
from typing import Any

from model_deployment.client import ApiError, Unreachable
from model_deployment.core.options import Options

#: Options as they are in JSON.
DEFAULTS: dict[str, Any] = json.loads(json.dumps(Options(retention_days=30.0).as_dict()))


def refused(status: int, detail: str) -> ApiError:
    """How the controller says no."""
    return ApiError(status, {"status": status, "detail": detail})


class SimulatedController:
    """Answers as a controller does, as far as the commands ask. May be shared by threads."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.held: dict[str, list[int]] = {}
        self.calls: list[tuple[str, str]] = []
        #: Deployments and endpoints that never become ready.
        self.broken: set[str] = set()
        #: Done, once, before the call that it is named for.
        self.before: dict[tuple[str, str], Callable[[], None]] = {}
        #: Looks at all deployments that are not answered.
        self.away = 0
        self._lock = threading.Lock()

    def models(self) -> list[Any]:
        return [{"name": "wine", "aliases": {"champion": 2}}]

    def deployments(self) -> list[Any]:
        if self.away:
            self.away -= 1
            raise Unreachable("gone away")
        return list(self.rows.values())

    def deployment(self, name: str) -> Any:
        return self.rows[name]

    def endpoints(self) -> list[Any]:
        return [self._endpoint(name) for name in self.policies]

    def _endpoint(self, name: str) -> dict[str, Any]:
        held = self.held.get(name, ())
        broken = name in self.broken
        return {
            "name": name, "model": name.partition("@")[0], "policy": self.policies[name],
            "champion": next(iter(held), None), "versions": [{"version": one} for one in held],
            "status": "version 2 was rolled back: it broke" if broken else "no version serves yet",
            "rollout": {"state": "rolled_back", "active": False} if broken else None,
            "previous": None, "previous_until": None, "deleting": False,
        }  # fmt: skip

    def endpoint(self, name: str) -> dict[str, Any]:
        """The registry is slow: the alias is known at the second look."""
        before = self._endpoint(name)
        self._call("endpoint", name)
        if name not in self.broken:
            self.held.setdefault(name, [2])
        return before

    def deploy_needs(self, model: str, version: int) -> Any:
        return {"options": {**DEFAULTS, "workers": 9}, "defaults": DEFAULTS}

    def _call(self, call: str, name: str) -> None:
        with self._lock:
            self.calls.append((call, name))
            meanwhile = self.before.pop((call, name), None)
        if meanwhile:
            meanwhile()

    def deploy(self, model: str, version: str, *, wait: float, **options: Any) -> Any:
        name = f"{model}-{version}"
        self._call("deploy", name)
        wanted = DEFAULTS | options
        if name in self.rows and self.rows[name]["options"] != wanted:
            raise refused(409, f"cannot deploy {name} with other options")
        if name in self.broken:
            raise refused(502, f"cannot deploy {name}: it broke")
        self.put(name, wanted)
        return self.rows[name]

    def put(self, name: str, options: dict[str, Any]) -> None:
        model, _, version = name.rpartition("-")
        self.rows[name] = {
            "name": name, "model": model, "version": int(version), "options": options,
            "state": "ready", "desired": "running", "reason": "healthy", "replacement": None,
        }  # fmt: skip

    def change(self, name: str, *, wait: float, **options: Any) -> Any:
        self._call("change", name)
        named = {key: DEFAULTS[key] if value is None else value for key, value in options.items()}
        self.put(name, self.rows[name]["options"] | named)
        return self.rows[name]

    def undeploy(self, name: str, *, wait: float) -> Any:
        self._call("undeploy", name)
        if name not in self.rows:
            raise refused(404, f"cannot find {name}")
        return self.rows.pop(name) | {"state": "stopped"}

    def set_endpoint(self, name: str, policy: dict[str, Any]) -> Any:
        self._call("set_endpoint", name)
        self.policies[name] = policy
        return self._endpoint(name)

    def delete_endpoint(self, name: str, *, wait: float) -> None:
        self._call("delete_endpoint", name)
        del self.policies[name]
