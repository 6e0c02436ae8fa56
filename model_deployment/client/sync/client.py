"""The client with all calls."""

from model_deployment.client.sync.deployments import Deployments
from model_deployment.client.sync.device_projects import DeviceProjects
from model_deployment.client.sync.devices import Devices
from model_deployment.client.sync.endpoints import Endpoints
from model_deployment.client.sync.flow_project import ProjectOfFlows
from model_deployment.client.sync.flows import Flows
from model_deployment.client.sync.predictions import Predicting
from model_deployment.client.sync.registry import Registry
from model_deployment.client.sync.training_data import TrainingData


class Client(
    Predicting,
    Deployments,
    Endpoints,
    DeviceProjects,
    Devices,
    Flows,
    ProjectOfFlows,
    Registry,
    TrainingData,
):
    """A controller of model_deployment, or the gateway in front of it::

        client = Client("http://127.0.0.1:8000")
        client.deploy("diabetes", 1)
        client.predict("diabetes-1", frame).to_series()

    Answers are dicts, as in JSON; :mod:`model_deployment.client.answers` has their types. Errors are
    :class:`ApiError` and :class:`Unreachable`.
    """
