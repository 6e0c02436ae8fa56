"""How the comparison of a rollout's versions is shown on a terminal. Pure: from the answer to text."""

from collections.abc import Iterator, Mapping
from typing import Any

#: Titles of the columns of :func:`rows`.
COLUMNS = ("STAGE", "VERSION", "REQUESTS", "FAILED", "P50 MS", "P95 MS")
_STAGES = ("replay", "shadow", "canary")
_ROLES = ("champion", "candidate")

Compared = Mapping[str, Any]


def headline(found: Compared) -> str:
    """The verdict, its reason, and what was compared."""
    verdict = found["verdict"].replace("_", " ")
    reason = f": {found['reason']}" if found["reason"] else ""
    against = "" if found["champion"] is None else f" against version {found['champion']}"
    return (
        f"{verdict}{reason}\n"
        f"{found['endpoint']}, rollout {found['rollout']}: version {found['candidate']}{against}"
    )


def rows(found: Compared) -> Iterator[tuple[str, ...]]:
    """What each version did in each stage."""
    for name in _STAGES:
        stage = found[name] or {}
        for role in _ROLES:
            if arm := stage.get(role):
                yield (
                    name,
                    f"{found[role]} ({role})",
                    str(arm["requests"]),
                    _failed(arm),
                    _number(arm["p50_ms"]),
                    _number(arm["p95_ms"]),
                )


def remarks(found: Compared) -> Iterator[str]:
    """What was found beside requests and times: checks, predictions, quality, and what is missing."""
    if check := found["check"]:
        yield f"check: {check['outcome']}: {check['reason']}"
    for name in _STAGES:
        stage = found[name] or {}
        if "outcome" in stage:
            yield f"{name}: {stage['outcome']}: {stage['reason']}"
        if moved := stage.get("predictions"):
            spread = "" if moved["spread"] is None else f"; spread {_number(moved['spread'])}"
            yield (
                f"{name}: predictions of {moved['rows']} rows differ by "
                f"{_number(moved['difference'])}{spread}"
            )
        if quality := stage.get("quality"):
            both = (
                f"{_number(quality[role])} of the {role} on {quality[f'{role}_rows']} rows"
                for role in _ROLES
            )
            yield f"{name}: {quality['metric']} {', '.join(both)}"
    if found["note"]:
        yield found["note"]


def _failed(arm: Compared) -> str:
    if not arm["failed"] or arm["error_rate"] is None:
        return str(arm["failed"])
    return f"{arm['failed']} ({100 * arm['error_rate']:.3g} %)"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
