"""The forms that a request of MLflow's protocol may have, for an example of any kind."""

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
#: The request that MLflow saved with the model.
SAVED = "saved"
#: With params; the other forms have none.
PARAMS = "params"
#: Keys of the calls of chats, which are sent as they are.
_CHATS = frozenset({"messages", "input"})


@dataclass(frozen=True)
class Request:
    form: str
    media_type: str
    body: bytes

    def as_json(self) -> dict[str, str]:
        """JSON-ready; bytes as base64."""
        return {**vars(self), "body": base64.b64encode(self.body).decode()}

    @classmethod
    def from_json(cls, told: dict[str, str]) -> "Request":
        """The inverse."""
        return cls(told["form"], told["media_type"], base64.b64decode(told["body"]))


def requests(example: Any, params: dict[str, Any]) -> Iterator[Request]:
    """The example in every form that can hold it."""
    import pandas as pd

    bodies = dict(_bodies(example))
    for form, body in bodies.items():
        yield Request(form, JSON, dumps(body))
    if params:
        yield Request(PARAMS, JSON, dumps({**next(iter(bodies.values())), "params": params}))
    if isinstance(example, pd.DataFrame):
        yield Request("CSV", CSV, example.to_csv(index=False).encode())
        buffer = io.BytesIO()
        example.to_parquet(buffer)
        yield Request("Parquet", PARQUET, buffer.getvalue())


def _bodies(example: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    import numpy as np
    import pandas as pd

    if isinstance(example, pd.DataFrame):
        split = example.to_dict("split")
        yield (
            "dataframe_split",
            {"dataframe_split": {key: split[key] for key in ("columns", "data")}},
        )
        yield "dataframe_records", {"dataframe_records": example.to_dict("records")}
        yield "instances", {"instances": example.to_dict("records")}
        yield "inputs", {"inputs": example.to_dict("list")}
    elif isinstance(example, dict) and _CHATS & example.keys():
        yield "inputs", {"inputs": example}
    elif isinstance(example, dict) and isinstance(next(iter(example.values())), np.ndarray):
        rows = len(next(iter(example.values())))
        each = [{name: value[row] for name, value in example.items()} for row in range(rows)]
        yield "instances", {"instances": each}
        yield "inputs", {"inputs": example}
    elif isinstance(example, dict):
        yield "inputs", {"inputs": example}
        yield "instances", {"instances": [example]}
        yield "dataframe_records", {"dataframe_records": [example]}
    elif isinstance(example, str):
        yield "inputs", {"inputs": example}
        yield "instances", {"instances": [example]}
    else:
        yield "instances", {"instances": example}
        yield "inputs", {"inputs": example}


def dumps(body: Any) -> bytes:
    """As JSON: arrays as lists, moments as ISO 8601."""
    return json.dumps(body, default=_plain).encode()


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value.tolist()
