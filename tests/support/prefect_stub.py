"""The routes of Prefect's REST API that the controller calls, and those that the tests drive, in memory.

The contract test holds it against the real server.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.threaded_server import listening

Json = dict[str, Any]


class Refused(Exception):
    """An answer that is none of success."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass
class PrefectStub:
    """A server's state. Tests may change it between calls."""

    url: str = ""
    auth: str = ""
    flows: dict[str, Json] = field(default_factory=dict)
    deployments: dict[str, Json] = field(default_factory=dict)
    runs: dict[str, Json] = field(default_factory=dict)
    tasks: list[Json] = field(default_factory=list)
    logs: list[Json] = field(default_factory=list)
    artifacts: list[Json] = field(default_factory=list)
    #: Answer every call with this status.
    broken: int = 0
    calls: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Json) -> Any:
        """What a call is answered with; raises :class:`Refused`."""
        self.calls.append(f"{method} {path}")
        if self.broken:
            raise Refused(self.broken, "it is broken")
        for known, pattern, handle in _ROUTES:
            if known == method and (found := re.fullmatch(pattern, path)):
                return handle(self, body, *found.groups())
        raise Refused(404, f"Not Found: {method} {path}")


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _state(kind: str, name: str | None = None, message: str | None = None) -> Json:
    return {
        "type": kind, "name": name or kind.capitalize(), "message": message, "timestamp": _now(),
        "state_details": {"child_flow_run_id": None},
    }  # fmt: skip


def _enter(run: Json, state: Json) -> None:
    run |= {"state": state, "state_type": state["type"], "state_name": state["name"]}
    if state["type"] == "RUNNING" and not run["start_time"]:
        run["start_time"] = state["timestamp"]
    if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
        run["end_time"] = state["timestamp"]


def _make_flow(stub: PrefectStub, body: Json) -> Json:
    flow = next((one for one in stub.flows.values() if one["name"] == body["name"]), None)
    if flow is None:
        flow = {"id": str(uuid.uuid4()), "name": body["name"]}
        stub.flows[flow["id"]] = flow
    return flow


def _find_flows(stub: PrefectStub, body: Json) -> list[Json]:
    found = list(stub.flows.values())
    ids = body.get("flows", {}).get("id", {}).get("any_")
    names = body.get("deployments", {}).get("name", {}).get("any_")
    if ids is not None:
        found = [one for one in found if one["id"] in ids]
    if names is not None:
        served = {one["flow_id"] for one in stub.deployments.values() if one["name"] in names}
        found = [one for one in found if one["id"] in served]
    return found


def _make_deployment(stub: PrefectStub, body: Json) -> Json:
    made = {"id": str(uuid.uuid4()), **body}
    stub.deployments[made["id"]] = made
    return made


def _named_deployment(stub: PrefectStub, body: Json, flow: str, name: str) -> Json:
    for one in stub.deployments.values():
        if one["name"] == name and stub.flows[one["flow_id"]]["name"] == flow:
            return one
    raise Refused(404, "Deployment not found")


def _start(stub: PrefectStub, body: Json, id: str) -> Json:
    deployment = stub.deployments[id]
    key = body.get("idempotency_key")
    for one in stub.runs.values():
        if key and (one["idempotency_key"], one["flow_id"]) == (key, deployment["flow_id"]):
            return one
    for name in deployment.get("parameter_openapi_schema", {}).get("required", ()):
        if name not in body["parameters"]:
            raise Refused(409, f"Error creating flow run: {name!r} is a required property")
    run = {
        "id": str(uuid.uuid4()), "flow_id": deployment["flow_id"], "name": f"run-{len(stub.runs)}",
        "parameters": body["parameters"], "tags": body["tags"], "idempotency_key": key,
        "created": _now(), "expected_start_time": _now(), "start_time": None, "end_time": None,
        "parent_task_run_id": None,
    }  # fmt: skip
    _enter(run, _state("SCHEDULED"))
    stub.runs[run["id"]] = run
    return run


def _find_runs(stub: PrefectStub, body: Json) -> list[Json]:
    only = body.get("flow_runs", {})
    found = [*stub.runs.values()]
    if tags := only.get("tags", {}).get("all_"):
        found = [one for one in found if {*tags} <= {*one["tags"]}]
    if kinds := only.get("state", {}).get("type", {}).get("any_"):
        found = [one for one in found if one["state_type"] in kinds]
    if (ids := only.get("id", {}).get("any_")) is not None:
        found = [one for one in found if one["id"] in ids]
    if only.get("parent_task_run_id", {}).get("is_null_"):
        found = [one for one in found if one["parent_task_run_id"] is None]
    found.sort(key=lambda one: str(one["expected_start_time"]), reverse=True)
    return found[: body["limit"]]


def _run(stub: PrefectStub, body: Json, id: str) -> Json:
    if id not in stub.runs:
        raise Refused(404, "Flow run not found")
    return stub.runs[id]


def _set_state(stub: PrefectStub, body: Json, id: str) -> Json:
    run = _run(stub, body, id)
    kind = body["state"]["type"]
    state = _state(kind, body["state"].get("name"), body["state"].get("message"))
    status, details = "ACCEPT", {"type": "accept_details"}
    if kind == "CANCELLING":
        if run["state_type"] == "SCHEDULED":
            state, status = _state("CANCELLED"), "REJECT"
        elif run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            details = {"type": "abort_details", "reason": "This run has already terminated."}
            return {"state": None, "status": "ABORT", "details": details}
    _enter(run, state)
    return {"state": state, "status": status, "details": details}


def _make_task(stub: PrefectStub, body: Json) -> Json:
    task = {
        "id": str(uuid.uuid4()), "start_time": None, "end_time": None, "run_count": 0,
        "task_inputs": {}, **body,
    }  # fmt: skip
    _enter(task, _state(body["state"]["type"]))
    task["start_time"] = task["start_time"] or _now()
    stub.tasks.append(task)
    return task


def _of_runs(found: list[Json], body: Json, what: str) -> list[Json]:
    ids = body[what]["flow_run_id"]["any_"]
    return [one for one in found if one["flow_run_id"] in ids]


def _find_tasks(stub: PrefectStub, body: Json) -> list[Json]:
    ids = body["flow_runs"]["id"]["any_"]
    found = [one for one in stub.tasks if one["flow_run_id"] in ids]
    return found[body["offset"] :][: body["limit"]]


def _find_logs(stub: PrefectStub, body: Json) -> list[Json]:
    found = sorted(_of_runs(stub.logs, body, "logs"), key=lambda one: str(one["timestamp"]))
    return found[body["offset"] :][: body["limit"]]


def _add_logs(stub: PrefectStub, body: Any) -> None:
    stub.logs += body


def _make_artifact(stub: PrefectStub, body: Json) -> Json:
    made = {"created": _now(), "description": None, **body}
    stub.artifacts.append(made)
    return made


_ID = "([0-9a-f-]{36})"
_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/api/health", lambda stub, body: True),
    ("POST", "/api/flows/", _make_flow),
    ("POST", "/api/flows/filter", _find_flows),
    ("POST", "/api/deployments/", _make_deployment),
    ("GET", "/api/deployments/name/([^/]+)/([^/]+)", _named_deployment),
    ("POST", f"/api/deployments/{_ID}/create_flow_run", _start),
    ("POST", "/api/flow_runs/filter", _find_runs),
    ("GET", f"/api/flow_runs/{_ID}", _run),
    ("POST", f"/api/flow_runs/{_ID}/set_state", _set_state),
    ("POST", "/api/task_runs/", _make_task),
    ("POST", "/api/task_runs/filter", _find_tasks),
    ("POST", "/api/logs/", _add_logs),
    ("POST", "/api/logs/filter", _find_logs),
    ("POST", "/api/artifacts/", _make_artifact),
    (
        "POST",
        "/api/artifacts/filter",
        lambda stub, body: _of_runs(stub.artifacts, body, "artifacts"),
    ),
]


@contextmanager
def prefect_stub(auth: str = "u:secret") -> Iterator[PrefectStub]:
    """A stub that listens on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    stub = PrefectStub(f"http://127.0.0.1:{server.server_port}/api", auth)
    server.stub = stub  # type: ignore[attr-defined]
    with listening(server):
        yield stub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    wbufsize = -1  # head and body in one packet

    def _answer(self) -> None:
        stub: PrefectStub = self.server.stub  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, answer = 200, None
        try:
            answer = stub.answer(self.command, self.path, json.loads(body or b"{}"))
        except Refused as error:
            status, answer = error.status, {"detail": error.detail}
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    do_GET = do_POST = _answer  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: object) -> None:
        pass
