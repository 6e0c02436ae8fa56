"""What the compose promises to those who use it: it starts, serves, is watched, and comes back."""

import json
import re
import time
import urllib.parse
from typing import Any

from tests.compose.stack import ROOT, Stack
from tests.support.waiting import until_sync

MODEL = "diabetes-1"
ROW = {
    "age": 59,
    "sex": 2,
    "bmi": 32.1,
    "bp": 101,
    "s1": 157,
    "s2": 93.2,
    "s3": 38,
    "s4": 4,
    "s5": 4.86,
    "s6": 87,
}
#: Kills the controller: the child of entrypoint.sh, which is the oldest child of process 1.
CRASH = """
import os, signal
def first_child(pid):
    return int(open(f"/proc/{pid}/task/{pid}/children").read().split()[0])
os.kill(first_child(first_child(1)), signal.SIGKILL)
"""


def starts(stack: Stack) -> str:
    began = time.monotonic()
    stack.compose("up", "--detach", "--no-build")
    stack.healthy()
    took = time.monotonic() - began

    def demo() -> bool:
        state = stack.containers()["demo"]["State"]
        assert state["Status"] == "exited"
        return bool(state["ExitCode"] == 0)

    until_sync(demo, timeout=120, interval=0.5, what="the demo model")
    return f"all healthy after {took:.0f} s; the demo model was registered and its container ended with 0"


def serves(stack: Stack) -> str:
    deployed = stack.call("admin", "POST", "/deploy/diabetes/1?wait=120")
    assert deployed.status == 200, deployed
    ids = [f"compose-{number}" for number in range(60)]
    for number, name in enumerate(ids):
        answer = predict(stack, **{"X-Request-Id": name}, row=ROW | {"age": 30 + number})
        assert answer.status == 200, answer
    wrong = predict(stack, row={"age": "old"})
    assert wrong.status == 422, wrong
    items = [
        {"request_id": name, "row": 0, "label": 150.0 + number} for number, name in enumerate(ids)
    ]

    def fed_back() -> bool:
        answer = stack.call("caller", "POST", f"/model/{MODEL}/feedback", {"items": items})
        assert answer.status == 200, answer
        told = answer.json()
        assert told["matched"] == len(items), told
        return True

    until_sync(fed_back, timeout=60, interval=1, what="captures in MongoDB")
    metrics = stack.call("caller", "GET", f"/model/{MODEL}/metrics").json()
    assert metrics["baseline"], metrics
    assert captured(stack) == len(ids)
    report = stack.call("caller", "GET", f"/model/{MODEL}/degradation_report?format=json")
    assert report.status == 200, report
    verdict = report.json()["verdict"]
    dataset = stack.call("admin", "GET", f"/model/{MODEL}/dataset?source=training&format=csv")
    assert dataset.status == 200, dataset
    assert len(dataset.body.splitlines()) > 300, dataset.body[:200]
    return (
        f"deploy, {len(ids)} predictions, 422, feedback, metrics, a report (`{verdict}`), data sets"
    )


def predict(stack: Stack, row: dict[str, Any] = ROW, **headers: str) -> Any:
    return stack.call("caller", "POST", f"/{MODEL}", row, **headers)


def captured(stack: Stack) -> int:
    answer = stack.call("admin", "GET", f"/model/{MODEL}/dataset?source=captured&format=jsonl")
    assert answer.status == 200, answer
    return len(answer.body.splitlines())


def collects_metrics(stack: Stack) -> str:
    def asked(path: str) -> Any:
        url = f"http://127.0.0.1:9090/api/v1/{path}"
        return json.loads(stack.exec("prometheus", "wget", "-q", "-O", "-", url))["data"]

    def up() -> bool:
        targets = asked("targets")["activeTargets"]
        assert [target["health"] for target in targets] == ["up"], targets
        return True

    until_sync(up, timeout=60, interval=1, what="Prometheus' target")
    board = json.loads((ROOT / "monitoring/grafana/dashboards/model-deployment.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    for query in queries:
        # As Grafana fills in its variables.
        filled = re.sub(r"\$(model|version)", ".*", query).replace("$__rate_interval", "1m")
        asked("query?" + urllib.parse.urlencode({"query": filled}))
    names = set(re.findall(r"\b(?:model_deployment|process)_\w+", " ".join(queries)))

    def collected() -> bool:
        here = {
            name
            for name in names
            if asked("query?" + urllib.parse.urlencode({"query": name}))["result"]
        }
        assert here == names, names - here
        return True

    until_sync(collected, timeout=60, interval=1, what="the metrics of the dashboard")
    return f"target up; {len(queries)} queries of the dashboard run, and all metrics they name are there"


def survives(stack: Stack) -> str:
    said = []
    began = time.monotonic()
    stack.run(stack.docker, "restart", "--time", "60", stack.container("controller"))
    said.append(f"restart of the controller: predictions again after {serving_again(stack, began)}")
    began = time.monotonic()
    stack.run(stack.docker, "kill", stack.container("controller"))
    stack.run(stack.docker, "start", stack.container("controller"))
    said.append(f"docker kill: {serving_again(stack, began)}")
    began = time.monotonic()
    stack.exec("controller", "python", "-c", CRASH)
    said.append(f"SIGKILL to its process alone: {controller_again(stack, began)}")
    before = captured(stack)
    stack.run(stack.docker, "kill", stack.container("mongodb"))
    for _ in range(5):
        assert predict(stack).status == 200
    stack.run(stack.docker, "start", stack.container("mongodb"))

    def arrived() -> bool:
        return captured(stack) >= before + 5

    until_sync(arrived, timeout=60, interval=1, what="captures that waited for MongoDB")
    said.append("MongoDB killed: predictions went on, and their captures arrived when it was back")
    return "; ".join(said)


def controller_again(stack: Stack, began: float) -> str:
    """How long it is away; predictions go on meanwhile."""
    statuses = set()

    def again() -> bool:
        statuses.add(predict(stack).status)
        return stack.call("admin", "GET", "/get_deployed_models").status == 200

    until_sync(again, timeout=60, interval=0.2, what="the controller")
    assert statuses == {200}, statuses
    return f"predictions went on, the controller was back after {time.monotonic() - began:.1f} s"


def serving_again(stack: Stack, began: float) -> str:
    def again() -> bool:
        assert predict(stack).status == 200
        return True

    until_sync(again, timeout=120, interval=0.2, what="predictions")
    return f"{time.monotonic() - began:.1f} s"


def memory(stack: Stack) -> str:
    names = {one["Id"][:12]: service for service, one in stack.containers().items()}
    form = "{{.ID}} {{.MemUsage}}"
    lines = stack.run(
        stack.docker, "stats", "--no-stream", "--format", form, *names
    ).stdout.splitlines()
    used = {names[line.split()[0][:12]]: line.split()[1] for line in lines}
    return ", ".join(
        f"{service} {used[service]}"
        for service in sorted(used)
        if service in used and used[service] != "0B"
    )
