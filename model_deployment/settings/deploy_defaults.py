"""The settings that hold the defaults of deploy options, made from the declared options."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, create_model
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
    if one.words:
        return Annotated[Any, BeforeValidator(_number_or_word(one))]
    return Names if one.is_list else _BY_UNIT.get(one.unit, one.kind)


def _number_or_word(one: Declaration) -> Callable[[Any], Any]:
    kind: Any = Annotated[_BY_UNIT.get(one.unit, one.kind), Field(ge=one.minimum, le=one.maximum)]
    number = TypeAdapter[Any](kind)

    def read(value: Any) -> Any:
        if value in one.words:
            return value
        try:
            return number.validate_python(value)
        except ValidationError:
            raise ValueError(
                f"write a number from {one.minimum:g} to {one.maximum:g}, or {' or '.join(one.words)}"
            ) from None

    return read


def _field(one: Declaration, default: Any) -> Any:
    names = " `NAME,NAME`." if one.is_list else ""
    return Field(
        default if one.setting_default is None else one.setting_default,
        description=f"{one.description}{names} A deploy can choose another value.",
        **_limits(one),
    )


def _limits(one: Declaration) -> dict[str, Any]:
    if one.words:  # the number beside the words has them
        return {}
    # The types of durations have a limit of their own.
    most = None if one.is_duration else one.maximum
    return {"gt" if one.positive else "ge": one.minimum, "le": most}


# The type checker does not see the members.
if TYPE_CHECKING:

    class DeployDefaults(BaseSettings): ...

else:
    DeployDefaults = deploy_defaults(Options)
