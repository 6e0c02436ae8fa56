"""A real controller with its proxies, and agents in processes: those of a hall, and some far away."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.agent_processes import PROJECT, AgentProcess, SlowLine, end_all
from tests.support.edge_registry import ENDPOINT, MODEL, promote
from tests.support.harness import Controller
from tests.support.network_node import NetworkNode
from tests.support.waiting import until_sync

#: Devices of each kind; ``afar`` are in a namespace, and fewer than a tenth: a release is complete without.
CANARY, AFAR, HALL = 5, 2, 17
#: The server takes what the alias names at once: what becomes of it on devices is what is tested.
_STRAIGHT = {
    "checks": {"example": False, "signature": False, "replay": 0},
    "canary": {"steps": []},
}
#: The canary group, then all others.
POLICY: dict[str, Any] = {"groups": ["canary"], "percent": []}


class EdgeWorld:
    """What the tests start, cut and kill."""

    def __init__(self, folder: Path, registry: str, node: NetworkNode) -> None:
        self.folder = folder
        self.registry = registry
        self.line = SlowLine(node)
        self._node = node
        # The address of this machine that the namespace reaches; agents here use it as well.
        self.controller = Controller(
            folder / "controller", registry, ports=6, HOST=node.outer, PROXIES=2, ALIAS_POLL=0.5,
            START_METHOD="forkserver", START_TIMEOUT=60,
        )  # fmt: skip
        self.controller.program = [*self.controller.program[:1], "-m", "model_deployment"]
        self.canary: list[AgentProcess] = []
        self.afar: list[AgentProcess] = []
        self.hall: list[AgentProcess] = []

    @property
    def agents(self) -> list[AgentProcess]:
        return [*self.canary, *self.afar, *self.hall]

    @property
    def near(self) -> list[AgentProcess]:
        """Those whose line is never cut."""
        return [*self.canary, *self.hall]

    def up(self) -> None:
        """Start the controller, with an endpoint that a project follows."""
        call = self.controller.with_users().up()
        call.call("PUT", f"/endpoints/{ENDPOINT}", json=_STRAIGHT).raise_for_status()
        call.post("/set_model", body={"model": MODEL, "alias": "champion"}, wait=90)
        call.post("/projects", 201, {"name": PROJECT, "models": [MODEL]})

    def join(self, kind: str, number: int, *options: object) -> list[AgentProcess]:
        """Enrol and start agents; ``kind`` is their group, and begins their names."""
        node = self._node if kind == "afar" else None
        made = [
            AgentProcess(f"{kind}-{place}", self.folder / f"{kind}-{place}", (kind,), node)
            for place in range(number)
        ]
        {"canary": self.canary, "afar": self.afar, "hall": self.hall}[kind].extend(made)
        for one in made:
            code = self.controller.post(f"/{PROJECT}/enrolments", 201, {"groups": [*one.groups]})
            one.enrol(self.controller.url, code["code"])
            one.start("--capture-rate", 1, *options)
        return made

    def promote(self, version: int) -> None:
        promote(self.registry, version)

    def end(self) -> list[int | None]:
        """End all of it; the exit statuses, of the controller first. What has ended already has none."""
        try:
            statuses = end_all(self.agents)
            return [self.controller.terminate(), *statuses] if self.controller.running else []
        finally:
            self.controller.destroy()

    # Looking

    def devices(self) -> dict[str, Any]:
        """What the API says of each device."""
        return {one["name"]: one for one in self.controller.get(f"/{PROJECT}/devices")}

    def release(self, number: int) -> Any:
        return self.controller.get(f"/{PROJECT}/releases/{number}")

    def until_release(self, number: int, state: str, timeout: float = 120) -> Any:
        """A release, once it is in a state."""

        def arrived() -> Any:
            found = self.release(number)
            assert found["state"] == state, f"{found['state']}: {found['reason']}"
            return found

        return until_sync(arrived, timeout=timeout, interval=0.2, what=f"release {number}: {state}")

    def until_running(
        self, agents: Sequence[AgentProcess], number: int, timeout: float = 120, some: int = 0
    ) -> None:
        """Wait until these agents run a release, or ``some`` of them."""

        def arrived() -> bool:
            running = Counter(one.release for one in agents)
            assert running[number] >= (some or len(agents)), running
            return True

        what = f"agents to run release {number}"
        # The next ones follow soon after the first.
        interval = 0.02 if some else 0.2
        until_sync(arrived, timeout=timeout, interval=interval, what=what)

    def captured(self, version: int) -> list[Any]:
        """What devices have captured of a version."""
        path = f"/model/{MODEL}-{version}/dataset"
        answer = self.controller.call("GET", path, params={"source": "devices", "format": "jsonl"})
        if answer.status_code == 404:
            return []
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]
