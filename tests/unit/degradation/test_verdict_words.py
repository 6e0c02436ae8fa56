"""One table of verdicts: every one has words, and every page takes them from there."""

import re
from pathlib import Path

import pytest

from model_deployment.degradation import verdict_words
from model_deployment.degradation.metric_verdict import Judged
from model_deployment.degradation.verdict_words import OF_METRICS, WORDS, Verdict

PACKAGE = Path(verdict_words.__file__).parents[2]


def test_every_verdict_has_words_of_its_own() -> None:
    assert WORDS.keys() == set(Verdict)
    names = [one.name for one in WORDS.values()]
    assert len(set(names)) == len(names)
    for verdict, one in WORDS.items():
        assert one.meaning.endswith(".")
        assert one.tone in {"good", "info", "warn", "bad"}
        assert verdict_words.words(str(verdict)) is one


def test_a_verdict_that_is_not_known_is_its_own_name() -> None:
    """Of a store that a later version has written to."""
    assert (verdict_words.words("unheard-of").name, verdict_words.words("").severity) == (
        "unheard-of",
        0,
    )
    assert (
        verdict_words.rank("unheard-of") > verdict_words.rank("ok") > verdict_words.rank("degraded")
    )


def test_what_cannot_be_told_alarms_nobody() -> None:
    silent = {str(verdict) for verdict, one in WORDS.items() if one.severity == 0}
    assert silent == {"insufficient_data", "no_reference", "worse"}
    order = sorted(
        (one for one in WORDS if WORDS[one].severity), key=lambda one: -WORDS[one].severity
    )
    assert order == ["degraded", "drift", "error", "ok"]


def test_the_table_is_of_reports() -> None:
    told = re.findall(r"^\| `(\w+)` \|", verdict_words.table(), re.MULTILINE)
    assert {*told} == {str(one) for one in Verdict} - OF_METRICS


@pytest.mark.parametrize("page", sorted(PACKAGE.rglob("*.jinja")), ids=lambda path: path.name)
def test_no_page_has_names_of_its_own(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(
        "as it was<|>holds<|>worse<|>degraded<|has moved<|Data moved|Unchanged", text
    )


def test_the_default_of_a_metric_is_that_it_is_held_to_nothing() -> None:
    assert Judged().verdict == "no_reference"
