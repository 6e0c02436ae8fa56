"""Lines and bars as the ``d`` of an SVG path, in whole numbers: small, and nothing in them to escape."""

from collections.abc import Sequence

#: Size of all pictures; pages stretch them.
WIDTH, HEIGHT = 200, 60


def line(values: Sequence[float | None], most: float, slots: int = 0) -> str:
    """A line through values, with gaps where there are none.

    Args:
        most: the value at the upper edge; zero is at the lower one.
        slots: places for values; the values take the last ones.
    """
    slots = max(slots, len(values), 2)
    first = slots - len(values)
    places = [(first + place) / (slots - 1) for place in range(len(values))]
    return _line(places, values, 0.0, most)


def curve(points: Sequence[tuple[float, float | None]], low: float, high: float) -> str:
    """A line through points.

    Args:
        points: each with its share of the way across, and its value; None interrupts the line.
        low: the value at the lower edge.
        high: the value at the upper edge.
    """
    return _line([place for place, _ in points], [value for _, value in points], low, high)


def _line(places: Sequence[float], values: Sequence[float | None], low: float, high: float) -> str:
    parts, drawing = [], False
    for number, (place, value) in enumerate(zip(places, values, strict=True)):
        if value is None:
            drawing = False
            continue
        x = round(place * WIDTH)
        y = _height(value, high, low)
        alone = not drawing and (number + 1 >= len(values) or values[number + 1] is None)
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


def area(values: Sequence[float | None], most: float) -> str:
    """The same as columns without space between them, from the lower edge."""
    width = WIDTH / max(1, len(values))
    parts = []
    for place, value in enumerate(values):
        if not value:
            continue
        left, right, top = round(place * width), round((place + 1) * width), _height(value, most)
        parts.append(f"M{left} {HEIGHT}V{top}H{right}V{HEIGHT}Z")
    return "".join(parts)


def _height(value: float, most: float, least: float = 0.0) -> int:
    share = (value - least) / (most - least) if most > least else 0.0
    # A pixel is left at both edges, where half of a line would be cut off.
    return round((HEIGHT - 1) - (HEIGHT - 2) * min(1.0, max(0.0, share)))


def top(values: Sequence[float | None]) -> float:
    """A round number that no value is above."""
    most = max((value for value in values if value is not None), default=0.0)
    if most <= 0:
        return 1.0
    step = 10.0 ** (len(f"{most:.0f}") - 1) if most >= 1 else 0.1
    while step > most:
        step /= 10
    return next(
        step * factor for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20) if step * factor >= most
    )


def steps(values: Sequence[float], most: float) -> str:
    """The outline of columns."""
    if not values:
        return ""
    width = WIDTH / len(values)
    parts = [f"M0 {HEIGHT}"]
    parts += [
        f"V{_height(value, most)}H{round((place + 1) * width)}"
        for place, value in enumerate(values)
    ]
    return "".join([*parts, f"V{HEIGHT}"])
