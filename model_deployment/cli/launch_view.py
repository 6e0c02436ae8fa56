"""How launches and replicas are shown in a terminal. Pure: from answers of the API to text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model_deployment.cli import figures
from model_deployment.cli.output import table
from model_deployment.rendering import numbers

_COLUMNS = (
    "REPLICA",
    "ROLE",
    "STATE",
    "SINCE",
    "LAUNCH",
    "PROCESS",
    "PORT",
    "THREADS",
    "MEMORY",
    "REQUESTS",
    "REASON",
)
#: Characters of the id of a container that are shown, as ``docker ps`` has them.
_CONTAINER = 12

#: A deployment or a launch, as the API answers it. A controller of an earlier release has less to say.
Answer = Mapping[str, Any]


def several(row: Answer) -> bool:
    """Whether a deployment has, or is to have, more than one launch that serves."""
    replicas = row.get("replicas") or {}
    return any(replicas.get(name, 0) > 1 for name in ("wanted", "ready"))


def state(row: Answer) -> str:
    """The state of a deployment, with how many replicas serve where there are several: ``ready 2/3``."""
    if not several(row):
        return str(row["state"])
    return f"{row['state']} {row['replicas']['ready']}/{row['replicas']['wanted']}"


def reason(row: Answer) -> str:
    """Why a deployment is in its state; empty if all is well."""
    if row["state"] != "ready" or row["reason"] != "healthy":
        return str(row["reason"])
    return missing(row)


def missing(row: Answer) -> str:
    """Why fewer replicas serve than are to; empty if all do."""
    if not several(row) or row["replicas"]["ready"] >= row["replicas"]["wanted"]:
        return ""
    told = f"{row['replicas']['ready']} of {row['replicas']['wanted']} replicas serve"
    for one in row.get("launches") or ():
        if one["role"] == "serving" and one["state"] != "ready" and one["reason"]:
            return f"{told}; replica {one['replica']}: {one['state']}: {one['reason']}"
    return told


def process(row: Answer) -> str:
    """What runs, in words; empty if nothing does."""
    if row.get("container"):
        return f"container {row['container'][:_CONTAINER]}"
    return str(row["pid"]) if row.get("pid") else ""


def facts(row: Answer) -> Iterator[tuple[str, Any]]:
    """What a deployment has, for its description: its one process, or how many replicas serve."""
    launches: Sequence[Answer] = row.get("launches") or ()
    if several(row):
        counts = row["replicas"]
        yield "Replicas", missing(row) or f"{counts['ready']} of {counts['wanted']} serve"
    elif runs := process(row):
        image = next((one["image"] for one in launches if one.get("image")), None)
        port = f", port {row['port']}" if row["port"] else ""
        yield "Process", f"{runs}{f' of {image}' if image else ''}{port}"
    if row.get("threads"):
        yield "Threads", f"{row['threads']} in each worker"
    if (found := row.get("environment")) is not None:
        yield "Environment", _environment(found)


def _environment(found: Answer) -> str:
    versions = found["python_version"] and f"Python {found['python_version']}"
    mlflow = found["mlflow_version"] and f"MLflow {found['mlflow_version']}"
    state = "" if found["state"] == "ready" else found["state"]
    told = f"{state}: {found['progress']}" if found["progress"] else state
    parts = (found["manager"], versions, mlflow, (found["digest"] or "")[:12], told)
    return ", ".join(str(one) for one in parts if one)


def launches(row: Answer) -> list[str]:
    """The lines of a table of the launches; empty where one line of the description tells all."""
    found: Sequence[Answer] = row.get("launches") or ()
    if len(found) < 2 and not several(row):
        return []
    return table(_COLUMNS, map(_launch, found))


def _launch(one: Answer) -> tuple[Any, ...]:
    return (
        one["replica"],
        one["role"],
        f"{one['state']} ({one['step']})" if one["step"] else one["state"],
        figures.since(one["since"]),
        one["launch_id"] or "",
        process(one),
        one["port"] or "",
        one.get("threads") or "",
        "" if one["memory"] is None else numbers.size(one["memory"]),
        "" if one["in_flight"] is None else one["in_flight"],
        "" if one["reason"] == "healthy" else one["reason"],
    )
