"""Two values as bars, one above the other, each with its 95 % interval: an inline SVG picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from model_deployment.rendering.axis import top

_WIDTH, _ROW, _BAR, _LEFT, _RIGHT = 320, 26, 12, 74, 66


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    value: float
    #: The value as people read it.
    text: str
    interval: Sequence[float] | None = None


def bar_pair(champion: Bar, candidate: Bar, *, least: float = 0.0) -> Markup:
    """The picture.

    Args:
        least: the smallest value at the right edge, so that small values look small.
    """
    reach = [
        max(bar.value, bar.interval[1] if bar.interval else 0) for bar in (champion, candidate)
    ]
    scale = (_WIDTH - _LEFT - _RIGHT) / max(top(reach) if max(reach) > 0 else 1.0, least)
    inner = Markup("").join(
        _bar(bar, style, place, scale)
        for place, (bar, style) in enumerate(((champion, "before"), (candidate, "now")))
    )
    title = f"{champion.name} {champion.text}, {candidate.name} {candidate.text}"
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, 2 * _ROW, title, inner
    )


def _bar(bar: Bar, style: str, place: int, scale: float) -> Markup:
    middle = place * _ROW + _ROW / 2
    length = max(bar.value * scale, 1.0)
    made = Markup(
        '<text x="{0}" y="{1}" text-anchor="end">{2}</text>'
        '<rect class="{3}" x="{4}" y="{5}" width="{6:.1f}" height="{7}"/>'
    ).format(_LEFT - 6, middle + 4, bar.name, style, _LEFT, middle - _BAR / 2, length, _BAR)
    end = _LEFT + length
    if bar.interval is not None:
        low, high = (_LEFT + edge * scale for edge in bar.interval)
        made += Markup(
            '<path class="whisker" d="M{0:.1f} {2}H{1:.1f}M{0:.1f} {3}v6M{1:.1f} {3}v6"/>'
        ).format(low, high, middle, middle - 3)
        end = max(end, high)
    return made + Markup('<text class="value" x="{:.1f}" y="{}">{}</text>').format(
        end + 6, middle + 4, bar.text
    )
