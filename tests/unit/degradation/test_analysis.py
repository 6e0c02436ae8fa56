"""Whether faults that were planted in new training data are found, and none where there are none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_deployment.degradation.analysis import analyse
from model_deployment.degradation.analysis import table as tables
from tests.support.cases import each
from tests.support.report_jobs import HOSTILE
from tests.support.training_tables import codes, days, of_days, of_people, people

Change = Callable[[pd.DataFrame], Any]


def put(column: str, value: Any, share: float = 1.0) -> Change:
    """The table with a value in some cells of a column."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        cells = table[column].astype(object)
        cells[table.index < share * len(table)] = value
        return table.assign(**{column: cells})

    return change


def doubled(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.head(len(table) // 2)], ignore_index=True)


@each(
    "change, expected",
    [
        (lambda t: t.drop(columns="age"), "column_gone:age:ERROR"),
        (lambda t: t.assign(city="x"), "column_new:city:INFO"),
        (put("age", "old"), "type_changed:age:ERROR"),
        (put("age", "40 years", 0.01), "not_numbers:age:ERROR"),
        (put("job", 3.5), "type_changed:job:WARNING"),
        (put("age", "2026-11-30"), "type_changed:age:ERROR"),
        (put("age", None), "column_empty:age:ERROR"),
        (put("age", None, 0.4), "missing_rose:age:ERROR"),
        (put("age", None, 0.1), "missing_rose:age:WARNING"),
        (put("age", "-", 0.01), "missing_unlisted:age:ERROR"),
        (put("job", "missing", 0.01), "missing_unlisted:job:WARNING"),
        (lambda t: t, "missing_listed:job:INFO"),
        (put("age", 40.0), "column_constant:age:ERROR"),
        (put("age", 40.0, 0.97), "nearly_constant:age:WARNING"),
        (put("age", np.inf, 0.01), "infinite:age:ERROR"),
        (lambda t: t.assign(age=t.age + 200), "out_of_range:age:WARNING"),
        (lambda t: t.assign(age=t.age * 1.5), "drift:age:WARNING"),
        (put("job", "abroad", 0.1), "new_categories:job:WARNING"),
        (lambda t: t[t.job != "public"], "gone_categories:job:INFO"),
        (doubled, "duplicates::WARNING"),
        (lambda t: t.head(20), "few_rows::ERROR"),
        (lambda t: t.head(0), "no_rows::ERROR"),
        (lambda t: t.assign(gain=(t.income == "high") * 9.5), "leak:gain:WARNING"),
        (lambda t: t.assign(age=t.age.to_numpy()[::-1]), "relation_changed:age:WARNING"),
        (lambda t: t.assign(gain=t.age * 2), "features_alike::INFO"),
        (lambda t: t.assign(gain=t.age * 2), "pair_changed:gain:WARNING"),
        (lambda t: t.drop(columns="income"), "target_gone:income:ERROR"),
        (put("income", None), "target_empty:income:ERROR"),
        (put("income", None, 0.99), "target_empty:income:ERROR"),
        (put("income", None, 0.2), "target_missing:income:WARNING"),
        (put("income", "high"), "target_constant:income:ERROR"),
        (put("income", "middle", 0.2), "new_classes:income:WARNING"),
        (put("income", "middle", 0.004), "rare_classes:income:WARNING"),
        (put("income", "high", 0.5), "target_drift:income:WARNING"),
    ],
)
def test_fault_is_found(change: Change, expected: str) -> None:
    assert expected in codes(of_people(change(people())))


@pytest.mark.parametrize("seed", range(2, 8))
def test_second_sample_has_no_fault(seed: int) -> None:
    for rows in (40, 1500):
        found = of_people(people(rows, seed))
        assert not [one for one in found.findings if one.severity.name != "INFO"]
        assert found.summary()["headline"] == "Fit for a training"


def test_drift_alone_stops_no_training() -> None:
    found = of_people(people(hours=60))
    assert "drift:hours:WARNING" in codes(found)
    assert not found.stops


def test_target_of_a_regression_holds_numbers() -> None:
    regression = {"target": "gain", "task": "regression"}
    assert not of_people(people(), **regression).stops
    found = of_people(put("gain", "much", 0.01)(people()), **regression)
    assert "target_not_numbers:gain:ERROR" in codes(found)
    assert of_people(people(), target="gain").errors[0].code == "target_not_classes"


def test_truth_values_are_the_same_in_csv_and_parquet(tmp_path: Path) -> None:
    truths = np.random.default_rng(0).random(200) > 0.5
    rows = pd.DataFrame({"flag": truths, "left": ~truths, "age": np.arange(200.0)})
    rows.to_csv(tmp_path / "new.csv", index=False)
    rows.to_parquet(tmp_path / "old.parquet")
    files = (tmp_path / "new.csv", tmp_path / "old.parquet")
    for new, old in (files, files[::-1]):
        found = analyse(new, old, target="left", task="classification")
        assert not [one.code for one in found.findings if one.severity.name != "INFO"][1:]


def test_the_target_comes_first() -> None:
    found = of_people(people().drop(columns=["age", "income"]))
    assert [one.code for one in found.errors] == ["target_gone", "column_gone"]


def test_a_renamed_column_is_recognised() -> None:
    found = of_people(people().rename(columns={"hours": "Hours"}))
    assert "“Hours” has a similar name" in found.errors[0].message


def test_rows_that_are_known_are_counted() -> None:
    original = people(seed=1)
    again = of_people(original.copy(), original)
    assert "same_data::WARNING" in codes(again)
    half = of_people(pd.concat([original.head(400), people(400, 2)]), original)
    assert half.summary()["rows"]["known"] == pytest.approx(0.5, abs=0.01)
    assert half.summary()["rows"]["known"] is not None
    alone = analyse(original, None, target="income", task="classification", missing_values=["?"])
    assert not [one for one in alone.findings if one.severity.name != "INFO"]
    assert alone.summary()["rows"]["known"] is None


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_is_as_its_table(tmp_path: Path, form: str) -> None:
    paths = []
    for name, table in (("new", put("age", None, 0.3)(people())), ("old", people(seed=1))):
        table["age"] = table["age"].astype(float)
        paths.append(tmp_path / f"{name}.{form}")
        if form == "csv":
            table.to_csv(paths[-1], index=False)
        else:
            table.to_parquet(paths[-1])
    of_files = of_people(*paths)
    assert codes(of_files) == codes(of_people(put("age", None, 0.3)(people())))


def test_a_file_of_any_column_types_is_analysed(tmp_path: Path) -> None:
    table = people().assign(
        age=pd.date_range("2026", periods=800, tz="UTC"),
        hours=people().hours > 40,
        job=people().job.astype("category"),
        gain=None,
    )
    table.to_parquet(tmp_path / "new.parquet")
    assert not of_people(tmp_path / "new.parquet", tmp_path / "new.parquet").stops
    (tmp_path / "new.csv").write_text("age,income\n")
    assert "no_rows::ERROR" in codes(of_people(tmp_path / "new.csv", tmp_path / "new.parquet"))


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_dates_that_stand_for_ever_are_read(day: str) -> None:
    table = people().assign(valid_to="2026-11-30")
    table.loc[::2, "valid_to"] = day
    found = of_people(table, table).summary()["columns"]
    assert day in str(next(one for one in found if one["name"] == "valid_to"))
    assert "repeated_times:day:ERROR" in codes(of_days(days().assign(day=day)))


def test_a_large_file_is_sampled_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_MAX_CELLS", 2000)
    monkeypatch.setattr(tables, "_MIN_ROWS", 400)
    people(5000).to_csv(tmp_path / "new.csv", index=False)
    found = of_people(tmp_path / "new.csv")
    assert found.summary()["rows"]["new"] == 5000
    assert found.summary()["rows"]["analysed_new"] == 400
    assert "sampled::INFO" in codes(found)
    assert "a random sample" in found.page()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2\n3,4,5\n"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "new.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read new\.csv"):
        of_people(tmp_path / "new.csv")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t.drop(columns="day"), "no_times:day:ERROR"),
        (lambda t: t.iloc[::-1], "unordered_times:day:INFO"),
        (doubled, "repeated_times:day:ERROR"),
        (lambda t: pd.concat([t, t.tail(1)]), "repeated_times:day:ERROR"),
        (lambda t: t.drop(index=range(50, 60)), "gaps:day:WARNING"),
        (lambda t: t.drop(index=range(50, 110)), "gaps:day:ERROR"),
        (lambda t: t.iloc[::7], "frequency_changed:day:ERROR"),
        (put("day", "soon", 0.004), "unreadable_times:day:ERROR"),
        (put("day", "2025-07-20 09:00", 0.004), "uneven_times:day:ERROR"),
        (lambda t: t.head(50), "few_rows::ERROR"),
        (put("sales", "many", 0.1), "target_not_numbers:sales:ERROR"),
    ],
)
def test_fault_of_a_series_is_found(change: Change, expected: str) -> None:
    assert expected in codes(of_days(change(days(first="2025-07-20", seed=1))))


def test_a_series_that_goes_on_has_no_fault() -> None:
    assert codes(of_days(days(first="2025-07-20", seed=1))) == []
    assert codes(of_days(days(first="2025-09-20", seed=1))) == ["hole_between:day:INFO"]
    assert "old_times:day:WARNING" in codes(of_days(days(100)))
    assert codes(of_days(days().assign(day=range(200)), days().assign(day=range(200)))) == [
        "same_data::WARNING"
    ]


def test_a_series_without_weekends_needs_other_times() -> None:
    workdays = days(300)[pd.to_datetime(days(300)["day"]).dt.dayofweek < 5]
    found = of_days(workdays, workdays)
    assert "short_stretches:day:ERROR" in codes(found)
    assert found.summary()["series"]["new"]["frequency"] == "working days"
    assert found.summary()["series"]["new"]["gaps"] == 0


ODD = {
    "empty": pd.DataFrame(),
    "no rows": people(0),
    "one column": people()[["income"]],
    "all missing": pd.DataFrame({name: [None] * 100 for name in people()}),
    "booleans": people().assign(age=people().age > 40, gain=[True, None] * 400),
    "times": people().assign(
        age=pd.date_range("2026", periods=800, tz="UTC"), gain=pd.Timedelta(1)
    ),
    "mixed": people().assign(age=[1, "x", None, True] * 200, job=[b"x", 2.5, [1], {"a": 1}] * 200),
    "names": people().set_axis(["ä", "ä", "\n", HOSTILE, "income"], axis="columns"),
    "numbers as names": people().set_axis([0, 1, 2, 3, "income"], axis="columns"),
    "categories": people().assign(job=people().job.astype("category")),
    "huge": people().assign(age=1e308, gain=-1e308, hours=2**70),
    "hostile": people().assign(job=HOSTILE, city=[f"{HOSTILE}{place % 3}" for place in range(800)]),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_table_is_analysed(name: str) -> None:
    for new, original in (
        (ODD[name], people(seed=1)),
        (people(), ODD[name]),
        (ODD[name], ODD[name]),
    ):
        found = of_people(new, original)
        text = json.dumps(found.summary(), allow_nan=False)
        assert HOSTILE not in found.page()
        assert "http" not in found.page().replace("http-equiv", "")
        assert len(text) < 200_000


def test_a_wide_table_has_bounded_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = people(40).assign(**{f"f{place}": "n/a ?" for place in range(70)})
    monkeypatch.setattr("model_deployment.degradation.analysis.assemble._MAX_FEATURES", 60)
    found = of_people(wide, wide)
    kinds = [one.code for one in found.findings]
    assert "too_wide" in kinds
    assert kinds.count("one_value") == 51


@settings(max_examples=8, deadline=None)
@given(
    cells=st.lists(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=5),
            st.datetimes(),
            st.sampled_from(["?", "1", "1.5", "true", "2026-01-01", ""]),
        ),
        min_size=40,
        max_size=60,
    ),
    task=st.sampled_from(["classification", "regression"]),
)
def test_any_cells_are_analysed(cells: list[Any], task: str) -> None:
    table = pd.DataFrame({"a": pd.Series(cells, dtype=object), "income": pd.Series(cells[::-1])})
    for pair in ((table, people()), (people(), table)):
        found = of_people(*pair, task=task)
        json.dumps(found.summary(), allow_nan=False)
        assert found.page()
