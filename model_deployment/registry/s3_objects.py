"""Copies objects of an S3 store that lie under prefixes which the operator allows.

Anybody who may write to the registry chooses the source of a logged dataset. A store may shorten a name
like ``a/../b``, and so leave the prefix: such names are refused. Keys and address come from the variables
that boto3 and MLflow read, such as ``AWS_ACCESS_KEY_ID`` and ``AWS_ENDPOINT_URL_S3``.
"""

import contextlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

#: By the rules of Amazon, with the capitals and underscores that others and old buckets have.
_ADDRESS = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,254})(?:/(.*))?", re.DOTALL)
_CHUNK = 1024 * 1024
#: Seconds to connect, and between two pieces of an answer.
_CONNECT, _READ, _ATTEMPTS = 5, 30, 2
INSTALL = "boto3 is not installed; install it with: pip install 'model-deployment[storage]'"


class NoObject(Exception):
    """The object is missing, not ours to read, or too large. Trying again does not help."""


@dataclass(frozen=True, slots=True)
class S3Object:
    """One object, or a prefix of objects, which ends with a slash or is empty."""

    bucket: str
    key: str

    @property
    def suffix(self) -> str:
        """With its dot; empty if there is none."""
        return PurePosixPath(self.key).suffix

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def read_address(text: str) -> S3Object | None:
    """The object of an address ``s3://bucket/key``; None for anything else."""
    found = _ADDRESS.fullmatch(text)
    if found is None or not found[2]:
        return None
    parts = found[2].split("/")
    if any(part in ("", ".", "..") for part in parts) or not found[2].isprintable():
        return None
    return S3Object(found[1], found[2])


def read_prefix(text: str) -> S3Object | None:
    """The prefix of an address ``s3://bucket/folder/``, with or without the last slash."""
    bucket, _, folder = text.removeprefix("s3://").rstrip("/").partition("/")
    if not folder:
        return S3Object(bucket, "") if _ADDRESS.fullmatch(f"s3://{bucket}") else None
    whole = read_address(f"s3://{bucket}/{folder}")
    return S3Object(bucket, f"{folder}/") if whole else None


def is_under(one: S3Object, prefixes: Sequence[S3Object]) -> bool:
    """Whether one of the prefixes contains the object."""
    return any(one.bucket == it.bucket and one.key.startswith(it.key) for it in prefixes)


def can_read() -> bool:
    """Whether boto3, which is no dependency of its own, is installed."""
    return importlib.util.find_spec("boto3") is not None


def copy(one: S3Object, target: Path, max_bytes: int) -> None:
    """Copy an object into a new file.

    Raises:
        NoObject: the store refuses the object, or it is larger than ``max_bytes``.
        OSError: the store does not answer, or the disk fails.
    """
    if not can_read():
        raise NoObject(f"cannot read {one}: {INSTALL}")
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        answer = _client().get_object(Bucket=one.bucket, Key=one.key)
        with contextlib.closing(answer["Body"]) as body, target.open("xb") as file:
            if answer["ContentLength"] > max_bytes:
                raise NoObject(f"{one} is larger than {max_bytes} bytes")
            for chunk in body.iter_chunks(_CHUNK):
                if file.tell() + len(chunk) > max_bytes:
                    raise NoObject(f"{one} is larger than {max_bytes} bytes")
                file.write(chunk)
    except NoCredentialsError:
        raise NoObject(
            f"cannot read {one}: there are no keys for it; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY for the controller"
        ) from None
    except ClientError as error:
        said = f"{one}: the store says {error.response.get('Error', {}).get('Code', error)}"
        if 400 <= error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) < 500:
            raise NoObject(said) from None
        raise OSError(said) from error
    except BotoCoreError as error:
        raise OSError(f"{one}: {error}") from error


def _client() -> Any:
    import boto3
    from botocore.config import Config
    from mlflow.environment_variables import MLFLOW_S3_ENDPOINT_URL

    return boto3.session.Session().client(
        "s3",
        endpoint_url=MLFLOW_S3_ENDPOINT_URL.get(),
        config=Config(
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            retries={"total_max_attempts": _ATTEMPTS},
        ),
    )
