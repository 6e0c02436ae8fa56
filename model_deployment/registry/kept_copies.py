"""Copies of what the registry said, kept in files, so that it can be told while the registry is away."""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from model_deployment.core.errors import RegistryUnavailable
from model_deployment.core.names import ModelKey

_log = logging.getLogger(__name__)

#: Seconds between looks for deployments whose copy is missing or old.
_LOOK = 30.0


async def keep_renewed(
    deployed: Callable[[], Awaitable[Sequence[ModelKey]]],
    renew: Callable[[ModelKey], Awaitable[None]],
    what: str,
) -> None:
    """Renew the copies of all deployments ahead of time, until cancelled.

    Args:
        renew: renews the copy of a version if it is old; may raise RegistryUnavailable.
        what: the copies, in words.
    """
    while True:
        try:
            for key in await deployed():
                await renew(key)
        except RegistryUnavailable:
            pass  # for all deployments; the registry has logged the reason
        except Exception as error:
            _log.warning("cannot store %s: %s", what, error)
        await asyncio.sleep(_LOOK)


def write_copy(file: Path, content: Mapping[str, Any]) -> None:
    """Replace the file as a whole, as JSON. A full disk is logged and not raised."""
    draft = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(json.dumps(content, default=str), encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        _log.warning("cannot write %s: %s", file, error.strerror)
