"""How a page looks: contrast in light and dark, and whether it fits every width."""

from pathlib import Path
from typing import Any

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
WIDTHS = (320, 390, 768, 820, 1001, 1280)


def faults(page: Any, name: str) -> list[str]:
    """What is wrong with the page that is shown, in light and dark and at each width.

    Args:
        name: of the page, for what is told.
    """
    found: list[str] = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        seen = page.evaluate(CONTRAST)
        assert seen["looked"] > 5
        found += [f"{name} {scheme}: {told}" for told in seen["found"]]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth")
        found += [f"{name} is {wide} wide at {width}"] if wide > width else []
    return found
