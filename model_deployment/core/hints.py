"""What helps when a deployment does not become ready: a sentence for each kind of reason. Pure."""

import re

_DELETED = "The version was deleted in the registry. Deploy another one, or register it again."
#: By a sign in the reason; the first sign that is found counts.
_ADVICE = {
    "not ready within":
        "The model server started and did not answer its health check in time. If the model is large, "
        "raise MODEL_DEPLOYMENT_START_TIMEOUT; if it waits for something, the log shows for what.",
    "may be merged":
        "Merging requests (batch_max_rows) needs a model whose prediction for a row does not depend on the "
        "other rows. Deploy it with other options: 0 there.",
    "in-MODEL_DEPLOYMENT_MODEL_ENV":
        "The model asks MLflow for something, as another registered model, and models are not given your "
        "server. Name MLFLOW_TRACKING_URI in MODEL_DEPLOYMENT_MODEL_ENV, and start the controller again.",
    "No module named":
        "A library that the model needs is not installed where it runs. Install it there, or "
        "deploy with the environment uv or virtualenv, which installs what the model asks for.",
    "is stopped (SIGSTOP)":
        "Something had stopped the model's process (SIGSTOP), so that it answered nobody.",
    # Before those below: its last words are the model's own, and may say anything.
    "exited with status":
        "The model server started and ended by itself. The last lines of its log say why; often a library "
        "is missing or has another version than the model was trained with. The environment uv installs "
        "what the model asks for.",
    "free port":
        "All ports of the range are taken. Undeploy something, or widen MODEL_DEPLOYMENT_PORTS.",
    "no file MLmodel":
        "What was registered is no MLflow model: it has no MLmodel file. Log it with MLflow "
        "(log_model, or save_model), register that, and deploy the new version.",
    "leaves their folder":
        "A link in the model's files leads out of them, and those it leads to do not come along. Log the "
        "model with the files themselves.",
    "cannot use the MLflow registry":
        "Something is wrong with the registry or with its settings; the reason says what. Mend that, and "
        "deploy again.",
    "the registry has no ": _DELETED,
    "the registry says: ": _DELETED,
    "artifacts":
        "The model's files could not be had from the registry. Look whether it answers, and whether "
        "the run's artifacts are still there.",
    "registry":
        "The registry did not answer. Once it does, deploy again.",
    "cannot start a process":
        "The machine refused to start a process: look at its memory and its limits.",
    "killed by SIGKILL":
        "Something ended the process from outside; often the machine ran out of memory.",
    "killed by SIG":
        "The process crashed in native code: most often a library of another version than the model was "
        "trained with, or built for another processor. The environment uv installs what the model asks "
        "for.",
}  # fmt: skip

#: The same by the exception that a reason begins with, where another start would raise it too.
_OF_EXCEPTIONS = {
    ("ImportError", "AttributeError", "UnpicklingError", "NameError"):
        "Most often a library has another version here than where the model was trained, or the model's "
        "own code was not logged with it (code_paths). The environment uv installs the versions that the "
        "model asks for; else install them here and deploy again.",
    ("FileNotFoundError", "NotADirectoryError", "IsADirectoryError", "PermissionError"):
        "The model reads a file that is not here. Log what it needs with it (artifacts=...), and register "
        "that; or make the file readable for the controller's user, and deploy again.",
    ("MemoryError", "OutOfMemoryError"):
        "There is not enough memory to load the model. Undeploy something, let models be parked "
        "(idle_timeout), or give the machine more.",
    ("ConnectionError", "ConnectionRefusedError", "ConnectTimeout", "TimeoutError", "gaierror"):
        "The model asks another service while it is loaded, which did not answer. Once it does, deploy "
        "again; variables with its address and credentials reach a model by MODEL_DEPLOYMENT_MODEL_ENV "
        "only.",
}  # fmt: skip
_OF_ANY = (
    "The model's own code raised this while it was loaded; its log has the whole trace. Mend the model, "
    "register it again, and deploy the new version."
)
#: Signs that tell more than the kind of an exception.
_WHATEVER_RAISED = ("in-MODEL_DEPLOYMENT_MODEL_ENV", "No module named")
#: Reasons of what is on its way.
_NO_TROUBLE = ("making sure of", "waiting for the warm parent")
#: The name of an exception, which a reason begins with: capital, or one that is not.
_EXCEPTION = re.compile(r"([A-Z]\w*|\w*[Ee]rror|timeout)(?=:|$| \()")


def advice(reason: str) -> str:
    """What helps; empty where nothing general does."""
    if reason.startswith(_NO_TROUBLE):
        return ""
    found = _EXCEPTION.match(reason)
    if found is None or any(sign in reason for sign in _WHATEVER_RAISED):
        return next((text for sign, text in _ADVICE.items() if sign in reason), "")
    name = found[1]
    return next((text for names, text in _OF_EXCEPTIONS.items() if name in names), _OF_ANY)


def with_advice(text: str, reason: str) -> str:
    """A text that ends with a reason, and behind it what helps."""
    helps = advice(reason)
    return f"{text}. {helps}" if helps else text
