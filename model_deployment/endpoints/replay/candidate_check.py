"""What is checked of a candidate before anything else: its own input example, and its signature.

The newest captured requests of the champion go through the candidate's gate, and no further. So a column
that the candidate newly requires is found before any caller is refused.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from model_deployment.core.rollout_policy import Checks
from model_deployment.documents.base import Documents
from model_deployment.endpoints.findings import CandidateFinding, Outcome
from model_deployment.endpoints.replay.captured_requests import CapturedRequests, newest
from model_deployment.endpoints.replay.examined_version import ExaminedVersion
from model_deployment.endpoints.replay.model_call import call, check_captured, content
from model_deployment.gate import Violation, ViolationKind
from model_deployment.rendering.numbers import count

#: Captured requests that are checked where the endpoint's policy leaves replay out.
_CHECKED = 200
#: Reasons that are told of a signature that does not fit.
_TOLD = 5


@dataclass(slots=True)
class SignatureMatch:
    """What a candidate's gate says of requests that the champion has answered."""

    checked: int = 0
    refused: int = 0
    #: Accepted only if whole numbers are sent without a decimal point.
    whole: int = 0
    #: Requests by column and kind of violation, with the first violation of each.
    by_column: Counter[tuple[str, ViolationKind]] = field(default_factory=Counter)
    first: dict[tuple[str, ViolationKind], Violation] = field(default_factory=dict)

    def add(self, violations: Sequence[Violation]) -> None:
        """Count a refused request."""
        self.refused += 1
        keys = {(one.column or "", one.kind): one for one in reversed(violations)}
        self.by_column.update(keys.keys())
        self.first = keys | self.first

    def reasons(self) -> list[str]:
        """In words, the most frequent first, each to be read after the name of the version."""
        of = f"of {count(self.checked, 'captured request')}"
        told = []
        for (column, kind), number in self.by_column.most_common(_TOLD):
            share = f"{number:,} {of}"
            match kind:
                case ViolationKind.MISSING:
                    told.append(f"requires the column {column}, which {share} do not have")
                case ViolationKind.UNKNOWN if column:
                    told.append(f"does not take the column {column}, which {share} have")
                case _:
                    first = self.first[column, kind]
                    where = f"in the column {column} " if column else ""
                    told.append(f"expects {where}{first.expected}, unlike {share}")
        if more := len(self.by_column) - len(told):
            told.append(f"differs in {count(more, 'more way')}")
        return told


async def check_candidate(
    candidate: ExaminedVersion,
    champion: ExaminedVersion | None,
    checks: Checks,
    documents: Documents,
    session: aiohttp.ClientSession,
    *,
    timeout: float,
) -> CandidateFinding:
    """Check a candidate that is ready.

    Args:
        champion: None for the first version of an endpoint, whose signature has nothing to fit to.
        timeout: seconds that the answer to the example may take.

    Returns:
        Failed, if the candidate does not answer its own example, or its gate refuses captured requests
        that the champion answered. Inconclusive, if there are no captured requests to check.

    Raises:
        StoreUnavailable: the captures cannot be read now.
    """
    figures: dict[str, Any] = {}
    said: list[str] = []
    if checks.example:
        outcome, text = await _example(candidate, session, timeout)
        figures["example"] = {"outcome": str(outcome) if outcome else "skipped", "text": text}
        said.append(text)
        if outcome is Outcome.FAILED:
            return CandidateFinding(Outcome.FAILED, text, figures)
    outcome = Outcome.PASSED
    if checks.signature and champion is not None:
        captured = await newest(documents, champion, checks.replay or _CHECKED)
        outcome, text, more = _signature(candidate, champion, captured)
        figures["signature"] = more
        said = [text] if outcome is not Outcome.PASSED else [*said, text]
    return CandidateFinding(outcome, "; ".join(said) or "no check was asked for", figures)


async def _example(
    candidate: ExaminedVersion, session: aiohttp.ClientSession, timeout: float
) -> tuple[Outcome | None, str]:
    """None: there is nothing to check."""
    name = candidate.name
    if candidate.example is None:
        return None, (
            f"{name} has no input example, so this check was left out (log the model with input_example=)"
        )
    if candidate.address is None:
        raise ValueError(f"cannot check {name}: it has no model server")
    # Forgiving: what MLflow itself saved as an example may not fit to the letter.
    result = candidate.lenient.check(candidate.example)
    sent = content(candidate.lenient, candidate.example, result)
    answer = await call(session, candidate.address, sent, timeout)
    match answer.failure:
        case "":
            return Outcome.PASSED, f"{name} answers its own input example"
        case "504":
            why = f"did not answer its own input example within {timeout:g} s"
        case "502":
            why = "broke off the connection on its own input example"
        case "no_json":
            why = "answered its own input example with something that is no JSON"
        case status:
            why = f"answered its own input example with status {status}"
    return Outcome.FAILED, f"{name} {why}; the log of its deployment says more"


def _signature(
    candidate: ExaminedVersion, champion: ExaminedVersion, captured: CapturedRequests
) -> tuple[Outcome, str, dict[str, Any]]:
    if not captured.requests:
        return Outcome.INCONCLUSIVE, nothing_captured(champion, captured), captured.figures()
    match = SignatureMatch()
    for request in captured.requests:
        match.checked += 1
        body, result = check_captured(candidate.gate, request.body)
        match.whole += body is not request.body
        if result.refused:
            match.add(result.violations)
    figures = captured.figures() | {
        "refused": match.refused,
        "columns": [
            {"column": column, "kind": str(kind), "requests": number}
            for (column, kind), number in match.by_column.most_common()
        ],
    }
    if match.refused:
        return Outcome.FAILED, f"{candidate.name} {'; it '.join(match.reasons())}", figures
    text = f"its signature accepts {count(match.checked, 'captured request')} of {champion.name}"
    if match.whole:
        text += f", {match.whole:,} of them only where whole numbers are sent as 3, not as 3.0"
    if captured.left_out:
        text += f" ({captured.left_out})"
    return Outcome.PASSED, text, figures


def nothing_captured(champion: ExaminedVersion, captured: CapturedRequests) -> str:
    """Why there is no captured request to use, and what helps."""
    if not captured.captured:
        return (
            f"{champion.name} has no captured requests, so nothing shows what callers send; wait for "
            "requests (with capture_rate above 0), leave signature and replay out of the checks, or "
            "promote by hand"
        )
    return f"{captured.left_out}; {captured.advice}, or promote by hand"
