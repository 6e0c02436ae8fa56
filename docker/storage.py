"""The storage profile of docker-compose.yml: its keys, its databases, and the programs that use them.

``storage.py keys``     makes passwords and keys once, in ``/storage-keys`` and ``/prefect-key``.
``storage.py prepare``  makes the databases, their users and the bucket, where they are missing.
``storage.py copy-out FOLDER``, ``storage.py copy-in FOLDER``  copy all artifacts to a folder, and back.
``storage.py run mlflow|prefect PROGRAM …``  becomes a program with the address of its database (for
                        MLflow that of the bucket, too) in its environment; unchanged without the profile.

A profile that is chosen on the command line alone (``--profile storage``) would leave MLflow with its file.
So the profile counts only where ``COMPOSE_PROFILES`` names it.
"""

import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

#: Seconds to wait for PostgreSQL and the bucket. A health check allows as long.
PATIENCE = float(os.environ.get("STORAGE_PATIENCE", "60"))
KEYS = Path(os.environ.get("STORAGE_KEYS", "/storage-keys"))
#: Of a volume of its own: runs of flows, which are code of users, can read it.
PREFECT_KEY = Path(os.environ.get("STORAGE_PREFECT_KEY", "/prefect-key"))
POSTGRESQL = os.environ.get("STORAGE_POSTGRESQL", "postgresql:5432")
S3 = os.environ.get("STORAGE_S3", "http://seaweedfs:8333")
#: Key of an object that is written to see whether the store takes any.
_PROBE = ".probe"
#: One bucket, for the artifacts of MLflow.
BUCKET = "mlflow"
#: Each has a database and a user of its name.
DATABASES = ("mlflow", "prefect")
#: Made last: whoever finds it finds all others.
S3_CONFIG = "s3.json"


class CannotStart(Exception):
    """What is wrong, and what helps."""


def chosen() -> bool:
    """Whether this project uses the profile."""
    return "storage" in os.environ.get("PROFILES", "").split(",")


def make_keys() -> None:
    """Make what is missing; a file that exists is kept."""
    if not chosen():
        raise CannotStart(
            "cannot start the profile storage: COMPOSE_PROFILES does not name it, so MLflow would go on "
            "with its file. Write COMPOSE_PROFILES=storage into .env, with the other profiles that you "
            "use, and leave --profile away"
        )
    os.umask(0o027)
    for name in ("postgres", *DATABASES):
        _write_once(_password_file(name), secrets.token_hex(32))
    _write_once(KEYS / "s3.key", secrets.token_hex(10) + "\n" + secrets.token_hex(32))
    access, secret = _s3_key()
    identity = {
        "name": "mlflow",
        "credentials": [{"accessKey": access, "secretKey": secret}],
        # "Admin" only for its own bucket, which it has to make.
        "actions": [
            f"{action}:{BUCKET}" for action in ("Admin", "Read", "List", "Tagging", "Write")
        ],
    }
    _write_once(KEYS / S3_CONFIG, json.dumps({"identities": [identity]}))


def _write_once(path: Path, content: str) -> None:
    if not path.exists():
        unfinished = path.with_name(path.name + ".new")
        unfinished.write_text(content)
        unfinished.rename(path)


def _password_file(name: str) -> Path:
    return (PREFECT_KEY if name == "prefect" else KEYS) / f"{name}.password"


def _password(name: str) -> str:
    return _password_file(name).read_text()


def _s3_key() -> list[str]:
    return (KEYS / "s3.key").read_text().split("\n")


def prepare() -> None:
    """Make databases, users and bucket where they are missing, and set the users' passwords."""
    import psycopg2
    from psycopg2 import sql

    connection = _patiently("PostgreSQL", lambda: _connect("postgres", "postgres"))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for name in DATABASES:
                user, password = sql.Identifier(name), sql.Literal(_password(name))
                for statement, there in (
                    ("CREATE ROLE {} LOGIN", psycopg2.errors.DuplicateObject),
                    ("CREATE DATABASE {0} OWNER {0}", psycopg2.errors.DuplicateDatabase),
                ):
                    with contextlib.suppress(there):
                        cursor.execute(sql.SQL(statement).format(user))
                cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(user, password))
                cursor.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(user))
    finally:
        connection.close()
    _patiently("the S3 store", _make_bucket)


def _connect(user: str, database: str) -> Any:
    import psycopg2

    host, _, port = POSTGRESQL.partition(":")
    return psycopg2.connect(
        host=host,
        port=port,
        user=user,
        password=_password(user),
        dbname=database,
        connect_timeout=5,
    )


def _s3_client() -> Any:
    import boto3
    from botocore.config import Config

    access, secret = _s3_key()
    return boto3.client(
        "s3",
        endpoint_url=S3,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1}),
    )


def _make_bucket() -> None:
    client = _s3_client()
    try:
        client.head_bucket(Bucket=BUCKET)
    except client.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        client.create_bucket(Bucket=BUCKET)
    # A store that has just started answers before it takes objects.
    client.put_object(Bucket=BUCKET, Key=_PROBE, Body=b"")
    client.delete_object(Bucket=BUCKET, Key=_PROBE)


def run(name: str, command: list[str]) -> NoReturn:
    """Become the program, as soon as what it needs answers."""
    if chosen():
        connection = _patiently(f"the database {name} of PostgreSQL", lambda: _connect(name, name))
        try:
            if command[:2] == ["mlflow", "server"]:
                _refuse_to_forget(connection)
        finally:
            connection.close()
        if name == "mlflow":
            _patiently(
                "the bucket of the S3 store", lambda: _s3_client().head_bucket(Bucket=BUCKET)
            )
        os.environ.update(variables(name))
    os.execvp(command[0], command)  # noqa: S606 - the compose file's own command


def _refuse_to_forget(connection: Any) -> None:
    """A registry that is in a file must not seem to be empty."""
    file = Path(os.environ.get("MLFLOW_BACKEND_STORE_URI", "").removeprefix("sqlite:///"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('alembic_version')")
        if file.is_file() and cursor.fetchone() == (None,):
            raise CannotStart(
                f"cannot start MLflow with the profile storage: there is a registry in {file}, and none in "
                "PostgreSQL. Move it (docs/storage.md), or rename the file to begin with an empty registry"
            )


def variables(name: str) -> dict[str, str]:
    """The environment of MLflow's server, or of Prefect's."""
    if name == "prefect":
        address = f"postgresql+asyncpg://prefect:{_password('prefect')}@{POSTGRESQL}/prefect"
        return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": address}
    access, secret = _s3_key()
    return {
        # "postgresql://" would be psycopg 3, with which MLflow does not work.
        "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://mlflow:{_password('mlflow')}@{POSTGRESQL}/mlflow",
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKET}/",
        "MLFLOW_S3_ENDPOINT_URL": S3,
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        # Newer clients send checksums that not every store knows.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    }


def copy_out(folder: Path) -> int:
    """Copy all objects of the bucket into a new folder; how many."""
    folder.mkdir()
    number, client = 0, _s3_client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for one in page.get("Contents", ()):
            number += 1
            path = folder / one["Key"]
            if not path.resolve().is_relative_to(folder.resolve()):
                raise CannotStart(f"cannot copy {one['Key']!r}: its name leads out of the folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(BUCKET, one["Key"], str(path))
    return number


def copy_in(folder: Path) -> int:
    """Copy all files of a folder into the bucket; how many."""
    client = _s3_client()
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        client.upload_file(str(path), BUCKET, path.relative_to(folder).as_posix())
    return len(files)


def _patiently(what: str, ask: Callable[[], Any]) -> Any:
    """The answer of a service that may be starting."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except FileNotFoundError as error:
            why = f"there is no {error.filename}"
        except Exception as error:  # both libraries have many
            why = str(error).strip().partition("\n")[0] or type(error).__name__
        if time.monotonic() > deadline:
            raise CannotStart(
                f"cannot reach {what} within {PATIENCE:g} s: {why}. Are the services of the profile "
                "storage running? docker compose up -d starts them where COMPOSE_PROFILES names it"
            )
        time.sleep(0.5)


def main(arguments: list[str]) -> None:
    match arguments:
        case ["keys"]:
            make_keys()
        case ["prepare"]:
            prepare()
        case ["copy-out", folder]:
            print(f"copied {copy_out(Path(folder))} files to {folder}")
        case ["copy-in", folder]:
            print(f"copied {copy_in(Path(folder))} files from {folder}")
        case ["run", ("mlflow" | "prefect") as name, _, *_]:
            run(name, arguments[2:])
        case _:
            raise CannotStart(
                f"cannot use {arguments}: write keys, prepare, copy-out FOLDER, "
                "copy-in FOLDER, or run mlflow PROGRAM"
            )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CannotStart as error:
        sys.exit(f"error: {error}")
