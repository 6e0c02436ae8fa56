"""What ``settings.yaml`` may say, and what is said about the rest."""

from pathlib import Path
from typing import Any

import pytest

from model_deployment.core.errors import InvalidProject
from model_deployment.flow_project import ExperimentSettings, Task, load, settings_sha256
from model_deployment.flow_project.create import create
from model_deployment.flow_project.files import sha256_of
from model_deployment.flow_project.parse import parse

TEXT = """\
resources: {memory: 1GiB}
experiments:
  income:
    class: experiments.income:Income
    endpoint: income@champion
    data: data/income.csv
    target: income
    task: classification
    missing_values: ["", "?", 999]
    model_types: [forest, boosting]
    search_space:
      forest: {trees: {type: int, low: 50, high: 200, step: 50}}
    trials: 20
    timeout: 10m
    thresholds: {f1_score: {threshold: 0.6}}
"""


def problems(text: str) -> list[dict[str, Any]]:
    with pytest.raises(InvalidProject) as raised:
        parse(text)
    found: list[dict[str, Any]] = raised.value.extra["problems"]
    return found


def test_values_as_people_write_them_and_defaults() -> None:
    settings = parse(TEXT)
    income = settings.experiments["income"]
    assert settings.resources.memory == 2**30
    assert (income.name, income.model, income.task) == ("income", "income", Task.CLASSIFICATION)
    assert (income.metric, income.direction, income.timeout) == ("f1_score", "maximize", 600)
    assert income.missing_values == ("", "?", "999")
    assert income.choices_of_model_type == ("auto", "forest", "boosting")
    assert income.thresholds["f1_score"].greater_is_better is True
    assert income.data_path(Path("/p")) == Path("/p/data/income.csv")


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "message"),
    [
        ("trials: 20", "trails: 20", 13, "income.trails", "did you mean trials? Allowed here:"),
        ("trials: 20", "trials: many", 13, "income.trials", "'many' cannot be used: write a whole"),
        ("trials: 20", "trials: true", 13, "income.trials", "write a whole number"),
        ("low: 50", "low: 500", 12, "forest.trees", "low (500) is above high (200)"),
        ("step: 50", "steps: 50", 12, "trees.steps", "did you mean step?"),
        ("type: int", "type: whole", 12, "forest.trees", "say type: int, float or categorical"),
        ("10m", "10 parsecs", 14, "income.timeout", "a duration like 30s"),
        ("classification", "timeseries", 3, "experiments.income", "needs its time_column"),
        ("classification", "magic", 8, "income.task", "'regression' or 'timeseries'"),
        ("[forest, boosting]", "[auto]", 10, "model_types.0", "'auto' is taken"),
        ("[forest, boosting]", "[boosting]", 3, "experiments.income", "which is none of model_types"),
        ("f1_score: {threshold", "f1_score: {tresh", 15, "f1_score.tresh", "did you mean threshold?"),
        ("{threshold: 0.6}", "{min_relative_change: 2}", 15, "change", "less than or equal to 1"),
        ("{threshold: 0.6}", "{}", 15, "f1_score", "name threshold, min_absolute_change"),
        ("f1_score: {", "strange: {", 15, "thresholds.strange", "say greater_is_better"),
        ("data/income.csv", "../income.csv", 6, "income.data", "a path inside the project"),
        ("data/income.csv", "/etc/x.csv", 6, "income.data", "a path inside the project"),
        ("data/income.csv", "data/income.xlsx", 6, "income.data", ".csv or .parquet"),
        ("    data: data/income.csv\n", "", 3, "income.data", "it is missing"),
        ("income@champion", "other@champion", 5, "income.endpoint", "endpoint of another model"),
        ("  income:\n", "  in come:\n", 3, "experiments.in come", "cannot name an experiment"),
        ("target: income", "target: no", 7, "income.target", "in quotes"),
        ('"?", 999', "no", 9, "missing_values.1", "in quotes"),
        ("experiments.income:Income", "income.Income", 4, "income.class", "write module:Class"),
        ("1GiB", "1MiB", 1, "resources.memory", "greater than or equal"),
        ("trials:", "target:", 13, "", "the key 'target' is written twice"),
        ("trials: 20", "trials: &a 20\n    epochs: *a", 14, "", "aliases (*name) are not read"),
        ("trials: 20", "trials: [", 15, "", "this is no YAML"),
        ("trials: 20", "trials: " + "[" * 5000, 13, "", "nested too deeply"),
    ],
)  # fmt: skip
def test_a_problem_is_named_by_line_and_key(
    old: str, new: str, line: int, key: str, message: str
) -> None:
    assert old in TEXT
    (found,) = problems(TEXT.replace(old, new, 1))
    assert found["line"] == line
    assert found["key"].endswith(key)
    assert message in found["message"]


def test_all_problems_are_named_at_once() -> None:
    text = TEXT.replace("trials: 20", "trials: 0").replace("10m", "-1").replace("target:", "goal:")
    keys = [one["key"].rpartition(".")[2] for one in problems(text)]
    assert sorted(keys) == ["goal", "target", "timeout", "trials"]


@pytest.mark.parametrize("text", ["", "- 1", "5", "a: 2024-99-99", "? [1, 2]\n: 3", "x: \0"])
def test_a_text_that_is_no_settings_is_refused(text: str) -> None:
    assert problems(text)


def test_a_metric_nobody_knows_needs_a_direction() -> None:
    (found,) = problems(TEXT.replace("trials:", "metric: happiness\n    trials:"))
    assert "add direction: maximize or minimize" in found["message"]
    text = TEXT.replace("trials:", "metric: happiness\n    direction: minimize\n    trials:")
    assert not parse(text).experiments["income"].maximize


def test_a_new_project_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "project"
    written = create(folder)
    assert Path(".gitignore") in written
    settings = load(folder)
    assert {*settings.experiments} == {"income", "sales"}
    assert isinstance(settings.experiments["sales"], ExperimentSettings)
    assert settings_sha256(folder) == sha256_of((folder / "settings.yaml").read_text())
    with pytest.raises(InvalidProject, match="there are files already"):
        create(folder)


def test_a_folder_without_settings_says_what_helps(tmp_path: Path) -> None:
    with pytest.raises(InvalidProject, match="flows init"):
        load(tmp_path)
    (tmp_path / "settings.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidProject, match="UTF-8"):
        load(tmp_path)
    (tmp_path / "settings.yaml").write_bytes(b"#" * 65_537)
    with pytest.raises(InvalidProject, match="larger than 65536 bytes"):
        load(tmp_path)
