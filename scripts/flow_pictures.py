"""Takes the pictures of the pages of flows, while examples/retrain.py runs (make screenshots)."""

import tempfile
from pathlib import Path

import screenshots
from screenshots import SCHEMES

import drift  # isort: skip - screenshots has made the examples known
import retrain  # isort: skip

#: Name and path of each picture that is taken when something has come; ``{}`` is what has come.
PICTURES = {
    "run": (("flow-run", "/dashboard/flows/runs/{}"), ("flows", "/dashboard/flows")),
    "analysed": (("training-data", "/dashboard/datasets/{}"),),
    "data": (("flow-settings", "/dashboard/flows/settings"),),
}


def look(url: str, what: str) -> None:
    """Take the pictures of what has come."""
    kind, _, name = what.partition(" ")
    with screenshots.browser() as browser:
        for scheme in SCHEMES:
            context = browser.new_context(
                color_scheme=scheme, viewport={"width": 1180, "height": 720}
            )
            for picture, path in PICTURES.get(kind, ()):
                address = url + path.format(name)
                screenshots.take(
                    context.new_page(), address, "", "body", f"dashboard-{picture}-{scheme}"
                )
            context.close()


def main() -> None:
    """Train, degrade, retrain, look."""
    with tempfile.TemporaryDirectory(prefix="flows-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        retrain.begin_project(folder / "project")
        settings = {"FLOWS_PROJECT": str(folder / "project"), "FLOWS_IDLE_TIMEOUT": "60s"}
        try:
            with drift.controller(folder, "", ports=8, **settings) as client:
                url = str(client.base_url).rstrip("/")
                retrain.circle(client, folder / "project", folder, lambda what: look(url, what))
        finally:
            retrain.end_service(folder / "data")


if __name__ == "__main__":
    main()
