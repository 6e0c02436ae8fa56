"""What helps when a deployment does not become ready: a sentence for each kind of reason. Pure."""

_ADVICE = (
    (
        "not ready within",
        "The model server started and did not answer its health check in time. If the model is large, "
        "raise MODEL_DEPLOYMENT_START_TIMEOUT; if it waits for something, the log shows for what.",
    ),
    (
        "may be merged",
        "Merging requests (batch_max_rows) needs a model whose prediction for a row does not depend on the "
        "other rows. Deploy it with other options: 0 there.",
    ),
    (
        "in-MODEL_DEPLOYMENT_MODEL_ENV",
        "The model asks MLflow for something, as another registered model, and models are not given your "
        "server. Name MLFLOW_TRACKING_URI in MODEL_DEPLOYMENT_MODEL_ENV, and start the controller again.",
    ),
    (
        "No module named",
        "A library that the model needs is not installed where it runs. Install it there, or "
        "deploy with the environment uv or virtualenv, which installs what the model asks for.",
    ),
    # Before those below: its last words are the model's own, and may say anything.
    (
        "exited with status",
        "The model server started and ended by itself. The last lines of its log say why; often a library "
        "is missing or has another version than the model was trained with. The environment uv installs "
        "what the model asks for.",
    ),
    (
        "free port",
        "All ports of the range are taken. Undeploy something, or widen MODEL_DEPLOYMENT_PORTS.",
    ),
    (
        "no MLmodel file",
        "What was registered is no MLflow model: it has no MLmodel file. Log it with MLflow "
        "(log_model, or save_model), register that, and deploy the new version.",
    ),
    (
        "leaves them",
        "A link in the model's files leads out of them, and those it leads to do not come along. Log the "
        "model with the files themselves.",
    ),
    (
        "artifacts",
        "The model's files could not be had from the registry. Look whether it answers, and whether "
        "the run's artifacts are still there.",
    ),
    (
        "registry",
        "The registry did not answer. Once it does, deploy again.",
    ),
    (
        "cannot start a process",
        "The machine refused to start a process: look at its memory and its limits.",
    ),
    (
        "signal",
        "Something ended the process from outside; often the machine ran out of memory.",
    ),
)


def advice(reason: str) -> str:
    """What helps; empty where nothing general does."""
    return next((text for sign, text in _ADVICE if sign in reason), "")
