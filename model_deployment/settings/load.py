"""Reads the settings of this process, and says what is wrong with the variables that hold them."""

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
#: Variables of ours that are no settings: what ``entrypoint.sh`` reads, what the processes of models carry
#: (a controller may be started by one), and what the tests are told.
_OTHERS = frozenset(
    f"{_PREFIX}{name}" for name in ("DOCUMENTS_URL_FILE", "LAUNCH", "ENDPOINT", "METHOD", "PADDING")
)
_TESTS = f"{_PREFIX}TEST_"
#: Settings whose values are not repeated: there may be a password in them.
_SECRET = frozenset({"password", "documents_url", "webhook_url"})
#: What pydantic says at length.
_PLAIN = {
    "int_parsing": "write a whole number",
    "float_parsing": "write a number",
    "bool_parsing": "write true or false",
}
_LONGEST = 80
#: How alike two names are, from 0 to 1, to be taken for one; where the beginning is not ours, more alike.
_NEAR, _VERY_NEAR = 0.8, 0.93


def load(**given: Any) -> Settings:
    """The settings of this process; what is given and not None goes before the environment.

    Args:
        given: options of the command line, by the names of settings.

    Raises:
        InvalidSettings: one cannot be used; the message names its variable or option.
    """
    given = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        wrong = [_told(item, given) for item in error.errors()]
        raise InvalidSettings("\n".join(wrong)) from None
    except SettingsError as error:
        raise InvalidSettings(f"cannot use the settings: {error}") from None


def _told(item: Mapping[str, Any], given: Iterable[str]) -> str:
    why = _PLAIN.get(item["type"]) or mask(str(item["msg"]).removeprefix("Value error, "))
    why = why.replace("Input should be", "it has to be")
    if not item["loc"]:
        return f"cannot use these settings together: {why}"
    name = _field(str(item["loc"][0]))
    where, value = f"--{name.replace('_', '-')}", item["input"]
    if name not in given:
        where = variable(name)
        # As it was written: what pydantic tells may have been read already.
        value = os.environ.get(where, value)
    shown = "" if name in _SECRET else f"={_shown(value)}"
    return f"cannot use {where}{shown}: {why}"


def _field(location: str) -> str:
    """The setting that an error is about; pydantic names it by its alias where there is one."""
    return next((n for n in Settings.model_fields if location in (n, variable(n))), location)


def _shown(value: Any) -> str:
    text = mask(str(value))
    return ascii(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def misspelt(granted: Iterable[str] = ()) -> list[str]:
    """What is wrong with the names of variables: a sentence for each that looks like ours and is none.

    Args:
        granted: variables that are handed to models, which may be called anything.
    """
    known = {variable(name) for name in Settings.model_fields}
    fine = known | _OTHERS | {*granted}
    found = []
    for name in sorted({*os.environ} - fine):
        plain = name.upper()  # pydantic takes small letters as well
        if plain in known or plain.startswith(_TESTS):
            continue
        ours = plain.startswith(_PREFIX)
        near = get_close_matches(plain, known, 1, _NEAR if ours else _VERY_NEAR)
        if near:
            found.append(f"the variable {name} is no setting of ours: did you mean {near[0]}?")
        elif ours:
            found.append(f"the variable {name} is no setting of ours, and changes nothing")
    return found
