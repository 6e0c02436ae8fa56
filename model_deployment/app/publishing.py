"""Builds what makes releases for devices: key, files, and the trial of models."""

import contextlib

from model_deployment.app.serving import ServingParts
from model_deployment.core.names import ModelKey
from model_deployment.core.options import EnvManager, StartMethod
from model_deployment.devices.blobs import BlobStore
from model_deployment.devices.model_files import ModelFiles
from model_deployment.devices.publish import ReleasePublisher
from model_deployment.devices.release_trials import ReleaseTrials
from model_deployment.devices.signing import KeyFile
from model_deployment.runtime.model_trial import ModelTrials
from model_deployment.settings import Settings


def build_publisher(
    settings: Settings, serving: ServingParts, key: KeyFile, stack: contextlib.AsyncExitStack
) -> ReleasePublisher:
    """Build it; the stack ends its work in the background."""

    async def why_untried(model: ModelKey) -> str:
        row = await serving.deployments.get(model)
        options = row.options if row else settings.options
        if options.start_method is StartMethod.CONTAINER:
            return "it runs in a container, and its code is not run outside of one"
        if options.env_manager is not EnvManager.LOCAL:
            return (
                f"it runs in an environment of its own (env_manager {options.env_manager}), which has not "
                "the libraries that convert it"
            )
        return ""

    trials = ModelTrials(settings.model_environment(EnvManager.LOCAL), serving.instance)
    trials.end_left()
    blobs = BlobStore(settings.data_dir)
    publisher = ReleasePublisher(
        key=key,
        blobs=blobs,
        files=ModelFiles(serving.cache, serving.registry, blobs),
        trying=ReleaseTrials(
            settings.data_dir / "releases" / "work",
            blobs,
            trials,
            why_untried,
        ),
    )
    publisher.open()
    stack.push_async_callback(publisher.close)
    return publisher
