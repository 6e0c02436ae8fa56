"""A client of the controller, for notebooks and programs: Python, and httpx.

It is also a distribution of its own, ``model-deployment-client``.
"""

from model_deployment.client.aio.client import AsyncClient
from model_deployment.client.errors import (
    ApiError,
    BadAddress,
    ClientError,
    RunUnfinished,
    StreamFailed,
    Unfinished,
    Unreachable,
    Unsendable,
)
from model_deployment.client.predictions import Predictions
from model_deployment.client.reports import Report
from model_deployment.client.sync.client import Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "BadAddress",
    "Client",
    "ClientError",
    "Predictions",
    "Report",
    "RunUnfinished",
    "StreamFailed",
    "Unfinished",
    "Unreachable",
    "Unsendable",
]
