"""The controller's HTTP calls, as OpenAPI describes them."""

import inspect
from typing import Any
from unittest.mock import MagicMock

from fastapi import APIRouter

from model_deployment.app import web
from model_deployment.settings import Settings


def description_of_the_api() -> dict[str, Any]:
    # The routes are described and never called, so whatever they work with may be a stand-in.
    parts: dict[str, Any] = {
        name: MagicMock() for name in inspect.signature(web.build_api).parameters
    }
    policy = Settings.model_construct().policy
    parts["undeploy_wait"] = policy.drain_timeout + policy.stop_grace + 5
    parts["dashboard"].router.return_value = APIRouter()  # pages for people are not described
    return web.build_api(**parts).openapi()
