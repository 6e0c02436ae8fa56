"""A degradation report, shown in a notebook."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from model_deployment.client import answers

#: Pixels of the frame in a notebook.
_HEIGHT = 720


def with_links(page: str, address: str) -> str:
    """A page whose links to other forms of the report hold anywhere.

    Args:
        address: of the page, without its query.
    """
    return page.replace('href="degradation_report?', f'target="_blank" href="{escape(address)}?')


@dataclass(frozen=True)
class Report:
    """A degradation report.

    Attributes:
        name: the deployment, or the endpoint that was asked about.
        data: the report as JSON; ``data["report"]`` has what it found, by column and by metric.
        html: the page of the report; empty if it has none.
    """

    name: str
    data: answers.Report = field(repr=False)
    html: str = field(repr=False)

    @property
    def id(self) -> str:
        return str(self.data["id"])

    @property
    def verdict(self) -> str:
        """Such as ``ok``, ``drift``, ``degraded`` or ``insufficient_data``."""
        return str(self.data["verdict"])

    @property
    def headline(self) -> str:
        return str(self.data.get("headline", ""))

    def save(self, file: str | Path) -> Path:
        """Write the page, which needs no network.

        Raises:
            ValueError: the report has no page.
        """
        if not self.html:
            raise ValueError(
                f"cannot save the page of report {self.id}: its verdict is {self.verdict}"
            )
        target = Path(file)
        target.write_text(self.html, encoding="utf-8")
        return target

    def _repr_html_(self) -> str:
        if not self.html:
            return (
                f"<p><b>{escape(self.name)}: {escape(self.verdict)}</b> {escape(self.headline)}</p>"
            )
        # The page has values that callers sent: its scripts may not touch the notebook.
        return (
            '<iframe sandbox="allow-scripts allow-popups" '
            f'title="{escape(self.name)}" srcdoc="{escape(self.html)}" '
            f'style="width:100%;height:{_HEIGHT}px;border:1px solid #8888"></iframe>'
        )
