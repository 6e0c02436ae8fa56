"""Whether the page is safe, whole, and made of the report."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.degradation.page import render, shared_parts
from model_deployment.degradation.page.evidently_page import safe
from model_deployment.degradation.wording.verdict_words import words
from model_deployment.rendering import axis, svg
from tests.support.report_jobs import HOSTILE, frame, report, with_labels

HISTORY = [
    {"ts": f"2026-01-0{i}T00:00:00+00:00", "metrics": {"rmse": 0.1 * i}, "n": 50} for i in (1, 2)
]


def rendered(found: dict[str, Any], id: str = "") -> str:
    return render.render(found, HISTORY, evidently=bool(id), why_not="because", id=id)


def hostile(n: int, seed: int) -> pd.DataFrame:
    names = np.array([HOSTILE, "'\"><img src=x onerror=alert(1)>", "fine"], dtype=object)
    table = frame(n, seed)
    table[f"c{HOSTILE}"] = names[np.arange(n) % 3]
    table["quote\"'\n\t\0<u>"] = np.arange(n) / 7
    return table


def test_page_escapes_everything_that_callers_chose() -> None:
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
def test_page_shows_every_verdict(rows: int) -> None:
    for reference in (None, frame(1000, 2)):
        for error in (0.1, 3.0):
            found = report(with_labels(frame(rows, 1), error), reference, baseline={"rmse": 0.1})
            assert f">{words(found['verdict']).name}<" in (html := rendered(found))
            assert f"<h1>{found['headline']}</h1>" in html


def test_worst_three_findings_have_different_codes() -> None:
    reasons = [
        {"severity": "error", "code": code, "advice": "", "message": f"{code}{i}"}
        for i, code in enumerate("aabbcd")
    ]
    worst, rest = render._worst(reasons)
    assert [one["code"] for one in worst] == ["a", "b", "c"]
    assert [group["messages"] for group in rest] == [["a1"], ["b3"], ["d5"]]


def test_page_loads_nothing() -> None:
    html = rendered(report(hostile(300, 1), hostile(1000, 2)))
    assert not re.search(r"<[^>]*\s(src|href)\s*=|url\(|@import|https?:", html)


def test_a_report_that_could_not_be_made_has_a_page() -> None:
    reason = {
        "severity": "error",
        "code": "error",
        "column": None,
        "message": "no room",
        "advice": "",
    }
    html = rendered({"verdict": "error", "reasons": [reason]})
    assert "<h1>Not made</h1>" in html
    assert ">no room</p>" in html


def test_evidently_is_a_page_of_its_own() -> None:
    found = report(frame(300, 1), frame(1000, 2))
    link = '<a href="degradation_report?id=a%22b&amp;format=evidently">'
    assert link in (html := rendered(found, 'a"b'))
    assert "Missing: because" not in html
    assert "Missing: because" in rendered(found)


def test_the_library_of_a_page_is_stored_once() -> None:
    library = "<script>" + "x" * 60_000 + "</script>"
    style = "<style>" + "y" * 60_000 + "</style>"
    own = "<script>var metric_" + "0" * 32 + " = " + "z" * 60_000 + "</script>"
    html = f"<head>{style}{own}</head><body>{library}<script>short</script></body>"
    page, parts = shared_parts.split(html)
    assert sorted(parts.values()) == sorted([library, style])
    assert len(page) < len(own) + 300
    assert shared_parts.names(page) == [*parts]
    assert shared_parts.join(page, parts) == html
    assert shared_parts.split(html.replace("z", "w"))[1] == parts


def test_metrics_over_time_are_drawn() -> None:
    found = report(with_labels(frame(300, 1), 0.5), baseline={"rmse": 0.1})
    assert '<polyline class="trend"' in rendered(found)
    assert ">baseline 0.1<" in rendered(found)


def drawn(values: list[float], baseline: float | None = None, most: float | None = None) -> Any:
    """Where the points are, and what stands at the edges, the upper one first."""
    picture = str(svg.trend([("2026-01-01", one) for one in values], baseline, most))
    (line,) = re.findall(r'<polyline class="trend" points="([^"]*)"', picture)
    heights = [float(point.split(",")[1]) for point in line.split()]
    return heights, re.findall(r'text-anchor="end">([^<]*)</text>', picture)[:2]


@pytest.mark.parametrize(
    "values",
    [
        [2978.284480640107, 2978.2844806401067],
        [0.95, 0.9499999999999998],
        [1e-16, 7e-16, 3e-17],
        [-0.1, -0.10000000000000003],
        [0.0, -0.0],
    ],
)
def test_rounding_noise_is_drawn_flat(values: list[float]) -> None:
    heights, edges = drawn(values)
    assert max(heights) - min(heights) < 0.5
    assert edges[0] != edges[1]


def test_trend_draws_a_small_change_small() -> None:
    heights, _ = drawn([100, 99])
    assert 5 < heights[1] - heights[0] < 35
    # What is 1 at best has that scale, however small it is now.
    heights, _ = drawn([0.145, 0.149], None, 1.0)
    assert heights[0] - heights[1] < 10
    heights, edges = drawn([0.9, 0.5], 0.92, 1.0)
    assert heights[1] - heights[0] > 50
    assert (float(edges[0]), edges[0] != edges[1]) == (1, True)


@pytest.mark.parametrize(
    "values", [[1e308, -1e308], [1e307, 1e308], [5e-324], [-3.0, -2.0], [1.0], [0.0], [7, 8e9]]
)
def test_trend_stays_inside_the_chart(values: list[float]) -> None:
    for baseline in (None, values[0] / 2):
        heights, _ = drawn(values, baseline)
        assert all(8 <= height <= 102 for height in heights)


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=5))
def test_axis_holds_its_values_and_spans_a_twentieth(values: list[float]) -> None:
    low, high = axis.edges(values)
    assert low <= min(values) <= max(values) <= high
    assert high - low >= 0.05 * max(map(abs, values))
    assert high > low


def test_wrong_requests_have_a_section_of_their_own() -> None:
    wrong = [
        {"column": HOSTILE, "kind": "type", "count": 40},
        {"column": "", "kind": "form", "count": 2},
    ]
    job = {"requests": 400, "violations": wrong}
    for refused, first in ((4, False), (200, True)):
        found = report(frame(300, 1), frame(1000, 2), refused={"refused": refused}, **job)
        html = rendered(found)
        assert html.count("<h2>Callers send wrong requests</h2>") == 1
        assert html.count("requests (") == 1
        assert (
            html.index("Callers send wrong requests</h2>") < html.index("<h2>What matters")
        ) is first
    assert "Callers" not in rendered(report(frame(300, 1), frame(1000, 2), requests=400))


def test_change_by_rounding_is_zero() -> None:
    past = {
        "metrics": {"mse": 2978.284480640107},
        "n": 90,
        "source": "set",
        "ts": "2026-01-02T00:00:00Z",
    }
    window = {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
    found = report(frame(0, 1), baseline={"mse": 2978.2844806401067}, history=[past], **window)
    assert found["metrics"][0]["change"] == 0
    assert "on 90 measured rows" in found["headline"]


def test_texts_for_evidently_end_no_script() -> None:
    assert not set(safe(f'{HOSTILE}"&\\\n')) & set('<>"&\\\n')
