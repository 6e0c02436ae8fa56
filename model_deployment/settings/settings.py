"""Every setting: its kind, its default, its limits, its meaning."""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from model_deployment.core.actions import Policy
from model_deployment.core.options import MAX_CAPTURE_BYTES, EnvManager, Options, StartMethod
from model_deployment.settings import model_environment
from model_deployment.settings.types import (
    COMMON_MODULES,
    Bytes,
    DataFolders,
    Days,
    Hours,
    LogLevel,
    Modules,
    Names,
    PortRange,
    Seconds,
    WebhookUrl,
)


class Settings(BaseSettings):
    """How the controller runs. Each field is ``MODEL_DEPLOYMENT_<NAME>`` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="MODEL_DEPLOYMENT_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        allow_inf_nan=False,
    )

    data_dir: Path = Field(
        Path("data"),
        description="State, logs, cached artifacts and the default registry live here.",
    )
    host: str = Field("127.0.0.1", description="Address the controller listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port the controller listens on.")
    ports: PortRange = Field(
        (8001, 8100), description="Range of ports for model servers, `first-last`."
    )
    credentials_dir: Path | None = Field(
        None,
        description="Folder of `operators.htpasswd` and `callers.htpasswd`. Default: `credentials` in the "
        "data directory.",
    )
    allowed_hosts: Names = Field(
        (),
        description="Names under which the controller is called (`Host`), `NAME,NAME`, besides `localhost` "
        "and addresses.",
    )
    trusted_proxies: str = Field(
        "127.0.0.1",
        description="Addresses whose `X-Forwarded-Proto` and `X-Forwarded-For` are believed, "
        "comma-separated: those of the gateway.",
    )
    env_manager: EnvManager = Field(
        EnvManager.LOCAL,
        description="Default `--env-manager` of model servers: `local`, `uv`, `virtualenv`, `conda`.",
    )
    start_method: StartMethod = Field(
        StartMethod.AUTO,
        description="How model servers are started: `forkserver` forks them from a process that has "
        "imported MLflow, `serve` runs `mlflow models serve`, `auto` forks where that is possible.",
    )
    preload: Modules = Field(
        COMMON_MODULES,
        description="Modules that are imported before forking, `NAME,NAME`; not those that start threads.",
    )
    start_timeout: Seconds = Field(
        120.0, gt=0, description="Seconds a model server may take to become ready."
    )
    idle_timeout: Seconds = Field(
        0.0,
        ge=0,
        description="Seconds without a request after which a model is parked, unless chosen; 0 is off.",
    )
    build_timeout: Seconds = Field(
        1800.0, gt=0, description="The same where an environment is built first (`uv`, ...)."
    )
    drain_timeout: Seconds = Field(
        30.0, ge=0, description="Seconds that requests in flight may take to finish on undeploy."
    )
    stop_grace: Seconds = Field(
        5.0, ge=0, description="Seconds between SIGTERM and SIGKILL of a model server."
    )
    request_timeout: Seconds = Field(
        60.0, gt=0, description="Seconds a prediction may take before it is answered 504."
    )
    probe_interval: Seconds = Field(
        5.0, gt=0, description="Seconds between health checks of a ready model server."
    )
    probe_timeout: Seconds = Field(5.0, gt=0, description="Seconds a health check may take.")
    probe_failures: int = Field(
        3, ge=1, description="Failed health checks in a row that mean: restart it."
    )
    tries: int = Field(5, ge=1, description="Starts that may fail in a row before giving up.")
    start_concurrency: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 2),
        ge=1,
        description="Model servers that may be starting at once (default: cores, at least 2).",
    )
    memory_guess: Bytes = Field(
        500 * 1024 * 1024,
        ge=1,
        description="Bytes that an `mlflow models serve` is expected to take before it was measured.",
    )
    memory_guess_fork: Bytes = Field(
        100 * 1024 * 1024, ge=1, description="The same of a forked process."
    )
    memory_margin: Bytes = Field(
        256 * 1024 * 1024,
        ge=0,
        description="Bytes of memory that a deploy has to leave free, or it is refused with 507; 0 leaves "
        "memory out of it.",
    )
    port_quarantine: Seconds = Field(
        5.0, ge=0, description="Seconds before a released port is used again."
    )
    max_body_bytes: Bytes = Field(
        10 * 1024 * 1024, ge=1, description="Largest request body, in bytes; more is answered 413."
    )
    max_connections: int = Field(
        128, ge=1, description="Calls of one model server at a time; more requests wait."
    )
    max_queue: int = Field(
        1024,
        ge=0,
        description="Requests that may wait for one model; more are answered 429.",
    )
    max_queue_bytes: Bytes = Field(
        256 * 1024 * 1024,
        ge=1,
        description="Bytes of the bodies that may wait for one model; more are answered 429.",
    )
    recovery_timeout: Seconds = Field(
        30.0,
        ge=0,
        description="Seconds that requests wait for a model that has ended and is started again; 0 answers "
        "503 at once.",
    )
    max_answer_bytes: Bytes = Field(
        100 * 1024 * 1024, ge=1, description="Largest JSON answer of a model, in bytes."
    )
    documents_url: str = Field(
        "",
        repr=False,
        description="Where captures, metrics and reports are kept: `mongodb://...`. "
        "Default: a file in the data directory.",
    )
    capture_rate: float = Field(
        1.0, ge=0, le=1, description="Share of answered requests that are captured, unless chosen."
    )
    capture_exclude: Names = Field(
        (), description="Columns that are not captured, `NAME,NAME`, unless chosen at deploy."
    )
    capture_hash: Names = Field(
        (), description="Columns of which only digests are kept, unless chosen at deploy."
    )
    retention_days: Days = Field(
        30.0, gt=0, description="Days that captures are kept, unless chosen at deploy."
    )
    max_capture_bytes: Bytes = Field(
        1024 * 1024,
        ge=0,
        le=MAX_CAPTURE_BYTES,
        description="Requests that are larger, in bytes with their answers, are recorded without their "
        "content; may be chosen at deploy.",
    )
    spool_bytes: Bytes = Field(
        1024 * 1024 * 1024,
        ge=1024 * 1024,
        description="Captures that may wait on the local disk for the store, in bytes.",
    )
    spool_hours: Hours = Field(
        72.0, gt=0, description="Hours they may wait; older ones are dropped, and counted."
    )
    report_every: Seconds = Field(
        0.0,
        ge=0,
        description="Seconds from one degradation report of each deployment to the next; 0 makes none.",
    )
    report_window: Seconds = Field(
        7 * 86400.0, gt=0, description="Seconds that a scheduled report looks back."
    )
    webhook_url: WebhookUrl = Field(
        "",
        repr=False,
        description="Called with a POST when a report's verdict becomes worse, or callers "
        "begin to send many wrong requests.",
    )
    webhook_private: bool = Field(
        False, description="Whether the webhook may be on this machine or in a private network."
    )
    metrics_to_mlflow: bool = Field(
        True, description="Write metrics that are set back to MLflow as well."
    )
    training_data: DataFolders = Field(
        (),
        description="Folders that the local file of a logged data set may be read from, comma-separated. "
        "Default: only artifacts of the run.",
    )
    registry_timeout: Seconds = Field(
        15.0, gt=0, description="Seconds to wait for the MLflow registry before refusing."
    )
    download_timeout: Seconds = Field(
        1800.0, gt=0, description="Seconds the download of one model version may take."
    )
    keep_models: bool = Field(
        False, description="Leave model servers running when the controller is told to stop."
    )
    model_env: Names = Field(
        (),
        description="Further environment variables handed to model servers, `NAME,NAME`. With "
        "`MLFLOW_TRACKING_URI` among them, models reach the controller's MLflow server.",
    )
    log_level: LogLevel = Field("INFO", description="`DEBUG`, `INFO`, `WARNING` or `ERROR`.")
    log_format: Literal["auto", "text", "json"] = Field(
        "auto",
        description="`text`, `json` (an object on each line), or `auto`: text on a terminal.",
    )
    log_max_bytes: Bytes = Field(
        50 * 1024 * 1024, ge=4096, description="A model's log is cut when it grows beyond this."
    )
    url: str = Field(
        "",
        description="Where the command line finds the controller. Default: the address it listens on.",
    )
    user: str = Field("", description="Who the command line is, where passwords are needed.")
    password: SecretStr = Field(SecretStr(""), description="That user's password.")
    mlflow_tracking_uri: str = Field(
        "",
        validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "mlflow_tracking_uri"),
        description="As MLflow reads it. Default: an SQLite registry inside the data directory.",
    )
    mlflow_registry_uri: str = Field(
        "",
        validation_alias=AliasChoices("MLFLOW_REGISTRY_URI", "mlflow_registry_uri"),
        description="As MLflow reads it. Default: the tracking URI.",
    )

    @field_validator("data_dir", "credentials_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @model_validator(mode="after")
    def _own_port_apart(self) -> Self:
        first, last = self.ports
        if first <= self.port <= last:
            raise ValueError(
                f"the controller's own port {self.port} lies in the models' range {first}-{last} "
                "(MODEL_DEPLOYMENT_PORT, MODEL_DEPLOYMENT_PORTS)"
            )
        return self

    @property
    def client_url(self) -> str:
        """Where the command line finds the controller."""
        return self.url or self.own_url

    @property
    def own_url(self) -> str:
        """Where the controller listens. Colons of an IPv6 address are not that of the port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def on_loopback(self) -> bool:
        """Nobody but this machine's own programs can reach the controller."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def credentials(self) -> Path:
        """The folder of the users' files."""
        return self.credentials_dir or self.data_dir / "credentials"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names under which the controller is called."""
        return (*self.allowed_hosts, self.host)

    @property
    def tracking_uri(self) -> str:
        """Where runs and artifacts are looked up."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.data_dir / 'mlflow' / 'mlflow.db'}"

    @property
    def registry_uri(self) -> str:
        """Where registered models are looked up."""
        return self.mlflow_registry_uri or self.tracking_uri

    @property
    def owns_registry(self) -> bool:
        """The registry is the default one, inside the data directory."""
        return not (self.mlflow_tracking_uri or self.mlflow_registry_uri)

    @property
    def options(self) -> Options:
        """What a deploy takes that chooses nothing."""
        return Options(
            env_manager=self.env_manager,
            start_method=self.start_method,
            capture_rate=self.capture_rate,
            capture_exclude=self.capture_exclude,
            capture_hash=self.capture_hash,
            max_capture_bytes=self.max_capture_bytes,
            retention_days=self.retention_days,
            idle_timeout=self.idle_timeout,
        )

    @property
    def documents(self) -> str:
        """Where captures, metrics and reports are kept."""
        return self.documents_url or f"sqlite:{self.data_dir / 'documents.db'}"

    @property
    def policy(self) -> Policy:
        """The figures the state machine goes by."""
        return Policy(
            start_timeout=self.start_timeout,
            build_timeout=self.build_timeout,
            drain_timeout=self.drain_timeout,
            stop_grace=self.stop_grace,
            request_timeout=self.request_timeout,
            probe_failures=self.probe_failures,
            tries=self.tries,
        )

    def model_environment(self, env_manager: EnvManager) -> dict[str, str]:
        """The environment of a model process: little, and no credentials of ours."""
        # Those in force, also where they are the defaults.
        ours = {"MLFLOW_TRACKING_URI": self.tracking_uri, "MLFLOW_REGISTRY_URI": self.registry_uri}
        granted = {name: uri for name, uri in ours.items() if name in self.model_env}
        return granted | model_environment.for_model(env_manager, self.model_env)
