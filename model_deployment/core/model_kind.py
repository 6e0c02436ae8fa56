"""What a model is to callers who ask it by another form than MLflow's."""

from dataclasses import dataclass

from model_deployment.core.agent import NO_AGENT, Agent
from model_deployment.core.series import Series


@dataclass(frozen=True, slots=True)
class ModelKind:
    """Of one version."""

    agent: Agent = NO_AGENT
    #: None: it is no model of a time series.
    series: Series | None = None


PLAIN = ModelKind()
