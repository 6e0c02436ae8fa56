"""Trains and registers the demo model, so that an empty registry has a model to deploy."""

# The functions import MLflow and scikit-learn, which take seconds and hundreds of MB, so that only the
# demo pays for them.

import io
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_deployment.registry.errors import check_file, explain, first_line
from model_deployment.registry.mlflow_client import connect, create_database
from model_deployment.registry.mlflow_server import MlflowServer
from model_deployment.registry.run_files import log_model_files
from model_deployment.registry.server_features import ServerFeature
from model_deployment.registry.values import shown
from model_deployment.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL = "diabetes"
ALIAS = "champion"
EXPERIMENT = "model_deployment_demo"
#: A tag of the registered model. A run that dies between the steps of a registration leaves ``PARTIAL``
#: behind: the next run knows by it that the model is not a user's, and completes the registration.
TAG = "model_deployment.demo"
PARTIAL, COMPLETE = "partial", "complete"

#: Seconds.
_TIMEOUT = 60.0
_TARGET = "progression"
_MODEL_DESCRIPTION = (
    "Demo: predicts the progression of diabetes one year after the baseline examination from age, "
    "sex, body mass index, blood pressure and six blood serum values. Trained on scikit-learn's "
    "diabetes data set; not for medical use."
)
_VERSION_DESCRIPTION = "Ridge regression on standardised features, evaluated on a hold-out part."


def ensure_demo_model(
    tracking_uri: str, registry_uri: str, artifact_root: Path | None
) -> tuple[str, int] | None:
    """Train and register the demo model if the registry has no models.

    Args:
        tracking_uri: where the training run is logged.
        registry_uri: where the model is registered.
        artifact_root: where the artifacts of a new experiment go; None leaves the choice to MLflow.

    Returns:
        Name and version of the model, or None if the registry has models already.
    """
    with _quiet():
        check_file(registry_uri)
        if artifact_root is not None:
            create_database(registry_uri)
        tracking, registry = MlflowServer(tracking_uri), MlflowServer(registry_uri)
        client = connect(tracking, registry, _TIMEOUT)
        models = client.search_registered_models(max_results=2)
        if models and not (len(models) == 1 and _is_partial(models[0])):
            return None
        with _default_tracking_uri(tracking_uri):
            return MODEL, _complete(client, artifact_root, registered=bool(models))


def explain_failure(error: Exception, registry_uri: str) -> str:
    """Why the demo model could not be set up, in a sentence."""
    of_registry = type(error).__module__.partition(".")[0] in (
        "mlflow",
        "sqlalchemy",
        "model_deployment",
    )
    return explain(error, shown(registry_uri)) if of_registry else first_line(error)


def _is_partial(model: Any) -> bool:
    return bool(model.name == MODEL and model.tags.get(TAG) == PARTIAL)


def _complete(client: "MlflowClient", artifact_root: Path | None, *, registered: bool) -> int:
    """Do the missing steps of the registration; a run may die after any of them."""
    found = client.search_model_versions(f"name = '{MODEL}'") if registered else []
    if found:
        version = min(int(candidate.version) for candidate in found)
    else:
        run_id, source, model_id = _train(_experiment(client, artifact_root), client)
        # Only now, so that other users of the registry do not see a model without a version for long.
        if not registered:
            client.create_registered_model(MODEL, {TAG: PARTIAL}, _MODEL_DESCRIPTION)
        created = client.create_model_version(
            MODEL,
            source,
            run_id,
            tags={TAG: "true"},
            description=_VERSION_DESCRIPTION,
            model_id=model_id,
        )
        version = int(created.version)
    client.set_registered_model_alias(MODEL, ALIAS, str(version))
    client.set_registered_model_tag(MODEL, TAG, COMPLETE)
    return version


def _experiment(client: "MlflowClient", artifact_root: Path | None) -> str:
    """The id of the demo's experiment, which an earlier run may have left."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        # Without a location of its own, artifacts would land in ./mlruns of the working directory.
        location = artifact_root and artifact_root.absolute().as_uri()
        return str(client.create_experiment(EXPERIMENT, location))
    if experiment.lifecycle_stage == "deleted":  # it still holds the name
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _train(experiment_id: str, client: "MlflowClient") -> tuple[str, str, str | None]:
    """Train and log a model; returns the id of the run, where the model is, and its id if it has one."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    params = {"alpha": 10.0, "test_size": 0.25, "random_state": 42}
    # Unscaled, the features are in units a person can type: years, kg/m², mmHg.
    frame = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": _TARGET})
    train, test = train_test_split(
        frame, test_size=params["test_size"], random_state=params["random_state"]
    )
    inputs = train.drop(columns=_TARGET)
    pipeline = make_pipeline(StandardScaler(), Ridge(alpha=params["alpha"]))
    pipeline.fit(inputs, train[_TARGET])

    def save() -> Any:
        return mlflow.sklearn.log_model(
            pipeline,
            name=MODEL,
            signature=infer_signature(inputs, pipeline.predict(inputs)),
            input_example=inputs.head(3).reset_index(drop=True),
            # Given: inferring them takes MLflow another process and seconds.
            pip_requirements=mlflow.sklearn.get_default_pip_requirements(include_skops=True),
        )

    has_logged_models = MlflowServer(mlflow.get_tracking_uri()).has(ServerFeature.LOGGED_MODELS)
    with mlflow.start_run(experiment_id=experiment_id, run_name=MODEL) as run:
        mlflow.log_params({"model": "Ridge", **params, "training_rows": len(train)})
        mlflow.log_metrics(_metrics(pipeline, test))
        _log_dataset(train)
        if has_logged_models:
            id = save().model_id
            return run.info.run_id, f"models:/{id}", id
    return run.info.run_id, log_model_files(run.info.run_id, save, client), None


def _metrics(pipeline: Any, test: Any) -> dict[str, float]:
    from sklearn import metrics

    actual, predicted = test[_TARGET], pipeline.predict(test.drop(columns=_TARGET))
    return {
        "rmse": float(metrics.root_mean_squared_error(actual, predicted)),
        "mae": float(metrics.mean_absolute_error(actual, predicted)),
        "r2": float(metrics.r2_score(actual, predicted)),
    }


def _log_dataset(train: Any) -> None:
    """Log the training rows with the run: reports compare captured rows with them."""
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.parquet"
        train.to_parquet(path, index=False)
        mlflow.log_artifact(str(path), "dataset")


@contextmanager
def _default_tracking_uri(uri: str) -> Iterator[None]:
    """Make a URI MLflow's default for a while.

    MLflow's database registry resolves ``models:/<id>`` with the default, not with the client's URI.
    """
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what MLflow prints: warnings, log lines, progress bars, links. Exceptions still pass."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(sink), redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def main() -> None:
    """Register the demo model in the registry of the settings, without serving it."""
    settings = Settings()
    artifacts = settings.data_dir / "mlflow" / "artifacts" if settings.owns_registry else None
    made = ensure_demo_model(settings.tracking_uri, settings.registry_uri, artifacts)
    said = (
        f"registered {made[0]}-{made[1]}"
        if made
        else "nothing to do: the registry already has models"
    )
    sys.stdout.write(said + "\n")


if __name__ == "__main__":
    main()
