"""Whether the page is safe, whole, and made of the report."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_deployment.monitoring.report import page
from model_deployment.monitoring.report.deep import safe
from model_deployment.monitoring.verdicts import words
from tests.unit.reports import HOSTILE, frame, report, with_labels

HISTORY = [
    {"ts": f"2026-01-0{i}T00:00:00+00:00", "metrics": {"rmse": 0.1 * i}, "n": 50} for i in (1, 2)
]


def rendered(found: dict[str, Any], evidently: str | None = None) -> str:
    return page.render(found, HISTORY, evidently, "because")


def hostile(n: int, seed: int) -> pd.DataFrame:
    names = np.array([HOSTILE, "'\"><img src=x onerror=alert(1)>", "fine"], dtype=object)
    table = frame(n, seed)
    table[f"c{HOSTILE}"] = names[np.arange(n) % 3]
    table["quote\"'\n\t\0<u>"] = np.arange(n) / 7
    return table


def test_nothing_that_a_caller_chose_is_markup() -> None:
    now, before = hostile(300, 1), hostile(1000, 2)
    now[f"c{HOSTILE}"] = HOSTILE
    job = {
        "model": HOSTILE,
        "version": HOSTILE,
        "reference_source": HOSTILE,
        "baseline": {HOSTILE: 1.0},
        "violations": [{"column": HOSTILE, "kind": HOSTILE, "count": 3}],
        "since": HOSTILE,
    }
    html = rendered(report(now, before, **job))
    assert "&lt;script&gt;" in html
    assert not re.search(r"<(script|img|u)[ >]", html)


@pytest.mark.parametrize("rows", [0, 1, 30, 300])
def test_every_verdict_has_a_page(rows: int) -> None:
    for reference in (None, frame(1000, 2)):
        for error in (0.1, 3.0):
            found = report(with_labels(frame(rows, 1), error), reference, baseline={"rmse": 0.1})
            assert f">{words(found['verdict']).name}<" in (html := rendered(found))
            assert f"<h1>{found['headline']}</h1>" in html


def test_the_worst_three_come_first_each_of_another_kind() -> None:
    reasons = [
        {"severity": "error", "code": code, "advice": "", "message": f"{code}{i}"}
        for i, code in enumerate("aabbcd")
    ]
    worst, rest = page._worst(reasons)
    assert [one["code"] for one in worst] == ["a", "b", "c"]
    assert [group["messages"] for group in rest] == [["a1"], ["b3"], ["d5"]]


def test_nothing_is_loaded_from_anywhere() -> None:
    html = rendered(report(hostile(300, 1), hostile(1000, 2)))
    assert not re.search(r"<[^>]*\s(src|href)\s*=|url\(|@import|https?:", html)


def test_evidently_is_in_a_frame_that_it_cannot_leave() -> None:
    html = rendered(report(frame(300, 1), frame(1000, 2)), "<p title='x'>a & b</p>")
    assert "srcdoc='<p title=&#39;x&#39;>a &amp; b</p>'" in html
    assert 'sandbox="allow-scripts"' in html
    assert "Missing: because" not in html
    assert "Missing: because" in rendered(report(frame(300, 1), frame(1000, 2)))


def test_metrics_over_time_are_drawn() -> None:
    found = report(with_labels(frame(300, 1), 0.5), baseline={"rmse": 0.1})
    assert '<polyline class="trend"' in rendered(found)
    assert ">baseline 0.1<" in rendered(found)


def test_texts_for_evidently_end_no_script() -> None:
    assert not set(safe(f'{HOSTILE}"&\\\n')) & set('<>"&\\\n')
