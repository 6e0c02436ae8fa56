"""Defaults of params that a model may write into: each request gets its own.

MLflow hands out the object in the signature. What a model appends to it, later requests would begin with.
"""

import copy
from typing import Any

#: Values of these types cannot be written into.
_FIXED = (str, bytes, int, float, bool, type(None))


def copy_defaults(model: Any) -> None:
    """Have a loaded model's signature give out copies of the defaults that are lists or objects."""
    schema = model.metadata.get_params_schema()
    if schema is None or all(isinstance(spec.default, _FIXED) for spec in schema.params):
        return
    from mlflow.types import ParamSchema

    class Params(ParamSchema):  # type: ignore[misc]
        """As it was, but for the defaults of each look."""

        @property
        def params(self) -> list[Any]:
            return [*map(_anew, self._params)]

    model.metadata.signature.params = Params(schema.params)


def _anew(spec: Any) -> Any:
    if isinstance(spec.default, _FIXED):
        return spec
    own = copy.copy(spec)
    own._default = copy.deepcopy(spec.default)
    return own
