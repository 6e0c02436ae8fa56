"""Whole pictures as inline SVG: a column in the reference and now, a metric over time.

``Markup.format`` escapes every text. Colours are classes that the page's style defines.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from model_deployment.rendering import axis, paths
from model_deployment.rendering.numbers import number

_WIDTH, _HEIGHT, _FOOT = 320, 120, 18
_PLOT = _HEIGHT - _FOOT
#: Room for the values of an axis, and above its upper edge.
_GUTTER, _TOP = 46, 8
_ROW = 20


def column(entry: Mapping[str, Any]) -> Markup:
    """A column's summaries side by side; empty if they have no counts."""
    before, now = entry["reference"], entry["current"]
    if "histogram" in before or "histogram" in now:
        return _histogram(before.get("histogram"), now.get("histogram"))
    if before.get("top") or now.get("top"):
        return _bars(before["top"], now["top"])
    return Markup("")


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [count / total for count in counts]


def _histogram(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Markup:
    """Filled bars for the reference, an outline of bars for now."""
    edges = (before or now or {})["edges"]
    sides = [_shares(one["counts"]) if one else [] for one in (before, now)]
    most = max(max(side, default=0) for side in sides) or 1
    inner = Markup('<path class="before" d="{}"/><path class="now" d="{}"/>').format(
        paths.bars(sides[0], most, _WIDTH, _PLOT), paths.outline(sides[1], most, _WIDTH, _PLOT)
    )
    inner += _axis(number(edges[0]), number(edges[-1]))
    return _picture(_HEIGHT, inner, "histogram: the reference filled, now as a line")


def _axis(low: str, high: str, left: float = 0) -> Markup:
    return Markup(
        '<line class="axis" x1="{5}" x2="{0}" y1="{1}" y2="{1}"/>'
        '<text x="{5}" y="{2}">{3}</text><text x="{0}" y="{2}" text-anchor="end">{4}</text>'
    ).format(_WIDTH, _PLOT, _HEIGHT - 4, low, high, left)


def _bars(before: Sequence[Sequence[Any]], now: Sequence[Sequence[Any]]) -> Markup:
    """Two bars for each category."""
    sides = [_shares([count for _, count in side]) for side in (before, now)]
    most = max([*sides[0], *sides[1], 1e-9])
    names = [_short(name) for name, _ in before]
    left = 14 + 6 * max(map(len, names), default=0)
    scale = (_WIDTH - left - 2) / most
    rows = Markup("").join(
        Markup(
            '<text x="{0}" y="{1}" text-anchor="end">{2}</text>'
            '<rect class="before" x="{3}" y="{4}" width="{5:.1f}" height="7"/>'
            '<rect class="now" x="{3}" y="{6}" width="{7:.1f}" height="7"/>'
        ).format(
            left - 6,
            place * _ROW + 13,
            name,
            left,
            place * _ROW + 2,
            sides[0][place] * scale,
            place * _ROW + 10,
            sides[1][place] * scale,
        )
        for place, name in enumerate(names)
    )
    return _picture(max(len(before), 1) * _ROW, rows, "bars: the reference above, now below")


def _short(name: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in str(name)) or "(empty)"
    return plain if len(plain) <= 18 else plain[:17] + "…"


def trend(
    points: Sequence[tuple[str, float]], baseline: float | None, bound: float | None = None
) -> Markup:
    """A metric over time, oldest first, with the baseline as a dashed line; the last point is now.

    Args:
        points: time and value.
        baseline: None if there is none.
        bound: the largest value that the metric can have, None without such a bound.
    """
    values = [value for _, value in points] + ([baseline] if baseline is not None else [])
    low, high = axis.edges(values, bound)
    left = _GUTTER

    def across(place: int) -> float:
        room = _WIDTH - left - 12
        return left + (room / 2 if len(points) == 1 else 6 + place * room / (len(points) - 1))

    def down(value: float) -> float:
        share = (value / 2 - low / 2) / (high / 2 - low / 2)
        return _PLOT - share * (_PLOT - _TOP)

    inner = _scale(number(low), number(high))
    if baseline is not None:
        level = down(baseline)
        above = level - 4 if level > _TOP + 14 else level + 12
        inner += Markup(
            '<line class="baseline" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
            '<text x="{3}" y="{4:.1f}">baseline {5}</text>'
        ).format(left, _WIDTH, level, left + 4, above, number(baseline))
    places = [(across(place), down(value)) for place, (_, value) in enumerate(points)]
    inner += Markup('<polyline class="trend" points="{}"/>').format(
        " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    )
    for place, (x, y) in enumerate(places, 1):
        style, radius = ("dot", 2.5) if place < len(places) else ("dot last", 4)
        inner += Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(
            style, x, y, radius
        )
    inner += _axis(points[0][0][:10] if len(points) > 1 else "", points[-1][0], left)
    return _picture(_HEIGHT, inner, "line: the metric over time")


def _scale(low: str, high: str) -> Markup:
    """The values at the lower and the upper edge."""
    return Markup(
        '<line class="axis" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>'
        '<text x="{3}" y="{4}" text-anchor="end">{5}</text>'
        '<text x="{3}" y="{6}" text-anchor="end">{7}</text>'
    ).format(_GUTTER, _WIDTH, _TOP, _GUTTER - 5, _TOP + 4, high, _PLOT, low)


def _picture(height: int, inner: Markup, title: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, height, title, inner
    )
