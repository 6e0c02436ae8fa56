"""One promotion serves servers and devices: run it, and watch six devices follow an alias.

    python examples/edge.py

Six agents run as on devices: each enrols with a code, loads what is released, checks signature and files,
tries the model on its example, and predicts at a port of its own. Two of them are the canary group. A
forest that is fine on the server needs more memory than the devices give a model: the canary group finds
out, the release stops there, and is taken back. A better model of the right size reaches all of them.
Everything happens in a temporary folder, on free ports of this machine.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import mlflow
from drift import checked, controller, free_port
from rollout import move_alias, patients, register
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parents[1]
ENDPOINT = "diabetes@champion"
DEVICES = {
    "gate-1": "canary",
    "gate-2": "canary",
    "hall-1": "",
    "hall-2": "",
    "yard-1": "",
    "yard-2": "",
}
#: The server takes what the alias names; devices get it by groups: canary, then the others.
ON_THE_SERVER = {"checks": {"signature": False, "replay": 0}, "canary": {"steps": []}}
ON_DEVICES: dict[str, Any] = {"groups": ["canary"], "percent": []}
#: MiB that a model may take on a device, and trees that need more.
MEMORY, TREES = 128, 400
#: Where the agent is: installed, or in this repository.
_ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "agent"), os.environ.get("PYTHONPATH")]))
}


class Device:
    """An agent in a process of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.port = free_port()
        self._folder = folder / name
        self._log = folder / f"{name}.log"

    @contextmanager
    def at_work(self, client: httpx.Client) -> Iterator[None]:
        """Enrol it with a code of the operator, and run it."""
        groups = [group for group in [DEVICES[self.name]] if group]
        made = checked(client.post("/halls/enrolments", json={"groups": groups}))
        url = str(client.base_url).rstrip("/")
        subprocess.run(
            self._command("enrol", url, "halls", "-", "--name", self.name),
            input=made["code"], text=True, check=True, env=_ENVIRONMENT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        command = self._command("run", "--port", str(self.port), "--model-memory", str(MEMORY))
        with (
            self._log.open("wb") as log,
            subprocess.Popen(command, env=_ENVIRONMENT, stdout=log, stderr=log) as process,
        ):
            try:
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)

    def predict(self, record: Mapping[str, float]) -> tuple[str, float]:
        """As a program on the device asks: the version that answers, and its prediction."""
        body = {"dataframe_split": {"columns": [*record], "data": [[*record.values()]]}}
        answer = httpx.post(f"http://127.0.0.1:{self.port}/invocations", json=body, timeout=30)
        found = checked(answer)["predictions"][0]
        return answer.headers["X-Model-Version"], round(float(found), 2)

    def _command(self, what: str, *arguments: str) -> list[str]:
        module = [sys.executable, "-m", "model_deployment_agent", what]
        return [*module, "--folder", str(self._folder), *arguments]


def follow(client: httpx.Client, number: int) -> str:
    """Tell what becomes of a release; its last state."""
    end, told = time.monotonic() + 120, ""
    while time.monotonic() < end:
        answer = client.get(f"/halls/releases/{number}")
        if answer.is_success:
            found = checked(answer)
            reason = found["reason"].partition("; waits for")[0]
            line = f"  release {number} (version {found['version']}) {found['state']}: {reason}"
            if line != told:
                print(line, flush=True)
                told = line
            if not found["active"]:
                return str(found["state"])
        time.sleep(0.1)
    raise TimeoutError(f"release {number} has not ended; {told.strip()}")


def promote(client: httpx.Client, what: str, model: Any, number: int) -> str:
    """Register a version, move the alias to it, and tell what becomes of it on devices."""
    version = register(model)
    print(f"\nVersion {version}, {what}: the alias moves.", flush=True)
    move_alias(version)
    state = follow(client, number)
    champion = checked(client.get(f"/endpoints/{ENDPOINT}"))["champion"]
    print(f"  the server serves version {champion}", flush=True)
    return state


def show(devices: list[Device], record: Mapping[str, float]) -> None:
    """Ask every device, as programs beside it do."""
    answers = [(one.name, *one.predict(record)) for one in devices]
    for name, version, prediction in answers:
        print(f"  {name} predicts {prediction} with version {version}", flush=True)


def until_all_run(client: httpx.Client, number: int) -> None:
    end = time.monotonic() + 120
    while True:
        running = [one["release"]["running"] for one in checked(client.get("/halls/devices"))]
        if running == [number] * len(DEVICES):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"the devices run {running}, not release {number}")
        time.sleep(0.1)


def story(client: httpx.Client, devices: list[Device], better: Any, forest: Any) -> list[str]:
    """The alias moves twice; how the releases ended."""
    inputs, _ = patients()
    record = json.loads(inputs.iloc[0].to_json())
    print(f"\nThe devices follow {ENDPOINT}.", flush=True)
    body = {"endpoint": ENDPOINT, "policy": ON_DEVICES}
    client.post("/halls/setModel", json=body).raise_for_status()
    states = [follow(client, 1)]
    until_all_run(client, 1)
    show(devices, record)
    states.append(promote(client, f"a forest of {TREES} trees", forest, 2))
    states.append(follow(client, 3))
    until_all_run(client, 3)
    show(devices, record)
    states.append(promote(client, "which knows seven more measurements", better, 4))
    until_all_run(client, 4)
    show(devices, record)
    return states


def main() -> None:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    inputs, target = patients()
    unknown = dict.fromkeys(inputs.columns.drop(["age", "sex", "bmi", "bp"]), 0)
    plain = make_pipeline(StandardScaler(), Ridge()).fit(inputs.assign(**unknown), target)
    better = make_pipeline(StandardScaler(), Ridge()).fit(inputs, target)
    forest = RandomForestRegressor(TREES, random_state=0).fit(inputs, target)
    with tempfile.TemporaryDirectory(prefix="edge-") as name, ExitStack() as stack:
        folder = Path(name)
        registry = f"sqlite:///{folder / 'mlflow.db'}"
        mlflow.set_tracking_uri(registry)
        mlflow.set_experiment(
            experiment_id=mlflow.create_experiment("edge", (folder / "artifacts").as_uri())
        )
        move_alias(register(plain))
        client = stack.enter_context(controller(folder, registry, ports=4, ALIAS_POLL="1"))
        print(f"Version 1 serves at /{ENDPOINT} ...", flush=True)
        client.put(f"/endpoints/{ENDPOINT}", json=ON_THE_SERVER).raise_for_status()
        wait = {"wait": "120"}
        body = {"model": "diabetes", "alias": "champion"}
        client.post("/set_model", json=body, params=wait).raise_for_status()
        project = {"name": "halls", "models": ["diabetes"]}
        client.post("/projects", json=project).raise_for_status()
        devices = [Device(folder, one) for one in DEVICES]
        for one in devices:
            stack.enter_context(one.at_work(client))
            print(f"{one.name} enrolled", flush=True)
        states = story(client, devices, better, forest)
    print(f"\n{', '.join(states)}.")


if __name__ == "__main__":
    main()
