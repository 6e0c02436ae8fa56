"""Advice for deployments that do not become ready, by kind of reason. Pure."""

import re

_DELETED = "The version was deleted in the registry. Deploy another one, or register it again."
_LINK = (
    "A symbolic link in the model's files points outside the model's folder, and its target is not "
    "downloaded. Log the model with the files themselves."
)
_SERIES = (
    "The model is a Keras network, as the flows train them for time series. Install Keras and JAX where "
    "the model runs (pip install 'model-deployment[series]'), then deploy again; or deploy with "
    "env_manager uv, which installs the model's requirements."
)
#: By a sign in the reason, also in one that an earlier release stored; the first sign that is found counts.
_ADVICE = {
    # Of start_method=container. What follows in the reason is pip's or the engine's, and may say anything.
    "(MODEL_DEPLOYMENT_BUILD_TIMEOUT)":
        "The package index or the network is slow, or a package is large. Raise "
        "MODEL_DEPLOYMENT_BUILD_TIMEOUT, or use a base image (MODEL_DEPLOYMENT_IMAGE_BASE) that has the "
        "large packages.",
    "cannot build the model's environment":
        "The model's requirements could not be installed; the reason has the lines that matter. Check that "
        "the versions exist for this Python and fit together, and that builds reach the package index "
        "(UV_INDEX_URL or PIP_INDEX_URL; of images MODEL_DEPLOYMENT_IMAGE_NETWORK). Then deploy again.",
    "cannot pull the base image":
        "The engine has no such image, and cannot fetch it. Check MODEL_DEPLOYMENT_IMAGE_BASE.",
    "cannot use the requirement ":
        "The image of the model's environment is made of packages and wheels only. Log the model with "
        "other requirements (pip_requirements), or name a base image that has what it needs.",
    "not ready within":
        "The model server started but did not pass its health check in time. If the model is large, "
        "raise MODEL_DEPLOYMENT_START_TIMEOUT. If the model waits for something, its log may say what.",
    "may be merged":
        "Merging requests (batch_max_rows) needs a model whose prediction for a row does not depend on the "
        "other rows. Deploy the model with batch_max_rows set to 0.",
    "in-MODEL_DEPLOYMENT_MODEL_ENV":
        "The model calls MLflow, for example to load another registered model, but models do not get the "
        "address of your server. Add MLFLOW_TRACKING_URI to MODEL_DEPLOYMENT_MODEL_ENV, then restart the "
        "controller.",
    "No module named 'keras'": _SERIES,
    "No module named 'jax'": _SERIES,
    "No module named":
        "The model needs a library that is not installed where it runs. Install the library there, or "
        "deploy with env_manager uv or virtualenv, which installs the model's requirements.",
    "Could not find Conda":
        "Conda is not installed on the controller's machine. Install it there, or deploy with env_manager "
        "uv, virtualenv or local.",
    "is stopped (SIGSTOP)":
        "The model's process was suspended from outside (SIGSTOP) and answered no requests.",
    # Before the entries below: the reason ends with the model's own output, which may say anything.
    "exited with status":
        "The model server started, then exited on its own. The last lines of its log say why. Often a "
        "library is missing, or its version differs from the one the model was trained with; env_manager "
        "uv installs the model's requirements.",
    "free port":
        "All ports in the range are in use. Undeploy a model, or widen MODEL_DEPLOYMENT_PORTS.",
    "no MLmodel file":
        "The registered artifacts are not an MLflow model: there is no MLmodel file. Log the model with "
        "MLflow (log_model or save_model), register it, and deploy the new version.",
    "leaves their folder": _LINK,
    "leaves them": _LINK,
    "cannot use the MLflow registry":
        "Something is wrong with the registry or with its settings; the reason says what. Fix the "
        "problem, then deploy again.",
    "the registry has no ": _DELETED,
    "the registry says: ": _DELETED,
    "artifacts":
        "The model's files could not be downloaded. Check that the registry answers and that the run's "
        "artifacts still exist.",
    "registry":
        "The registry did not answer. Deploy again when it does.",
    "cannot start a process":
        "The machine refused to start a process. Check its free memory and its process limits.",
    "killed by SIGKILL":
        "The process was killed from outside, often because the machine ran out of memory.",
    "killed by SIG":
        "The process crashed in native code. Most often a library's version differs from the one the "
        "model was trained with, or the library was built for another processor. env_manager uv installs "
        "the model's requirements.",
}  # fmt: skip

#: Advice by the exception that a reason begins with, where another start would raise it too.
_OF_EXCEPTIONS = {
    ("ImportError", "AttributeError", "UnpicklingError", "NameError"):
        "Most often a library's version differs from the one the model was trained with, or the model's "
        "own code was not logged with it (code_paths). Deploy with env_manager uv, which installs the "
        "versions that the model requires, or install them here and deploy again.",
    ("FileNotFoundError", "NotADirectoryError", "IsADirectoryError", "PermissionError"):
        "The model reads a file that is missing here, or that the controller's user cannot read. Log the "
        "file with the model (artifacts=...) and register a new version, or make the file readable for "
        "the controller's user and deploy again.",
    ("MemoryError", "OutOfMemoryError"):
        "There is not enough memory to load the model. Undeploy another model, let models be parked "
        "(idle_timeout), or give the machine more memory.",
    ("ConnectionError", "ConnectionRefusedError", "ConnectTimeout", "TimeoutError", "gaierror"):
        "While it loads, the model calls another service, and that service did not answer. Deploy again "
        "when the service answers. Environment variables with its address and credentials reach the "
        "model only if MODEL_DEPLOYMENT_MODEL_ENV names them.",
}  # fmt: skip
_OF_ANY = (
    "The model's own code raised this exception while the model was loading; the log has the full "
    "traceback. Fix the model, register it again, and deploy the new version."
)
#: Signs that say more than the kind of the exception.
_WHATEVER_RAISED = ("in-MODEL_DEPLOYMENT_MODEL_ENV", "No module named", "Could not find Conda")
#: Reasons that name a step in progress, not a problem.
_NO_TROUBLE = (
    "verifying the local artifacts",
    "making sure of the local artifacts",  # as earlier releases stored it
    "waiting for the warm parent",
    "waiting for its environment",
)
#: The name of an exception, which a reason begins with: capital, or one that is not.
_EXCEPTION = re.compile(r"([A-Z]\w*|\w*[Ee]rror|timeout)(?=:|$| \()")


def advice(reason: str) -> str:
    """Empty where no general advice helps."""
    if reason.startswith(_NO_TROUBLE):
        return ""
    found = _EXCEPTION.match(reason)
    if found is None or any(sign in reason for sign in _WHATEVER_RAISED):
        return next((text for sign, text in _ADVICE.items() if sign in reason), "")
    name = found[1]
    return next((text for names, text in _OF_EXCEPTIONS.items() if name in names), _OF_ANY)


def with_advice(text: str, reason: str) -> str:
    """The text, which ends with a reason, followed by the advice for the reason."""

    helps = advice(reason)
    return f"{text}. {helps}" if helps else text
