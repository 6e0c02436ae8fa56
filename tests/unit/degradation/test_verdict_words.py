"""One table of verdicts: every one has words, and every page takes them from there."""

import re
from pathlib import Path

from model_deployment.degradation.metric_verdict import MetricVerdict
from model_deployment.degradation.wording import verdict_words
from model_deployment.degradation.wording.verdict_words import OF_METRICS, WORDS, Verdict
from tests.support.cases import each

PACKAGE = Path(verdict_words.__file__).parents[2]


def test_every_verdict_has_words_of_its_own() -> None:
    assert WORDS.keys() == set(Verdict)
    names = [one.name for one in WORDS.values()]
    assert len(set(names)) == len(names)
    for verdict, one in WORDS.items():
        assert one.meaning.endswith(".")
        assert one.tone in {"good", "info", "warn", "bad"}
        assert verdict_words.words(str(verdict)) is one


def test_unknown_verdict_is_its_own_name() -> None:
    """Of a store that a later version has written to."""
    assert (verdict_words.words("unheard-of").name, verdict_words.words("").severity) == (
        "unheard-of",
        0,
    )
    assert (
        verdict_words.rank("unheard-of") > verdict_words.rank("ok") > verdict_words.rank("degraded")
    )


def test_undecided_verdicts_have_no_severity() -> None:
    silent = {str(verdict) for verdict, one in WORDS.items() if one.severity == 0}
    assert silent == {"insufficient_data", "no_reference", "worse"}
    order = sorted(
        (one for one in WORDS if WORDS[one].severity), key=lambda one: -WORDS[one].severity
    )
    assert order == ["degraded", "drift", "error", "ok"]


def test_table_has_the_verdicts_of_reports() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", verdict_words.table(), re.MULTILINE)
    assert {*listed} == {str(one) for one in Verdict} - OF_METRICS


@each("page", sorted(PACKAGE.rglob("*.jinja")))
def test_templates_spell_no_verdict(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(">worse<|>degraded<|has drifted<|Data drift|Unchanged", text)


def test_metric_verdict_defaults_to_no_reference() -> None:
    assert MetricVerdict().verdict == "no_reference"
