"""The words in docs/reference/glossary.md, from STYLE.md."""

from pathlib import Path

from scripts.generators.markdown import table

ROOT = Path(__file__).parents[2]


def glossary() -> str:
    style = (ROOT / "STYLE.md").read_text(encoding="utf-8")
    lines = style.partition("\n## Words\n")[2].strip().splitlines()[2:]
    words = [line.strip("|").split("|")[:2] for line in lines if line.startswith("|")]
    rows = sorted(
        ([cell.strip() for cell in cells] for cells in words), key=lambda row: row[0].lower()
    )
    return table(("word", "meaning"), rows)
