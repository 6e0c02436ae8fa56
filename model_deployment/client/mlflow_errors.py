"""The client's errors as MLflow's, and orders that have not come to their end when a call returns."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from model_deployment.client.errors import ApiError, ClientError, Unreachable, Unsendable
from model_deployment.client.mlflow_config import BadRequest

_CODES = {
    400: codes.BAD_REQUEST,
    401: codes.UNAUTHENTICATED,
    403: codes.PERMISSION_DENIED,
    404: codes.RESOURCE_DOES_NOT_EXIST,
    409: codes.RESOURCE_CONFLICT,
    413: codes.INVALID_PARAMETER_VALUE,
    415: codes.INVALID_PARAMETER_VALUE,
    422: codes.INVALID_PARAMETER_VALUE,
    429: codes.REQUEST_LIMIT_EXCEEDED,
    503: codes.TEMPORARILY_UNAVAILABLE,
    504: codes.DEADLINE_EXCEEDED,
    507: codes.RESOURCE_EXHAUSTED,
}
#: States of a deployment that is on its way to serving, and of a second launch that is to serve.
_COMING = ("pending", "starting", "stopping")


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Have errors be MLflow's, with our text."""
    try:
        yield
    except ApiError as error:
        text = "\n".join([str(error), *getattr(error, "__notes__", ())])
        raise MlflowException(
            text, error_code=_CODES.get(error.status, codes.INTERNAL_ERROR)
        ) from error
    except Unreachable as error:
        raise MlflowException(str(error), error_code=codes.TEMPORARILY_UNAVAILABLE) from error
    except (BadRequest, Unsendable) as error:
        raise MlflowException(str(error), error_code=codes.INVALID_PARAMETER_VALUE) from error
    except ClientError as error:
        raise MlflowException(str(error), error_code=codes.INTERNAL_ERROR) from error


def check_serves(row: Mapping[str, Any], wait: float) -> None:
    """Check that a deployment serves, with the options that were asked for.

    Args:
        row: the deployment, as the call that ordered it was answered.
        wait: seconds that the call waited; after 0 there is nothing to check.

    Raises:
        MlflowException: it does not serve yet, or has failed.
    """
    change = row["replacement"]
    launch = change if change is not None and change["state"] in _COMING else row
    if row["state"] == "failed":
        raise MlflowException(
            f"cannot deploy {row['name']}: {row['reason']}", error_code=codes.ABORTED
        )
    if wait and launch["state"] in (*_COMING, "stopped"):
        what = "the change of " if launch is change else ""
        raise _unfinished(f"{what}{row['name']}", launch, wait)


def check_gone(row: Mapping[str, Any], wait: float) -> None:
    """Check that a deployment is undeployed. Takes and raises what :func:`check_serves` does."""
    if wait and row["state"] != "stopped":
        raise _unfinished(row["name"], row, wait)


def _unfinished(what: str, launch: Mapping[str, Any], wait: float) -> MlflowException:
    reason = f": {launch['reason']}" if launch["reason"] else ""
    return MlflowException(
        f"{what} is still {launch['state']} after {wait:g} s{reason}. It goes on; the config "
        "wait=<seconds> waits longer",
        error_code=codes.DEADLINE_EXCEEDED,
    )
