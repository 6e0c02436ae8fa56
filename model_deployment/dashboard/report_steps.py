"""What to do now about a report, as links and buttons. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_deployment.core.domain import Deployment
from model_deployment.core.names import ModelKey
from model_deployment.dashboard.endpoint_actions import Actions
from model_deployment.degradation.wording.verdict_words import Verdict
from model_deployment.endpoints.views import EndpointView

#: Verdicts after which another version may be wanted.
_DOUBTFUL = frozenset({Verdict.DEGRADED, Verdict.DRIFT, Verdict.WORSE})


@dataclass(frozen=True, slots=True)
class Step:
    label: str
    #: Why, or what it does.
    text: str
    href: str
    #: Empty for a link, else the method of a call; the page then goes to ``then``.
    method: str = ""
    then: str = ""
    download: bool = False


def steps(
    key: ModelKey,
    made: Mapping[str, Any],
    *,
    before: ModelKey | None,
    deployed: Mapping[ModelKey, Deployment],
    endpoints: Sequence[EndpointView],
    operator: bool,
    drifted: bool,
) -> list[Step]:
    """The most helpful step first.

    Args:
        made: the stored report.
        before: the version before, if there is one.
        deployed: without undeployed versions.
        drifted: whether there are rows to download.
    """
    found: list[Step] = []
    doubtful = made["verdict"] in _DOUBTFUL
    back = [one for one in endpoints if _can_go_back(one, key)]
    if operator and doubtful:
        found += [_roll_back(one) for one in back]
    if before is not None:
        found.append(
            Step(
                f"Compare with version {before.version}",
                "Metrics, parameters, columns and requirements side by side.",
                f"/dashboard/compare{_model(key)}?versions={before.version},{key.version}",
            )
        )
    if before is not None and doubtful and not back:
        found += _other_version(before, deployed, operator=operator)
    if operator and drifted:
        found.append(
            Step(
                "Download the rows that drifted",
                "CSV: captured rows with values that are at least twice as frequent as in the reference.",
                f"/model{key.path}/drifted_rows?id={made['_id']}",
                download=True,
            )
        )
    return found


def _can_go_back(view: EndpointView, key: ModelKey) -> bool:
    serves = view.endpoint.name.model == key.model and view.endpoint.champion == key.version
    return serves and "rollback" in Actions(view).allowed


def _roll_back(view: EndpointView) -> Step:
    name = view.endpoint.name
    path = f"/endpoints{name.path}"
    return Step(
        f"Roll {name} back", Actions(view).rollback, f"{path}/rollback", "POST", f"/dashboard{path}"
    )


def _other_version(
    before: ModelKey, deployed: Mapping[ModelKey, Deployment], *, operator: bool
) -> list[Step]:
    page = f"/dashboard/deployments{before.path}"
    if row := deployed.get(before):
        return [Step(f"Open {before}", f"It is deployed: {row.state}.", page)]
    if not operator:
        return []
    call = f"/deploy{_model(before)}/{before.version}?wait=0"
    return [
        Step(
            f"Deploy version {before.version}", "It gets an address of its own.", call, "POST", page
        )
    ]


def _model(key: ModelKey) -> str:
    """The path of the model: ``/name``, quoted."""
    return key.path.rpartition("-")[0]
