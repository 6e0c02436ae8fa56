"""Links in the documents lead to files and headings that exist."""

import re
from functools import cache
from pathlib import Path

from tests.support.cases import each

ROOT = Path(__file__).parents[3]
#: Written by programs: the data directory of `make run`.
_SKIPPED = {"data"}
FOLDERS = [
    path
    for path in ROOT.iterdir()
    if path.is_dir() and not path.name.startswith(".") and path.name not in _SKIPPED
]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(page for one in FOLDERS for page in one.rglob("*.md"))])
_FENCE = re.compile(r"^ *(```+).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(text: str) -> str:
    """Without code, in which brackets are no links and # no heading."""
    return _FENCE.sub("", text)


@cache
def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page in links; a repeated one gets a number."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page.read_text("utf-8")), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        number = 0
        while (candidate := f"{name}-{number}" if number else name) in found:
            number += 1
        found.add(candidate)
    return found


def broken(document: Path) -> list[str]:
    """The links of a page that lead nowhere. Addresses elsewhere are not looked at."""
    found = []
    for link in _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(document.read_text("utf-8")))):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        exists = target.exists() and not path.startswith("/")
        if not exists or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@each("document", DOCUMENTS)
def test_links_lead_to_files_and_headings(document: Path) -> None:
    assert broken(document) == []


def test_pages_are_all_reachable_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        links = (link.partition("#")[0] for link in _LINK.findall(prose(page.read_text("utf-8"))))
        waiting += [(page.parent / link).resolve() for link in links if link and "://" not in link]
    assert {page for page in DOCUMENTS if page.is_relative_to(ROOT / "docs")} - reached == set()


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` (c)\n[x](#a-b-c) [y](#gone) [z](gone.md)\n```\n# no\n[n](no.md)\n```\n", "utf-8"
    )
    assert broken(page) == ["#gone", "gone.md"]


def test_readme_fits_on_a_page() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 130
