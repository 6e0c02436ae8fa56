"""How a page looks: contrast, accessibility, and whether it fits every width, in light and dark."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
WIDTHS = (320, 390, 768, 820, 1001, 1280)
#: Of a wide window and of a phone.
WIDE, NARROW = 1280, 390
#: Reports of Evidently have elements of their own. contrast.js looks at contrast, also of pictures.
_RUN = """() => axe.run({ exclude: ["iframe"] }, {
  resultTypes: ["violations"], rules: { "color-contrast": { enabled: false } },
}).then(({ violations }) => violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 120)}`))"""


@cache
def _axe() -> str:
    """axe-core, as a script."""
    return (files("axe_playwright_python") / "axe.min.js").read_text()


def faults(page: Any, name: str) -> list[str]:
    """What is wrong with the page that is shown, in light and dark and at each width.

    Args:
        name: of the page, for what is told.
    """
    found: list[str] = []
    page.evaluate(_axe())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        seen = page.evaluate(CONTRAST)
        assert seen["looked"] > 5
        found += [f"{name} {scheme}: {told}" for told in seen["found"]]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("document.documentElement.scrollWidth")
        found += [f"{name} is {wide} wide at {width}"] if wide > width else []
        if width in (WIDE, NARROW):
            found += [f"{name} at {width}: {told}" for told in page.evaluate(_RUN)]
    return found
