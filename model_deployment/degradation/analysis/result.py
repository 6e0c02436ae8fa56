"""What an analysis of new data found: findings with advice, as JSON and as a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.degradation.findings import Severity
from model_deployment.degradation.page import analysis_page


@dataclass(frozen=True, slots=True)
class DataFinding:
    """One finding about new data, with what to do."""

    severity: Severity
    code: str
    #: None for a finding about the whole table.
    column: str | None
    message: str
    advice: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; the severity is ``error``, ``warning`` or ``info``."""
        return {
            "severity": self.severity.name.lower(),
            "code": self.code,
            "column": self.column,
            "message": self.message,
            "advice": self.advice,
        }


@dataclass(frozen=True, slots=True)
class Analysis:
    """New data beside the original data of an experiment."""

    #: The worst first; of the same severity, those about the target first.
    findings: Sequence[DataFinding]
    #: The other parts of :meth:`summary`.
    content: dict[str, Any]

    @property
    def errors(self) -> list[DataFinding]:
        """Findings that stop ``data_flow``, unless it is forced."""
        return [one for one in self.findings if one.severity is Severity.ERROR]

    @property
    def stops(self) -> bool:
        """Whether a model must not be trained on these data without a look at them."""
        return bool(self.errors)

    def summary(self) -> dict[str, Any]:
        """JSON-ready, without NaN: ``headline``, ``stops``, ``counts`` of findings by severity,
        ``rows``, ``findings``, ``target``, ``columns``, ``associations``, ``series``."""
        counts = {
            one.name.lower(): sum(found.severity is one for found in self.findings)
            for one in (Severity.ERROR, Severity.WARNING, Severity.INFO)
        }
        findings = [one.as_dict() for one in self.findings]
        return {"stops": self.stops, "counts": counts, "findings": findings, **self.content}

    def page(self) -> str:
        """One HTML file without scripts, which loads nothing; light and dark."""
        return analysis_page.render(self.summary())
