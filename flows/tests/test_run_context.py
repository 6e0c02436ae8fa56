"""What a run reads of the project and of the versions of the data."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from harness.tiny_experiment import settings, table
from model_deployment_flows.environment import Environment
from model_deployment_flows.experiment import UnusableData
from model_deployment_flows.frames import read_frame, read_like
from model_deployment_flows.project_class import experiment_class
from model_deployment_flows.run_context import Data, RunContext

from model_deployment.core.errors import InvalidProject, NotFound


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    (tmp_path / "data").mkdir()
    table(rows=50).to_csv(tmp_path / "data" / "tiny.csv", index=False)
    environment = Environment(tmp_path / "kept", tmp_path, "sqlite://")
    return RunContext(environment, settings(), "0" * 64)


@pytest.mark.parametrize("name", ["new.csv", "new.parquet"])
def test_a_version_has_the_columns_of_the_original_data(context: RunContext, name: str) -> None:
    new = table(rows=20, seed=3).assign(region="north")[["bought", "region", "town", "age"]]
    path = context.folder / name
    if path.suffix == ".csv":
        new.to_csv(path, index=False)
    else:
        new.to_parquet(path)
    frame = context.read(Data(path, "1" * 64, original=False))
    assert [*frame.columns] == ["age", "town", "bought"]
    pd.testing.assert_series_equal(frame["age"], new["age"], check_index=False)


@pytest.mark.parametrize(("original", "new"), [("csv", "parquet"), ("parquet", "csv")])
def test_a_row_is_the_same_in_each_format(tmp_path: Path, original: str, new: str) -> None:
    times = pd.date_range("2026-01-01", periods=40, freq="7h")
    rows = pd.DataFrame({
        "amount": np.random.default_rng(0).normal(size=40),
        "code": [f"{n:03}" if n % 9 else "A" for n in range(40)],
        "when": times.where(times.day != 5),
        "day": times.date,
        "utc": times.tz_localize("UTC"),
    })  # fmt: skip
    files = {"csv": tmp_path / "rows.csv", "parquet": tmp_path / "rows.parquet"}
    rows.to_csv(files["csv"], index=False)
    rows.to_parquet(files["parquet"])
    before = read_frame(files[original], [])
    after = read_like(files[new], files[original], [])
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    hashes = (pd.util.hash_pandas_object(one, index=False) for one in (before, after))
    pd.testing.assert_series_equal(*hashes)


def test_digits_are_texts_where_the_original_data_have_texts(tmp_path: Path) -> None:
    original, new = tmp_path / "original.csv", tmp_path / "new.csv"
    original.write_text("code\n007\nA1\n")
    new.write_text("code\n007\n12\n")
    assert read_like(new, original, [])["code"].tolist() == ["007", "12"]


def test_a_text_that_is_no_time_is_told(tmp_path: Path) -> None:
    original, new = tmp_path / "original.parquet", tmp_path / "new.csv"
    pd.DataFrame({"when": pd.date_range("2026-01-01", periods=3)}).to_parquet(original)
    new.write_text("when\nsoon\n")
    with pytest.raises(UnusableData, match="cannot read the column 'when' as times"):
        read_like(new, original, [])


def test_the_original_data_are_known_by_their_digest(context: RunContext) -> None:
    original = context.data(None)
    assert original.original
    assert context.data(original.sha256) == context.data("original") == original
    with pytest.raises(NotFound, match="cannot find the version '1111"):
        context.data("1" * 64)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", "is no subclass of model_deployment_flows.experiment.Experiment"),
        ("raise OSError('no disk')", "cannot be imported from .*: OSError: no disk"),
        ("from harness.tiny_experiment import Experiment as Tiny", None),
        (
            "from harness import tiny_experiment\n"
            "class Tiny(tiny_experiment.Tiny):\n    model_types = ('deep',)",
            "knows no model type shallow; it knows deep",
        ),
    ],
)
def test_a_class_that_cannot_be_used_is_named(
    context: RunContext, code: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = context.folder / "experiments"
    modules.mkdir()
    (modules / "__init__.py").touch()  # else a package of another test hides it
    (modules / "tiny.py").write_text(code)
    monkeypatch.setattr(sys, "path", [*sys.path])
    if expected is None:
        assert context.experiment().settings.name == "tiny"
    else:
        with pytest.raises(InvalidProject, match=expected):
            context.experiment()


def test_each_project_has_its_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    classes = []
    for name in ("first", "second"):
        modules = tmp_path / name / "experiments"
        modules.mkdir(parents=True)
        (modules / "names.py").write_text(f"NAME = {name!r}\n")
        (modules / "tiny.py").write_text(
            "from harness import tiny_experiment\n"
            "from experiments.names import NAME\n"
            "class Tiny(tiny_experiment.Tiny):\n    project = NAME\n"
        )
        classes.append(experiment_class(settings(), tmp_path / name))
        assert experiment_class(settings(), tmp_path / name) is classes[-1]
    assert [vars(one)["project"] for one in classes] == ["first", "second"]
