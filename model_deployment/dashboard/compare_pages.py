"""To come."""

from fastapi import APIRouter

from model_deployment.dashboard.pages import Pages
from model_deployment.dashboard.parts import Parts


def router(parts: Parts, pages: Pages) -> APIRouter:
    """The routes."""
    return APIRouter(route_class=pages.route_class(), include_in_schema=False)
