"""Reads the settings of this process, and explains errors in their environment variables."""

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from model_deployment.core.errors import InvalidSettings
from model_deployment.log.masking import mask
from model_deployment.settings.settings import Settings
from model_deployment.settings.table import variable

_PREFIX = "MODEL_DEPLOYMENT_"
#: Variables with the prefix that are no settings: of ``entrypoint.sh``, of model processes (which may start
#: a controller), and of the tests.
_OTHERS = frozenset(
    {
        f"{_PREFIX}{name}"
        for name in (
            *("DOCUMENTS_URL_FILE", "MLFLOW_WEBHOOK_SECRET_FILE", "FLOWS_API_AUTH_FILE"),
            *("FLOWS_THREADS", "PASSWORD_FILE"),  # of the service of flows
            *("LAUNCH", "ENDPOINT", "METHOD", "ENVIRONMENT", "PADDING", "BUILD", "LOG"),
        )
    }
)
_TESTS = f"{_PREFIX}TEST_"
#: Settings whose values may contain a password: messages do not repeat them.
_SECRET = frozenset(
    {"password", "documents_url", "webhook_url", "mlflow_webhook_secret", "flows_api_auth"}
)
#: Shorter messages for types of Pydantic errors.
_PLAIN = {
    "int_parsing": "write a whole number",
    "float_parsing": "write a number",
    "bool_parsing": "write true or false",
}
_LONGEST = 80
#: Similarity (0-1) above which a name is taken for a misspelt one: with our prefix, and without it.
_NEAR, _VERY_NEAR = 0.8, 0.93


def load(**given: Any) -> Settings:
    """The settings of this process.

    Args:
        given: values from the command line, by the names of settings; None leaves the environment's value.

    Raises:
        InvalidSettings: a value cannot be used; the message names its variable or option.
    """
    given = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise InvalidSettings("\n".join(_explain(item, given) for item in error.errors())) from None
    except SettingsError as error:
        raise InvalidSettings(f"cannot use the settings: {error}") from None


def _explain(item: Mapping[str, Any], given: Iterable[str]) -> str:
    why = _PLAIN.get(item["type"]) or mask(str(item["msg"]).removeprefix("Value error, "))
    why = why.replace("Input should be", "it must be")
    if not item["loc"]:
        return f"cannot use these settings together: {why}"
    name = _field(str(item["loc"][0]))
    where, value = f"--{name.replace('_', '-')}", item["input"]
    if name not in given:
        where = variable(name)
        # The text of the variable: Pydantic may report a converted value.
        value = os.environ.get(where, value)
    shown = "" if name in _SECRET else f"={_shown(value)}"
    return f"cannot use {where}{shown}: {why}"


def _field(location: str) -> str:
    """The setting that an error is about; Pydantic names the alias if there is one."""
    return next((n for n in Settings.model_fields if location in (n, variable(n))), location)


def _shown(value: Any) -> str:
    text = mask(str(value))
    return ascii(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def misspelt(granted: Iterable[str] = ()) -> list[str]:
    """Warnings about environment variables that look like settings and are not, one sentence each.

    Args:
        granted: variables that models get, which may have any name.
    """
    known = {variable(name) for name in Settings.model_fields}
    fine = known | _OTHERS | {*granted}
    found = []
    for name in sorted({*os.environ} - fine):
        plain = name.upper()  # Pydantic accepts lower case as well
        if plain in known or plain.startswith(_TESTS):
            continue
        ours = plain.startswith(_PREFIX)
        near = get_close_matches(plain, known, 1, _NEAR if ours else _VERY_NEAR)
        if near:
            found.append(f"the variable {name} is not a setting: did you mean {near[0]}?")
        elif ours:
            found.append(f"the variable {name} is not a setting and has no effect")
    return found
