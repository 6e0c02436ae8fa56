"""The examples run as the documents say, and say what they should."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.support.controller_program import Program
from tests.support.example_forks import EXAMPLES, ExampleForks
from tests.support.harness import ROOT
from tests.support.left_out import leave_evidently_out
from tests.support.missing import missing
from tests.support.waiting import until_sync

FLOWS = ROOT / ".venv-flows" / "bin" / "python"


@pytest.fixture(scope="module")
def forks() -> Iterator[ExampleForks]:
    it = ExampleForks()
    yield it
    it.close()


class Examples:
    """Runs them in a folder."""

    def __init__(self, forks: ExampleForks, folder: Path) -> None:
        self._forks = forks
        self.folder = folder

    def run(self, name: str, *arguments: str, **environment: str) -> str:
        """Run one to its end; what it says. ``environment`` are further variables."""
        # Those of MLflow are of other tests in this process.
        own = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        code, said = self._forks.run(self.folder, name, *arguments, environment=own | environment)
        assert code == 0, said
        return said


@pytest.fixture
def examples(forks: ExampleForks, tmp_path: Path) -> Examples:
    return Examples(forks, tmp_path)


@pytest.mark.parametrize("name", ["drift", "edge", "retrain", "rollout"])
def test_what_a_long_example_imports_is_there(
    forks: ExampleForks, tmp_path: Path, name: str
) -> None:
    """Some of it is in other examples."""
    code, said = forks.run(tmp_path, f"{name}.py", environment=os.environ, run_name="example")
    assert (code, said) == (0, "")


@pytest.mark.long
@pytest.mark.timeout(240)
def test_real_drift_is_told_and_explained(tmp_path: Path) -> None:
    """As a program, which imports what it needs itself; the others are forks."""
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
    assert "own tests on a sample of the rows" in page  # by Evidently
    assert "<h1>Degraded: worse than its baseline on 400 labelled rows</h1>" in page


@pytest.mark.long
@pytest.mark.timeout(420)
def test_rollouts_end_as_they_should_and_no_caller_notices(examples: Examples) -> None:
    said = examples.run("rollout.py", "page.html")
    assert "\npromoted, rolled_back, rolled_back.\n" in said
    assert "failed: 0." in said
    ended = [line for line in said.splitlines() if line.startswith("  rolled_back: ")]
    assert "version 3 is worse: rmse" in ended[0]
    assert "version 4 took longer than" in ended[1]
    page = (examples.folder / "page.html").read_text(encoding="utf-8")
    assert ended[1].removeprefix("  rolled_back: ").split(";")[0] in page


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_promotion_reaches_devices_and_a_bad_one_only_the_canary_group(
    examples: Examples,
) -> None:
    said = examples.run("edge.py")
    assert said.endswith("\ncomplete, stopped, complete, complete.\n")
    assert "it needs more than 128 MiB of memory (gate-1, gate-2)" in said
    answers = [line.rpartition(" ") for line in said.splitlines() if " predicts " in line]
    assert [version for _, _, version in answers] == ["1"] * 12 + ["3"] * 6


@pytest.mark.long
@pytest.mark.timeout(620)
@pytest.mark.usefixtures("quick_reports")
def test_a_degraded_model_is_retrained_and_no_caller_notices(examples: Examples) -> None:
    if not FLOWS.exists():
        missing("the environment of the flows is not installed (make flows)")
    said = examples.run("retrain.py", "pages", MODEL_DEPLOYMENT_FLOWS_PYTHON=str(FLOWS))
    assert "degraded -> ok; failed requests: 0" in said
    assert "outcome: serves" in said
    new_data = (examples.folder / "pages" / "new-data.html").read_text(encoding="utf-8")
    assert "education" in new_data


class Tutorial:
    """Both models of the tutorials, registered, behind one controller."""

    def __init__(self, examples: Examples, controller: Program) -> None:
        self.examples = examples
        self.url = controller.url

    def deploy(self, model: str) -> None:
        answer = httpx.post(
            f"{self.url}/deploy/{model}/1", params={"wait": 120}, timeout=150, verify=False
        )
        assert answer.json()["state"] == "ready", answer.text


@pytest.fixture(scope="module")
def tutorial(forks: ExampleForks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tutorial]:
    folder = tmp_path_factory.mktemp("tutorial")
    examples = Examples(forks, folder)
    registry = f"sqlite:///{folder / 'data' / 'mlflow' / 'mlflow.db'}"
    assert "registered iris version 1" in examples.run("train.py")
    examples.run("agents/register.py", MLFLOW_TRACKING_URI=registry)
    with pytest.MonkeyPatch.context() as patch:
        leave_evidently_out(patch)
        with Program(folder, registry) as controller:
            yield Tutorial(examples, controller)


@pytest.mark.timeout(300)
def test_tutorial_examples_lead_to_a_report_of_drift(tutorial: Tutorial) -> None:
    tutorial.deploy("iris")
    url = {"MODEL_DEPLOYMENT_URL": tutorial.url}
    said = tutorial.examples.run("traffic.py", "iris-1", "--millimetres", **url)
    assert '"labelled_rows":150' in said
    made = report(tutorial.url, captured=150)
    assert made["verdict"] == "drift"
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    quoted = [made["headline"], *(one["message"] for one in made["report"]["reasons"][:3])]
    assert [text for text in quoted if text not in page] == []


@pytest.mark.timeout(300)
def test_the_agent_answers_openai_s_client_and_takes_ground_truth(tutorial: Tutorial) -> None:
    tutorial.deploy("words")
    with OpenAI(base_url=f"{tutorial.url}/v1", api_key="any", max_retries=0) as client:
        assert "words-1" in [model.id for model in client.models.list()]
        chunks = client.chat.completions.create(
            model="words-1", messages=[{"role": "user", "content": "to be or not"}], stream=True
        )
        said = [chunk.choices[0].delta.content for chunk in chunks]
        assert "".join(filter(None, said)) == "to be or not "
        raw = client.responses.with_raw_response.create(model="words-1", input="to be")
        assert raw.parse().output_text == "to be "
    truth = {"items": [{"request_id": raw.headers["x-request-id"], "label": "to be "}]}

    def matched() -> bool:
        path = f"{tutorial.url}/model/words-1/feedback"
        fed = httpx.post(path, json=truth, verify=False).json()
        return bool(fed["matched"] or fed["duplicate"])

    until_sync(matched, timeout=30, what="the label")


def report(url: str, *, captured: int) -> dict[str, Any]:
    def written() -> bool:
        return bool(
            httpx.get(f"{url}/ready", verify=False).json()["captures"]["written"] >= captured
        )

    until_sync(written, timeout=30, what="the captures in the document store")
    path = "/model/iris-1/degradation_report"
    answer = httpx.get(url + path, params={"format": "json"}, timeout=120, verify=False)
    made: dict[str, Any] = answer.raise_for_status().json()
    return made
