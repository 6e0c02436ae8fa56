"""Trying a release before it serves: its own process loads it, predicts the example, and answers as the
controller did."""

from model_deployment_agent.errors import BadInput, ModelFailed, UpdateFailed
from model_deployment_agent.json_values import difference
from model_deployment_agent.manifest import Manifest
from model_deployment_agent.model_child import ModelChild, ModelLimits
from model_deployment_agent.prediction_input import of_example
from model_deployment_agent.release_folders import ReleaseFolders


async def tried(folders: ReleaseFolders, manifest: Manifest, limits: ModelLimits) -> ModelChild:
    """A process of the model that has proved itself on the example, if there is one.

    Raises:
        UpdateFailed: it cannot be run, cannot take its example, or answers something else.
    """
    folder = folders.path(manifest.folder)
    child = await ModelChild.start(folder, manifest.onnx, limits)
    try:
        if manifest.example is not None:
            given = of_example((folder / manifest.example).read_bytes())
            _compare(manifest, await child.predict(given))
    except (BadInput, ModelFailed, OSError) as error:
        await child.end()
        raise UpdateFailed(f"cannot run this release: its example fails: {error}") from error
    except BaseException:
        await child.end()
        raise
    return child


def _compare(manifest: Manifest, predictions: list[object]) -> None:
    answer = manifest.answer
    if answer is None:
        return
    found = difference(predictions, answer.get("predictions"), float(answer.get("tolerance", 0)))
    if found:
        raise UpdateFailed(
            f"cannot run this release: it answers its example otherwise than on the controller ({found})"
        )
