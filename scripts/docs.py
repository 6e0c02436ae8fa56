"""Writes the generated parts of the documents, or checks that they are up to date (--check).

A drawing or a table kept by hand rots, so the state machine in docs/design.md, the settings in README.md
and the names in docs/verdicts.md come from the code.
"""

import sys
from pathlib import Path

from model_deployment.core.lifecycle import diagram
from model_deployment.degradation import verdict_words
from model_deployment.settings import settings_table

ROOT = Path(__file__).parents[1]


def fill(text: str, name: str, content: str) -> str:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->``."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if start not in text or end not in text:
        raise SystemExit(f"cannot find the markers of {name}")
    before, _, rest = text.partition(start)
    return before + start + content + "\n" + end + rest.partition(end)[2]


def generated() -> dict[Path, str]:
    """Each document with its generated parts as they should be."""
    readme, design = ROOT / "README.md", ROOT / "docs" / "design.md"
    names = ROOT / "docs" / "verdicts.md"
    return {
        readme: fill(readme.read_text(encoding="utf-8"), "settings", settings_table()),
        design: fill(design.read_text(encoding="utf-8"), "states", f"```mermaid\n{diagram()}\n```"),
        names: fill(names.read_text(encoding="utf-8"), "names", verdict_words.table()),
    }


def main() -> None:
    """Write or check."""
    check = "--check" in sys.argv[1:]
    stale = [path for path, text in generated().items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        if not check:
            path.write_text(generated()[path], encoding="utf-8")
        print(f"{'out of date, run make docs:' if check else 'wrote'} {path.relative_to(ROOT)}")
    if check and stale:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
