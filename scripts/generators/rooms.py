"""The map of the rooms in docs/design.md: one line for each package."""

import ast
import tomllib
from pathlib import Path

from scripts.generators.markdown import table

ROOT = Path(__file__).parents[2]


def rooms() -> str:
    """One line for each package, from the top layer to the lowest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    rows = [
        (str(number), f"`{name}`", _purpose(name))
        for number, layer in enumerate(layers, 1)
        for name in layer.replace(":", "|").replace(" ", "").split("|")
    ]
    return table(("layer", "room", "what it is for"), rows)


def _purpose(name: str) -> str:
    folder = ROOT / "model_deployment" / name
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.replace("``", "`").replace(":mod:", "")
