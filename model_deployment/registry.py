"""The MLflow registry; the controller's only importer of mlflow.

MLflow's client blocks, retries for minutes and has no deadline over all. So each call runs on a daemon
thread of its own and the caller waits for a limited time; a thread that hangs is left behind. Downloads,
which may take half an hour, have slots of their own: a look-up never waits for one. MLflow is imported
with the first call, so that a controller that was killed serves again at once.
"""

import asyncio
import logging
import re
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from model_deployment import logs
from model_deployment.errors import ModelDeploymentError, RegistryUnavailable, UnknownModel
from model_deployment.names import ModelKey
from model_deployment.registered import (
    RegisteredModel,
    RegisteredVersion,
    read_model,
    read_version,
)
from model_deployment.threads import DaemonThreads, in_time

T = TypeVar("T")
_log = logging.getLogger(__name__)

#: Calls under way at once, the hung ones included.
_LOOKUPS = 8
_DOWNLOADS = 4
#: Of one list of versions: calls for metrics at once, and the part of the time they may end in.
_METRICS_THREADS, _METRICS_PART = 8, 0.8
#: MLflow's codes for "there is none".
_ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_PARAMETER_VALUE"})


class Registry:
    """Reads registered models, and downloads their artifacts."""

    def __init__(
        self,
        *,
        tracking_uri: str,
        registry_uri: str,
        timeout: float,
        download_timeout: float,
        own: bool = False,
    ) -> None:
        """``own``: a database in the data directory, created when it is missing."""
        self._own = own
        self._tracking_uri = tracking_uri
        self._registry_uri = registry_uri
        self._timeout = timeout
        self._download_timeout = download_timeout
        self._lookups = DaemonThreads("registry", _LOOKUPS)
        self._downloads = DaemonThreads("download", _DOWNLOADS)
        self._client: Any = None
        self._client_lock = threading.Lock()

    async def models(self) -> list[RegisteredModel]:
        """Every registered model.

        Raises:
            RegistryUnavailable: it did not answer in time.
        """
        return await self._call("list the registered models", self._models)

    async def versions(self, name: str) -> list[RegisteredVersion]:
        """The versions of a model, newest first, with the metrics of their runs.

        Metrics take one call for each version. Those that do not come in time, or fail, are left out:
        what can be deployed is worth more than how good it is.

        Raises:
            UnknownModel: there is no such model.
            RegistryUnavailable: it did not answer in time.
        """
        end = time.monotonic() + _METRICS_PART * self._timeout
        return await self._call(f"list the versions of {name}", lambda: self._versions(name, end))

    async def version(self, key: ModelKey) -> RegisteredVersion:
        """One version.

        Raises:
            UnknownModel: there is no such version.
            RegistryUnavailable: it did not answer in time.
        """
        return await self._call(f"look up {key}", lambda: self._version(key))

    async def download(self, key: ModelKey, destination: Path) -> Path:
        """Download the artifacts of a version below ``destination``, which is made.

        A download that nobody waits for any more cannot be stopped. It removes ``destination`` when it
        ends, since until then it may make it anew.

        Raises:
            UnknownModel: there is no such version.
            RegistryUnavailable: they could not be had, or not in time.
        """

        def work() -> Path:
            self._open_client()
            from mlflow import artifacts

            destination.mkdir(parents=True)
            found = artifacts.download_artifacts(
                artifact_uri=f"models:/{key.model}/{key.version}",
                dst_path=str(destination),
                tracking_uri=self._tracking_uri,
                registry_uri=self._registry_uri,
            )
            return Path(found)

        def clear() -> None:
            shutil.rmtree(destination, ignore_errors=True)

        return await self._limited(
            f"download {key}",
            self._download_timeout,
            lambda: self._downloads.run(work, late=clear),
        )

    async def ask(
        self,
        what: str,
        work: Callable[[Any], T],
        *,
        threads: DaemonThreads | None = None,
        limit: float | None = None,
        late: Callable[[], None] = lambda: None,
    ) -> T:
        """Make calls of another kind: ``work`` is given MLflow's client, on a thread.

        Args:
            what: it does, for messages: they begin with "cannot" and this.
            threads: whose slots to use; those of look-ups if None.
            limit: seconds it may take; what a look-up may take if None.
            late: called on the thread when ``work`` ends and nobody waits for it any more.

        Raises:
            UnknownModel: the registry has none of what was asked for.
            RegistryUnavailable: it did not answer in time.
        """
        crew = threads or self._lookups
        limit = self._timeout if limit is None else limit
        call = partial(crew.run, lambda: work(self._open_client()), late)
        return await self._limited(what, limit, call)

    async def warm_up(self) -> None:
        """Import MLflow and connect ahead of the first call; failures show with that call."""
        try:
            await self._call("connect", self._open_client)
        except ModelDeploymentError as error:
            _log.warning("%s", error.detail)

    def _open_client(self) -> Any:
        with self._client_lock:
            if self._client is None:
                _import_mlflow()
                if self._own:
                    create_database(self._registry_uri)
                self._client = _connect(self._tracking_uri, self._registry_uri, self._timeout)
            return self._client

    def _models(self) -> list[RegisteredModel]:
        client = self._open_client()
        models: list[RegisteredModel] = []
        token = None
        while True:
            page = client.search_registered_models(max_results=1000, page_token=token)
            models += [read_model(model) for model in page]
            token = page.token
            if not token:
                return models

    def _versions(self, name: str, end: float) -> list[RegisteredVersion]:
        client = self._open_client()
        aliases = client.get_registered_model(name).aliases
        versions: list[Any] = []
        token = None
        while True:
            page = client.search_model_versions(
                f"name='{name}'", max_results=1000, page_token=token
            )
            versions += page
            token = page.token
            if not token:
                break
        versions.sort(key=lambda version: -int(version.version))
        metrics = in_time(partial(_metrics, client), versions, threads=_METRICS_THREADS, end=end)
        if missing := metrics.count(None):
            _log.warning("no metrics of %s of %s versions of %s", missing, len(versions), name)
        return [
            read_version(version, aliases, found or {})
            for version, found in zip(versions, metrics, strict=True)
        ]

    def _version(self, key: ModelKey) -> RegisteredVersion:
        client = self._open_client()
        return read_version(client.get_model_version(key.model, str(key.version)), {}, {})

    async def _call(self, what: str, work: Callable[[], T]) -> T:
        return await self._limited(what, self._timeout, lambda: self._lookups.run(work))

    async def _limited(self, what: str, limit: float, call: Callable[[], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(limit):
                return await call()
        except TimeoutError:
            raise RegistryUnavailable(
                f"cannot {what}: no answer from the MLflow registry at {self._name} within {limit:g} s",
                retry_after=10,
            ) from None
        except ModelDeploymentError:
            raise
        except Exception as error:
            raise _translate(what, error, self._name) from error

    @property
    def _name(self) -> str:
        return _redact(self._registry_uri)


def is_absent(error: Exception) -> bool:
    """Whether MLflow's error says that there is none of what was asked for."""
    return getattr(error, "error_code", "") in _ABSENT


def create_database(uri: str) -> None:
    """Bring a new SQLite registry into being in one piece.

    MLflow makes its tables in dozens of steps; a file in which it was killed half way is of no use
    to it ever after.
    """
    from mlflow import MlflowClient

    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=path.parent) as folder:
        draft, whole = Path(folder) / "draft.db", Path(folder) / "whole.db"
        MlflowClient(f"sqlite:///{draft}").search_registered_models(max_results=1)
        with closing(sqlite3.connect(draft)) as connection:
            # A copy, since MLflow keeps the draft open.
            connection.execute("VACUUM INTO ?", (str(whole),))
        # A link, unlike a rename, never replaces what another process made in the meantime.
        with suppress(FileExistsError):
            path.hardlink_to(whole)


def _import_mlflow() -> None:
    """With a log that is written as ours is: it gives its loggers handlers of their own."""
    import mlflow  # noqa: F401 - it is the import that counts

    logs.adopt("mlflow", "alembic", "huey")


def _connect(tracking_uri: str, registry_uri: str, timeout: float) -> Any:
    import mlflow
    from mlflow import environment_variables as variables

    def default(variable: Any, value: Any) -> None:
        if not variable.is_set():
            variable.set(value)

    # MLflow's own defaults are 120 s and 7 tries: 249 s until a dead registry is called dead.
    default(variables.MLFLOW_HTTP_REQUEST_TIMEOUT, max(1, int(timeout * 0.6)))
    default(variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES, 1)
    default(variables.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, False)
    # The process-wide ones too: a database registry resolves models:/<id> with those.
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(registry_uri)
    return mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=registry_uri)


def _metrics(client: Any, version: Any) -> dict[str, float]:
    """The metrics of the run, or of the logged model; a deleted run is no reason to fail."""
    try:
        if version.run_id:
            return dict(client.get_run(version.run_id).data.metrics)
        if version.model_id:
            logged = client.get_logged_model(version.model_id)
            return {metric.key: metric.value for metric in logged.metrics or []}
    except Exception as error:
        if getattr(error, "error_code", "") not in _ABSENT:
            raise
    return {}


def _translate(what: str, error: Exception, registry: str) -> ModelDeploymentError:
    code = getattr(error, "error_code", "")
    first_line = _redact(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))
    if code in _ABSENT:
        return UnknownModel(f"cannot {what}: the registry says: {first_line[:300]}")
    _log.warning("registry call failed: %s: %s", what, first_line)
    return RegistryUnavailable(
        f"cannot {what}: the MLflow registry at {registry} failed: {first_line[:300]}",
        retry_after=10,
    )


def _redact(text: str) -> str:
    """Without the user, the password and the signed query a URL may carry."""
    return re.sub(r"(://[^\s?]*)\?\S+", r"\1?...", re.sub(r"//\S*@", "//", text))
