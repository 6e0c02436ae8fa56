"""The whole circle: a model degrades, new data comes, and a better version takes over. No caller notices.

    python examples/retrain.py [FOLDER]

A project of flows is begun, and trains who earns more than 50K. Then the world changes: other people ask,
and a degree no longer decides what they earn. A report says so. Data of the new world is uploaded; flows
analyse the data, train, evaluate, and hand the new version to the endpoint, which promotes it. FOLDER gets
the pages that a person would read (default: retrain-pages). Everything else happens in a temporary folder,
on free ports of this machine. Needs the environment of the flows: make flows.
"""

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from drift import checked, controller

ENDPOINT = "income@champion"
#: Requests with known truth that each report looks at.
ASKED = 400
#: Few, so that the example is short.
TRIALS = 3
#: Short steps, for the same reason: real ones take minutes.
POLICY = {
    "checks": {"replay": 100},
    "canary": {"steps": [50], "minutes": 0.05, "requests": 40},
}
#: Labels that a caller sends together.
TOLD_TOGETHER = 20
#: Seconds between two requests of a caller: as long as the story waits for answers, and otherwise.
HURRY, PAUSE = 0.05, 0.15
#: Seconds within which anything must have happened.
LONGEST = 240
#: What is told of the tasks of a run.
_TOLD = {
    "analyse data": "the data is compared with the original data",
    "study": "the study has found its best trial",
    "register": "a version is registered",
    "compare": "the candidate is judged on rows that nobody trained on",
    "set endpoint": "the version is handed to the endpoint",
    "await verdict": "the endpoint's rollout has decided",
}
_ENDED = ("completed", "failed", "crashed", "cancelled")

_began = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - _began:4.0f} s  {text}", flush=True)


class Callers:
    """Ask about people of the new world all the time, tell the truth later, and count who answers."""

    def __init__(self, url: str, people: list[dict[str, Any]]) -> None:
        self.versions: Counter[str] = Counter()
        self.failed = 0
        self.pause = PAUSE
        self._url, self._people = url, people
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(3)]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in self._threads:
                thread.join()

    def wait_for(self, version: str, answers: int) -> None:
        """Until a version has given so many answers."""
        end = time.monotonic() + LONGEST
        self.pause = HURRY
        while self.versions[version] < answers:
            if time.monotonic() > end:
                raise TimeoutError(f"version {version} gives no answers: {dict(self.versions)}")
            time.sleep(0.1)
        self.pause = PAUSE

    def _ask(self, number: int) -> None:
        chance = random.Random(number)
        told: list[dict[str, Any]] = []
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._end.wait(self.pause):
                record = dict(chance.choice(self._people))
                label = record.pop("income")
                answer = client.post(f"/{ENDPOINT}", json={"dataframe_records": [record]})
                self.versions[answer.headers.get("X-Model-Version", "none")] += 1
                self.failed += not answer.is_success
                told.append({"request_id": answer.headers["X-Request-Id"], "label": label})
                if len(told) == TOLD_TOGETHER:
                    client.post(f"/model/{ENDPOINT}/feedback", json={"items": told})
                    told.clear()


def begin_project(folder: Path) -> None:
    """The project that `flows init` writes, and a table that has drifted."""
    for command in (
        [sys.executable, "-m", "model_deployment", "flows", "init", str(folder)],
        [sys.executable, str(folder / "make_data.py"), "--drifted"],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def other_people(folder: Path) -> list[dict[str, Any]]:
    """People of the new world who are in no table that a model learns from."""
    made = runpy.run_path(str(folder / "make_data.py"))
    rows = made["income"](2000, 7, drifted=True)
    plain = [[getattr(value, "item", lambda value=value: value)() for value in row] for row in rows]
    people = [dict(zip(made["COLUMNS"], row, strict=True)) for row in plain]
    return [
        {name: None if value == "?" else value for name, value in one.items()} for one in people
    ]


def follow(client: httpx.Client, run: str) -> dict[str, Any]:
    """Tell what a run does until it has ended; its last state."""
    seen: set[str] = set()
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        found: dict[str, Any] = checked(client.get(f"/api/flow-runs/{run}"))
        for task in found["tasks"]:
            if task["state"] == "completed" and task["name"] not in seen:
                seen.add(task["name"])
                if task["name"] in _TOLD:
                    say(f"  {_TOLD[task['name']]}")
        if found["state"] in _ENDED:
            if found["state"] != "completed":
                lines = checked(client.get(f"/api/flow-runs/{run}/logs"))
                print(json.dumps(lines, indent=1)[-3000:])
                raise SystemExit(f"the run {found['state']}: {found['message']}")
            return found
        time.sleep(0.2)
    raise TimeoutError("the run does not end")


def judged(result: Mapping[str, Any]) -> str:
    """What the evaluation found, in a line."""
    found = result["evaluation"]["data"]["new"]
    mine, other = (found[who]["f1_score"] for who in ("candidate", "champion"))
    model_type = result["training"]["model_type"].replace("_", " ")
    return (
        f"version {result['version']}, a {model_type}: f1 {mine:.2f} on the new data, "
        f"version 1: {other:.2f}; outcome: {result['outcome']}"
    )


def report(client: httpx.Client, deployment: str, page: Path) -> dict[str, Any]:
    """Have a degradation report made, and keep its page."""
    path = f"/model/{deployment}/degradation_report"
    made: dict[str, Any] = checked(client.get(path, params={"format": "json"}))
    page.write_text(client.get(path, params={"id": made["id"]}).text, encoding="utf-8")
    return made


def upload(client: httpx.Client, file: Path) -> dict[str, Any]:
    """Bring new data; the controller starts the full flow with it."""
    taken: dict[str, Any] = checked(
        client.post(
            "/upload_data",
            params={"experiment": "income", "name": file.name},
            content=file.read_bytes(),
            headers={"Content-Type": "text/csv"},
        )
    )
    return taken


def end_service(data: Path) -> None:
    """End Prefect, which would go on for a while for the next run."""
    with suppress(OSError, ValueError, KeyError):
        pid = json.loads((data / "flows" / "service.json").read_text())["pid"]
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            os.kill(pid, 0)  # raises when it has ended
            time.sleep(0.1)


def circle(
    client: httpx.Client,
    project: Path,
    pages: Path,
    look: Callable[[str], None] = lambda what: None,
) -> Mapping[str, Any]:
    """From the first version to the second; the verdicts on the way.

    Args:
        look: called with ``data <SHA-256>`` when that is uploaded, with ``run <id>`` when that has ended,
            and with ``analysed <SHA-256>`` then.
    """
    say("The first training; Prefect starts ...")
    run = {"experiment": "income", "trials": TRIALS}
    follow(client, checked(client.post("/api/run_flow/full_flow", json=run))["id"])
    client.put(f"/endpoints/{ENDPOINT}", json=POLICY).raise_for_status()
    say(f"Version 1 serves at /{ENDPOINT}.")

    callers = Callers(str(client.base_url), other_people(project))
    with callers.at_work():
        say("The world changes: other people ask, and tell what they earn ...")
        callers.wait_for("1", ASKED)
        first = report(client, "income-1", pages / "degraded.html")
        say(f"The report on version 1: {first['verdict']}. {first['headline']}")

        say("Data of the new world is uploaded ...")
        taken = upload(client, project / "data" / "income-drifted.csv")
        say(f"  {taken['rows']} rows, version {taken['sha256'][:12]} of the training data")
        look(f"data {taken['sha256']}")
        run = follow(client, taken["run"]["id"])
        look(f"run {taken['run']['id']}")
        look(f"analysed {taken['sha256']}")
        say(f"  {judged(run['result'])}")
        analysis = client.get(f"/datasets/{taken['sha256']}/report?experiment=income")
        (pages / "new-data.html").write_text(analysis.text, encoding="utf-8")

        callers.wait_for("2", ASKED)
        second = report(client, "income-2", pages / "ok.html")
        say(f"The report on version 2: {second['verdict']}. {second['headline']}")
    say(f"Answers by version: {dict(sorted(callers.versions.items()))}; failed: {callers.failed}.")
    return {"before": first["verdict"], "after": second["verdict"], "failed": callers.failed}


def main() -> None:
    pages = Path(sys.argv[1] if len(sys.argv) > 1 else "retrain-pages").absolute()
    pages.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="retrain-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        begin_project(folder / "project")
        say("A project of flows, with two experiments and their data.")
        settings = {"FLOWS_PROJECT": str(folder / "project"), "FLOWS_IDLE_TIMEOUT": "60s"}
        try:
            with controller(folder, "", ports=8, **settings) as client:
                found = circle(client, folder / "project", pages)
        finally:
            end_service(folder / "data")
    print(f"\n{found['before']} -> {found['after']}; failed requests: {found['failed']}")
    print(f"The pages: {pages}")


if __name__ == "__main__":
    main()
