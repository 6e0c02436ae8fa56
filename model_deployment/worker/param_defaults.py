"""Gives each request its own copy of the params' defaults.

MLflow hands out the objects of the signature. What a model appends to one, later requests would begin with.
"""

import copy
from typing import Any

#: Values of these types cannot be changed.
_FIXED = (str, bytes, int, float, bool, type(None))


def copy_defaults(model: Any) -> None:
    """Make the signature of a loaded model return copies of the defaults that are lists or objects."""
    schema = model.metadata.get_params_schema()
    if schema is None or all(isinstance(spec.default, _FIXED) for spec in schema.params):
        return
    from mlflow.types import ParamSchema

    class Params(ParamSchema):  # type: ignore[misc]
        @property
        def params(self) -> list[Any]:
            return [*map(_with_own_default, self._params)]

    model.metadata.signature.params = Params(schema.params)


def _with_own_default(spec: Any) -> Any:
    if isinstance(spec.default, _FIXED):
        return spec
    own = copy.copy(spec)
    own._default = copy.deepcopy(spec.default)
    return own
