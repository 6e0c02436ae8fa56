"""Makes beforehand what each controller makes of its code alone: half of the time of its start.

For the process that controllers of tests are forked from. Programs that users start make it themselves,
and so does each controller of a test without forks.
"""

import functools
import inspect
from typing import Any
from unittest.mock import MagicMock

import typer.main
from fastapi import APIRouter
from fastapi._compat import v2
from pydantic import TypeAdapter

from model_deployment.app import web
from model_deployment.cli.main import app


def prepare() -> None:
    """Keep the command line, and what validates the parameters and answers of all calls."""
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(app)
    v2.TypeAdapter = _Adapters().find  # type: ignore[attr-defined,assignment]
    # Calls are described and never made, so whatever they work with may be a stand-in.
    parts: dict[str, Any] = {
        name: MagicMock() for name in inspect.signature(web.build_api).parameters
    }
    parts["undeploy_wait"] = 1.0
    parts["dashboard"].router.return_value = APIRouter()
    web.build_api(**parts)


class _Adapters:
    """Those of all types so far. They hold no state."""

    def __init__(self) -> None:
        self._made: dict[tuple[object, str, str], TypeAdapter[Any]] = {}

    def find(self, kind: Any, *, config: Any = None) -> TypeAdapter[Any]:
        """That of an annotated type; functions in its metadata are told apart by their addresses."""
        key = (kind.__origin__, repr(kind.__metadata__), repr(config))
        if (known := self._made.get(key)) is None:
            known = self._made[key] = TypeAdapter(kind, config=config)
        return known
