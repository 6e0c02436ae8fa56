"""Where the benchmarks write their figures: each has a place of its own in a page of docs/."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs" / "benchmarks.md"


def write(name: str, figures: str, section: str, file: Path = REPORT) -> None:
    """Put figures between the markers of a benchmark.

    Args:
        name: what the markers say.
        figures: the Markdown that replaces what is between them.
        section: the head of the section that is added to the page if it has no such markers yet.
        file: the page.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    page = file.read_text(encoding="utf-8") if file.exists() else ""
    if begin not in page:
        page = f"{page}\n{section}\n\n{begin}\n{end}\n".lstrip()
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    file.write_text(f"{before}{begin}\n{figures}\n{end}{after}", encoding="utf-8")
