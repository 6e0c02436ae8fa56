"""Writes the generated parts of the documents, or checks that they are up to date (--check).

Tables kept by hand rot. These come from the code and stand between markers (``<!-- name -->``), in pages
whose prose is written by hand: docs/reference/, docs/design.md and docs/verdicts.md. So do the table of
paths in nginx/routes.conf, and code of the client. What is between the markers is made in ``generators/``.
"""

import sys
from pathlib import Path

from model_deployment.core.deployment_lifecycle import diagram
from model_deployment.core.launch_lifecycle import diagram as launch_diagram
from model_deployment.core.release_lifecycle import diagram as release_diagram
from model_deployment.core.replacement import diagram as replacement_diagram
from model_deployment.core.rollouts import diagram as rollout_diagram
from model_deployment.degradation.wording import verdict_words
from model_deployment.flow_project.table import settings_tables
from model_deployment.settings import settings_table
from scripts.generators import client_calls, client_code
from scripts.generators.api_description import description_of_the_api
from scripts.generators.commands import command_line_sections
from scripts.generators.gateway_routes import gateway_routes
from scripts.generators.glossary import glossary
from scripts.generators.http_calls import http_calls
from scripts.generators.metrics import metrics
from scripts.generators.problems import problems
from scripts.generators.rooms import rooms

ROOT = Path(__file__).parents[1]


def fill(text: str, name: str, content: str) -> str:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->``."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if start not in text or end not in text:
        raise SystemExit(f"cannot find the markers of {name}")
    before, _, rest = text.partition(start)
    return before + start + content + "\n" + end + rest.partition(end)[2]


def parts() -> dict[Path, dict[str, str]]:
    """What stands between which markers of each document."""
    docs = ROOT / "docs"
    reference = docs / "reference"
    return {
        docs / "design.md": {
            "states": f"```mermaid\n{diagram()}\n```",
            "launch states": f"```mermaid\n{launch_diagram()}\n```",
            "replacement states": f"```mermaid\n{replacement_diagram()}\n```",
            "rollout states": f"```mermaid\n{rollout_diagram()}\n```",
            "release states": f"```mermaid\n{release_diagram()}\n```",
            "rooms": rooms(),
        },
        docs / "verdicts.md": {"names": verdict_words.table()},
        reference / "http.md": {"calls": http_calls(description_of_the_api())},
        reference / "settings.md": {"settings": settings_table()},
        reference / "flow-settings.md": {"flow settings": settings_tables()},
        reference / "command-line.md": {"commands": command_line_sections()},
        reference / "problems.md": {"problems": problems()},
        reference / "metrics.md": {"metrics": metrics()},
        reference / "glossary.md": {"words": glossary()},
        reference / "python-client.md": {"python calls": client_calls.calls()},
    }


def generated() -> dict[Path, str]:
    """Each document as it should be."""
    found = {}
    for path, contents in parts().items():
        text = path.read_text(encoding="utf-8")
        for name, content in contents.items():
            text = fill(text, name, content)
        found[path] = text
    routes = ROOT / "nginx" / "routes.conf"
    found[routes] = gateway_routes(routes.read_text(encoding="utf-8"))
    found[client_code.ANSWERS] = client_code.answer_types(description_of_the_api())
    return found | client_code.blocking_modules()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main() -> None:
    check = "--check" in sys.argv[1:]
    found = generated().items()
    stale = [(path, text) for path, text in found if _read(path) != text]
    for path, text in stale:
        if not check:
            path.write_text(text, encoding="utf-8")
        print(f"{'out of date, run make docs:' if check else 'wrote'} {path.relative_to(ROOT)}")
    if check and stale:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
