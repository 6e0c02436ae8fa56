"""Lines and bars as the ``d`` of an SVG path, in whole numbers: short, and nothing in it needs escaping."""

from collections.abc import Sequence

#: Size of a picture, unless the caller gives another; pages stretch it.
WIDTH, HEIGHT = 200, 60


def line(values: Sequence[float | None], most: float, slots: int = 0) -> str:
    """A line through values; None interrupts it.

    Args:
        most: the value at the upper edge; the lower edge is zero.
        slots: number of places; the values take the last ones.
    """
    slots = max(slots, len(values), 2)
    first = slots - len(values)
    points = [((first + place) / (slots - 1), value) for place, value in enumerate(values)]
    return curve(points, 0.0, most)


def curve(points: Sequence[tuple[float, float | None]], low: float, high: float) -> str:
    """A line through points.

    Args:
        points: position across the picture (0 to 1), and value; None interrupts the line.
        low: the value at the lower edge.
        high: the value at the upper edge.
    """
    parts, drawing = [], False
    for number, (place, value) in enumerate(points):
        if value is None:
            drawing = False
            continue
        x = round(place * WIDTH)
        y = _y(value, high, low)
        alone = not drawing and (number + 1 >= len(points) or points[number + 1][1] is None)
        if alone:
            parts.append(f"M{min(x, WIDTH - 2)} {y}h2")
        else:
            parts.append(f"{'L' if drawing else 'M'}{x} {y}")
        drawing = True
    return _without_middles(parts)


def _without_middles(parts: Sequence[str]) -> str:
    """Leave out points between two of the same height: idle deployments are flat."""
    kept: list[str] = []
    for place, part in enumerate(parts):
        neighbours = parts[max(0, place - 1) : place + 2]
        flat = len(neighbours) == 3 and len({one.rpartition(" ")[2] for one in neighbours}) == 1
        if not (flat and all(one[0] == "L" for one in neighbours[1:])):
            kept.append(part)
    return "".join(kept)


def bars(
    values: Sequence[float | None], most: float, width: float = WIDTH, height: int = HEIGHT
) -> str:
    """Filled columns from the lower edge, without space between them."""
    step = width / max(1, len(values))
    parts = []
    for place, value in enumerate(values):
        if not value:
            continue
        left, right = round(place * step), round((place + 1) * step)
        parts.append(f"M{left} {height}V{_y(value, most, height=height)}H{right}V{height}Z")
    return "".join(parts)


def outline(
    values: Sequence[float], most: float, width: float = WIDTH, height: int = HEIGHT
) -> str:
    """The outline of columns, from the lower edge."""
    if not values:
        return ""
    step = width / len(values)
    parts = [f"M0 {height}"]
    parts += [
        f"V{_y(value, most, height=height)}H{round((place + 1) * step)}"
        for place, value in enumerate(values)
    ]
    return "".join([*parts, f"V{height}"])


def _y(value: float, most: float, least: float = 0.0, height: int = HEIGHT) -> int:
    share = (value - least) / (most - least) if most > least else 0.0
    # A pixel is left at both edges, where half of a line would be cut off.
    return round((height - 1) - (height - 2) * min(1.0, max(0.0, share)))
