"""Renders the comparison of a rollout's versions as an HTML page that loads nothing from anywhere."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from model_deployment.core.endpoints import RolloutState
from model_deployment.endpoints.comparison.bar_pair import Bar, bar_pair
from model_deployment.endpoints.views import DOING
from model_deployment.rendering.numbers import count, milliseconds, number, percent

_TEMPLATE = "page.html.jinja"
Figures = Mapping[str, Any]

_TONES = {RolloutState.PROMOTED: "good", RolloutState.ROLLED_BACK: "bad"}
#: Failures as people call them; others have a status of HTTP for a name.
_FAILURES = {
    "refused": "refused by its gate",
    "shape": "another shape of answer",
    "null": "no prediction where the champion has one",
    "no_json": "no JSON",
    "502": "broke off (502)",
    "504": "no answer in time (504)",
}
_OUTCOMES = {"passed": "good", "failed": "bad", "inconclusive": "warn"}


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage as the page shows it."""

    title: str
    about: str
    outcome: str
    tone: str
    reason: str
    pictures: list[tuple[str, Markup]]
    rows: list[tuple[str, str, str]]
    notes: list[str]


def render(comparison: Figures) -> str:
    """The page as HTML.

    Args:
        comparison: as :func:`model_deployment.endpoints.comparison.comparison.comparison` makes it.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    state = RolloutState(comparison["state"])
    return environment.get_template(_TEMPLATE).render(
        one=comparison,
        tone=_TONES.get(state, "info"),
        headline=f"Version {comparison['candidate']} {DOING[state]}",
        verdict=comparison["verdict"].replace("_", " "),
        facts=list(_facts(comparison)),
        stages=list(_stages(comparison)),
    )


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M}"


def _facts(one: Figures) -> Iterator[tuple[str, str]]:
    for name, what in (("replay", "requests replayed"), ("shadow", "live requests copied")):
        if (stage := one[name]) and "candidate" in stage:
            yield number(stage["candidate"]["requests"]), what
    if one["canary"]:
        yield number(one["canary"]["candidate"]["requests"]), "live requests answered by it"
    if step := one["canary_steps"]:
        yield number(len(step)), "canary steps" if len(step) > 1 else "canary step"


def _stages(one: Figures) -> Iterator[StageView]:
    if check := one["check"]:
        tone = _OUTCOMES[check["outcome"]]
        about = "Its own input example, and captured requests through its gate."
        yield StageView("Check", about, check["outcome"], tone, check["reason"], [], [], [])
    names = f"version {one['champion']}", f"version {one['candidate']}"
    abouts = {
        "replay": "Captured requests of the champion, sent to the candidate. No caller was involved.",
        "shadow": "Copies of live requests. Callers got the champion's answer.",
        "canary": "Live requests, answered by one of the two.",
    }
    for name, about in abouts.items():
        if stage := one[name]:
            found = _stage(name, about, stage, names)
            yield replace(found, notes=[*found.notes, *_steps(one)]) if name == "canary" else found


def _steps(one: Figures) -> Iterator[str]:
    steps = one["canary_steps"] if len(one["canary_steps"]) > 1 else ()
    for place, step in enumerate(steps, 1):
        candidate, champion = step["candidate"], step["champion"]
        yield (
            f"Step {place}: version {one['candidate']} answered {count(candidate['requests'], 'request')}, "
            f"{number(candidate['failed'])} failed; version {one['champion']} "
            f"{number(champion['requests'])}, {number(champion['failed'])} failed"
        )


def _stage(name: str, about: str, stage: Figures, names: tuple[str, str]) -> StageView:
    outcome = stage.get("outcome", "")
    pictures: list[tuple[str, Markup]] = []
    rows: list[tuple[str, str, str]] = []
    # The reason of a replay tells it already.
    notes = [] if name == "replay" else list(_notes(stage, paired=name == "shadow"))
    if "candidate" in stage:
        arms = stage["champion"], stage["candidate"]
        rows += _arm_rows(*arms)
        pictures += _arm_pictures(arms, names)
        if name == "shadow":
            notes.append(
                f"Only {names[1]} failed {count(stage['candidate_only'], 'request')}, only {names[0]} "
                f"{number(stage['champion_only'])}; {count(stage['dropped'], 'request')} not copied, "
                "because the candidate was behind"
            )
    if quality := stage.get("quality"):
        values = quality["champion"], quality["candidate"]
        rows.append((quality["metric"], *map(number, values)))
        bars = [
            Bar(label, value, number(value), quality.get(f"{side}_interval"))
            for label, value, side in zip(names, values, ("champion", "candidate"), strict=True)
        ]
        pictures.append((f"{quality['metric']} against labels", bar_pair(*bars)))
    tone = _OUTCOMES.get(outcome, "info")
    title = name.capitalize()
    return StageView(title, about, outcome, tone, stage.get("reason", ""), pictures, rows, notes)


def _arm_rows(champion: Figures, candidate: Figures) -> Iterator[tuple[str, str, str]]:
    def row(name: str, shown: Callable[[Figures], str]) -> tuple[str, str, str]:
        return name, shown(champion), shown(candidate)

    yield row("requests", lambda one: number(one["requests"]))
    yield row("failed", _share)
    for kind in sorted({*champion["failures"], *candidate["failures"]}):
        name = _FAILURES.get(kind, f"status {kind}")
        yield (
            f"of these {name}",
            number(champion["failures"].get(kind, 0)),
            number(candidate["failures"].get(kind, 0)),
        )
    yield row("median latency", lambda one: milliseconds(one["p50_ms"]))
    yield row("95th percentile of latency", lambda one: milliseconds(one["p95_ms"]))


def _share(one: Figures) -> str:
    if one["error_rate"] is None:
        return number(None)
    low, high = one["error_interval"]
    return f"{percent(one['error_rate'])} ({percent(low)} to {percent(high)})"


def _arm_pictures(
    arms: tuple[Figures, Figures], names: tuple[str, str]
) -> Iterator[tuple[str, Markup]]:
    rates = [one["error_rate"] for one in arms]
    if None not in rates:
        bars = [
            Bar(name, one["error_rate"], percent(one["error_rate"]), one["error_interval"])
            for name, one in zip(names, arms, strict=True)
        ]
        yield "failed requests", bar_pair(*bars, least=0.01)
    if None not in (slow := [one["p95_ms"] for one in arms]):
        bars = [Bar(n, ms, milliseconds(ms), None) for n, ms in zip(names, slow, strict=True)]
        yield "95th percentile of latency", bar_pair(*bars)


def _notes(stage: Figures, *, paired: bool) -> Iterator[str]:
    found = stage.get("predictions")
    if not found:
        return
    apart, spread = found["difference"], found["spread"]
    if found["kind"] == "classes":
        what = (
            "of the predictions differ" if paired else "of the predictions moved to other classes"
        )
        yield f"{percent(apart)} {what} ({count(found['rows'], 'row')})"
        return
    what = "Predictions differ by" if paired else "The medians of the predictions differ by"
    beyond = "more than" if found["beyond_spread"] else "within"
    yield (
        f"{what} {number(apart)}{' in the median' if paired else ''}, {beyond} the champion's own spread "
        f"of {number(spread)} ({count(found['rows'], 'row')})"
    )
