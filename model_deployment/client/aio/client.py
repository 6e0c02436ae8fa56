"""The client with all calls."""

from model_deployment.client.aio.deployments import AsyncDeployments
from model_deployment.client.aio.device_projects import AsyncDeviceProjects
from model_deployment.client.aio.devices import AsyncDevices
from model_deployment.client.aio.endpoints import AsyncEndpoints
from model_deployment.client.aio.flow_project import AsyncProjectOfFlows
from model_deployment.client.aio.flows import AsyncFlows
from model_deployment.client.aio.predictions import AsyncPredicting
from model_deployment.client.aio.registry import AsyncRegistry
from model_deployment.client.aio.training_data import AsyncTrainingData


class AsyncClient(
    AsyncPredicting,
    AsyncDeployments,
    AsyncEndpoints,
    AsyncDeviceProjects,
    AsyncDevices,
    AsyncFlows,
    AsyncProjectOfFlows,
    AsyncRegistry,
    AsyncTrainingData,
):
    """A controller of model_deployment, or the gateway in front of it::

        client = Client("http://127.0.0.1:8000")
        client.deploy("diabetes", 1)
        client.predict("diabetes-1", frame).to_series()

    Answers are dicts, as in JSON; :mod:`model_deployment.client.answers` has their types. Errors are
    :class:`ApiError` and :class:`Unreachable`.
    """
