"""The examples run as the documents say, and say what they should."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.support.controller_program import Program
from tests.support.missing import missing
from tests.support.waiting import until_sync

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FLOWS = ROOT / ".venv-flows" / "bin" / "python"


@pytest.mark.timeout(240)
def test_real_drift_is_told_and_explained(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "drift.py"), "report.html"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verdict: degraded" in done.stdout
    assert "bmi" in done.stdout
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>Degraded: worse than its baseline on 400 labelled rows</h1>" in page


@pytest.mark.timeout(420)
def test_rollouts_end_as_they_should_and_no_caller_notices(tmp_path: Path) -> None:
    said = run_example(tmp_path, "rollout.py", "page.html", timeout=400)
    assert "\npromoted, rolled_back, rolled_back.\n" in said
    assert "failed: 0." in said
    ended = [line for line in said.splitlines() if line.startswith("  rolled_back: ")]
    assert "version 3 is worse: rmse" in ended[0]
    assert "version 4 took longer than" in ended[1]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert ended[1].removeprefix("  rolled_back: ").split(";")[0] in page


@pytest.mark.timeout(300)
def test_a_promotion_reaches_devices_and_a_bad_one_only_the_canary_group(tmp_path: Path) -> None:
    said = run_example(tmp_path, "edge.py", timeout=280)
    assert said.endswith("\ncomplete, stopped, complete, complete.\n")
    assert "it needs more than 128 MiB of memory (gate-1, gate-2)" in said
    answers = [line.rpartition(" ") for line in said.splitlines() if " predicts " in line]
    assert [version for _, _, version in answers] == ["1"] * 12 + ["3"] * 6


@pytest.mark.timeout(620)
def test_a_degraded_model_is_retrained_and_no_caller_notices(tmp_path: Path) -> None:
    if not FLOWS.exists():
        missing("the environment of the flows is not installed (make flows)")
    environment = {"MODEL_DEPLOYMENT_FLOWS_PYTHON": str(FLOWS)}
    said = run_example(tmp_path, "retrain.py", "pages", timeout=600, environment=environment)
    assert "degraded -> ok; failed requests: 0" in said
    assert "outcome: serves" in said
    new_data = (tmp_path / "pages" / "new-data.html").read_text(encoding="utf-8")
    assert "education" in new_data


@pytest.mark.timeout(300)
def test_tutorial_examples_lead_to_a_report_of_drift(tmp_path: Path) -> None:
    registry = f"sqlite:///{tmp_path / 'data' / 'mlflow' / 'mlflow.db'}"
    assert "registered iris version 1" in run_example(tmp_path, "train.py")
    with Program(tmp_path, registry) as controller:
        deployed = httpx.post(f"{controller.url}/deploy/iris/1", params={"wait": 120}, timeout=150)
        assert deployed.json()["state"] == "ready", deployed.text
        url = {"MODEL_DEPLOYMENT_URL": controller.url}
        said = run_example(tmp_path, "traffic.py", "iris-1", "--millimetres", environment=url)
        assert '"labelled_rows":150' in said
        made = report(controller.url, captured=150)
    assert made["verdict"] == "drift"
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    quoted = [made["headline"], *(one["message"] for one in made["report"]["reasons"][:3])]
    assert [text for text in quoted if text not in tutorial] == []


@pytest.mark.timeout(180)
def test_the_agent_answers_openai_s_client_and_takes_ground_truth(tmp_path: Path) -> None:
    tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'registry.db'}"}
    run_example(tmp_path, "agents/register.py", environment=tracking)
    with Program(tmp_path, tracking["MLFLOW_TRACKING_URI"]) as controller:
        deployed = httpx.post(f"{controller.url}/deploy/words/1", params={"wait": 120}, timeout=150)
        assert deployed.json()["state"] == "ready", deployed.text
        with OpenAI(base_url=f"{controller.url}/v1", api_key="any", max_retries=0) as client:
            assert [model.id for model in client.models.list()] == ["words-1"]
            chunks = client.chat.completions.create(
                model="words-1", messages=[{"role": "user", "content": "to be or not"}], stream=True
            )
            said = [chunk.choices[0].delta.content for chunk in chunks]
            assert "".join(filter(None, said)) == "to be or not "
            raw = client.responses.with_raw_response.create(model="words-1", input="to be")
            assert raw.parse().output_text == "to be "
        truth = {"items": [{"request_id": raw.headers["x-request-id"], "label": "to be "}]}

        def matched() -> bool:
            fed = httpx.post(f"{controller.url}/model/words-1/feedback", json=truth, verify=False)
            return bool(fed.json()["matched"] or fed.json()["duplicate"])

        until_sync(matched, timeout=30, what="the label")


def run_example(
    folder: Path,
    name: str,
    *arguments: str,
    timeout: float = 120,
    environment: dict[str, str] | None = None,
) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def report(url: str, *, captured: int) -> dict[str, Any]:
    def written() -> bool:
        return bool(
            httpx.get(f"{url}/ready", verify=False).json()["captures"]["written"] >= captured
        )

    until_sync(written, timeout=30, what="the captures in the document store")
    path = "/model/iris-1/degradation_report"
    answer = httpx.get(url + path, params={"format": "json"}, timeout=120)
    made: dict[str, Any] = answer.raise_for_status().json()
    return made
