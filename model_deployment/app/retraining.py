"""What retraining needs: the project, its runs, its training data, and what verdicts start."""

import contextlib
from dataclasses import dataclass

from model_deployment.alerts.webhook import Webhook
from model_deployment.app.flows import build_flows, build_verdicts
from model_deployment.app.serving import ServingParts
from model_deployment.app.training_data import TrainingDataParts, build_training_data
from model_deployment.flow_project import Project
from model_deployment.flows.retraining import Retraining
from model_deployment.flows.runs import FlowRuns
from model_deployment.settings import Settings
from model_deployment.state.database import Database


@dataclass(frozen=True)
class RetrainingParts:
    """From new data to a new version."""

    project: Project
    runs: FlowRuns
    data: TrainingDataParts
    #: What reports bring about.
    verdicts: Retraining


def build_retraining(
    settings: Settings,
    database: Database,
    serving: ServingParts,
    webhook: Webhook,
    stack: contextlib.AsyncExitStack,
) -> RetrainingParts:
    """Build the parts and start their background work; the stack ends it.

    Raises:
        StateError: the data directory cannot be used.
    """
    project = Project(settings.flows_project)
    runs = build_flows(settings, project, webhook, serving.registry, stack)
    asked = runs if project.is_set else None
    data = build_training_data(settings, serving.registry, project, asked, stack)
    return RetrainingParts(project, runs, data, build_verdicts(runs, database, serving))
