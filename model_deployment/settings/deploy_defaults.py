"""The settings that hold the defaults of deploy options, made from the declared options."""

from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model
from pydantic_settings import BaseSettings

from model_deployment.core.options import Declaration, Options
from model_deployment.settings.types import Bytes, Days, Names, Seconds

_BY_UNIT: dict[str, Any] = {"s": Seconds, "d": Days, "bytes": Bytes}


def deploy_defaults(options: type[Options]) -> type[BaseSettings]:
    """A base of the settings, with a field for each option whose default is a setting."""
    defaults = options()
    members: dict[str, Any] = {
        name: (_type(one), _field(one, getattr(defaults, name)))
        for name, one in options.declarations().items()
        if one.setting
    }
    return create_model("DeployDefaults", __base__=BaseSettings, **members)


def _type(one: Declaration) -> Any:
    return Names if one.is_list else _BY_UNIT.get(one.unit, one.kind)


def _field(one: Declaration, default: Any) -> Any:
    names = " `NAME,NAME`." if one.is_list else ""
    return Field(
        default if one.setting_default is None else one.setting_default,
        description=f"{one.description}{names} A deploy can choose another value.",
        gt=one.minimum if one.positive else None,
        ge=None if one.positive else one.minimum,
        le=None
        if one.is_duration
        else one.maximum,  # the types of durations have a limit of their own
    )


# The type checker does not see the members.
if TYPE_CHECKING:

    class DeployDefaults(BaseSettings): ...

else:
    DeployDefaults = deploy_defaults(Options)
