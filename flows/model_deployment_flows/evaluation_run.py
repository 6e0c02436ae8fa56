"""What an evaluation leaves in MLflow: a file and metrics of the version's run, and tags of the version."""

import mlflow

from model_deployment_flows import registry, training_run
from model_deployment_flows.evaluation import Evaluation
from model_deployment_flows.registry import ModelVersion
from model_deployment_flows.training_run import TrainingRun

#: Characters of a tag.
_LONGEST = 1000


def log(candidate: ModelVersion, found: Evaluation, flow_run_id: str) -> None:
    """Log a verdict; the tags come last."""
    if candidate.run_id:
        about = {**found.as_dict(), "flow_run_id": flow_run_id}
        file = f"evaluation/evaluation-{flow_run_id}.json"
        mlflow.MlflowClient().log_dict(candidate.run_id, about, file)
        figures = {
            f"evaluation.{one.data}.{who}.{name}": value
            for one in found.comparisons
            for who, scores in (("candidate", one.candidate), ("champion", one.champion))
            for name, value in (scores.values if scores else {}).items()
        }
        training_run.log_results(TrainingRun(candidate.run_id, ""), {}, figures)
    tags = {
        "evaluation_reason": "; ".join(found.reasons)[:_LONGEST],
        "evaluation_champion": str(found.champion or ""),
        "evaluation_data_sha256": found.comparisons[0].sha256,
        "evaluation_flow_run_id": flow_run_id,
        "evaluation": str(found.verdict),  # last: who sees it finds the others
    }
    registry.tag_version(candidate, tags)
