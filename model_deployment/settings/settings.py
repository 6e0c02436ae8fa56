"""Every setting but the defaults of deploy options: type, default, limits, meaning."""

import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from model_deployment.alerts.formats import WebhookFormat
from model_deployment.core.actions import Policy
from model_deployment.core.options import EnvManager, Options
from model_deployment.settings import machine_defaults, model_environment
from model_deployment.settings.deploy_defaults import DeployDefaults
from model_deployment.settings.launch_settings import LaunchSettings
from model_deployment.settings.types import (
    COMMON_MODULES,
    Bytes,
    DataFolders,
    EndpointText,
    FlowsUrl,
    Hours,
    LogLevel,
    Modules,
    Names,
    PortRange,
    Seconds,
    WebhookUrl,
)


class Settings(LaunchSettings):
    """How the controller runs. Each field is ``MODEL_DEPLOYMENT_<NAME>`` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="MODEL_DEPLOYMENT_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    # -- the controller --
    data_dir: Path = Path("data")
    """Directory of the state, logs, cached artifacts, the default document store and the default
    registry."""
    host: str = "127.0.0.1"
    """Address that the controller listens on."""
    port: int = Field(8000, ge=0, le=65535)
    """Port that the controller listens on."""
    allowed_hosts: Names = ()
    """Host names that requests may carry in `Host`, `NAME,NAME`. `localhost` and IP addresses are
    always allowed."""
    trusted_proxies: str = "127.0.0.1"
    """Addresses of the gateways whose `X-Forwarded-Proto` and `X-Forwarded-For` are trusted,
    comma-separated."""
    credentials_dir: Path | None = None
    """Directory of `operators.htpasswd` and `callers.htpasswd`. Default: `credentials` in the data
    directory."""

    # -- model servers --
    ports: PortRange = (8001, 8100)
    """Range of ports for model servers, `first-last`."""
    port_quarantine: Seconds = Field(5.0, ge=0)
    """Seconds before a released port is used again."""
    preload: Modules = COMMON_MODULES
    """Modules that the warm parent imports before it forks model servers, `NAME,NAME`. A module that
    starts threads cannot be used."""
    model_env: Names = ()
    """Further environment variables that model servers get, `NAME,NAME`. With `MLFLOW_TRACKING_URI`
    among them, models reach the controller's MLflow server."""
    keep_models: bool = False
    """Leave model servers and proxies running when the controller stops: predictions go on."""
    start_timeout: Seconds = Field(120.0, gt=0)
    """Seconds within which a model server must become ready."""
    build_timeout: Seconds = Field(1800.0, gt=0)
    """Seconds that the build of an environment (`uv`, `virtualenv`, `conda`) or of an image (`container`)
    may take."""
    start_concurrency: int = Field(default_factory=machine_defaults.start_concurrency, ge=1)
    """Model servers that may start at the same time. Default: cores, at least 2."""
    tries: int = Field(5, ge=1)
    """Failed starts in a row after which the controller gives up."""
    probe_interval: Seconds = Field(5.0, gt=0)
    """Seconds between health checks of a ready model server."""
    probe_timeout: Seconds = Field(5.0, gt=0)
    """Seconds that a health check may take."""
    probe_failures: int = Field(3, ge=1)
    """Failed health checks in a row after which a model server is restarted."""
    drain_timeout: Seconds = Field(30.0, ge=0)
    """Seconds that requests in flight get to finish on undeploy."""
    stop_grace: Seconds = Field(5.0, ge=0)
    """Seconds between SIGTERM and SIGKILL of a model server."""

    # -- memory --
    memory_guess: Bytes = Field(500 * 1024 * 1024, ge=1)
    """Bytes of memory that a model served by `mlflow models serve` is expected to take, until it is
    measured."""
    memory_guess_fork: Bytes = Field(100 * 1024 * 1024, ge=1)
    """Bytes of memory that a forked model server is expected to take, until it is measured."""
    memory_margin: Bytes = Field(256 * 1024 * 1024, ge=0)
    """Bytes of memory that a deploy must leave free; otherwise it is refused with 507. 0 turns the
    check off."""

    # -- requests --
    proxies: int = Field(
        default_factory=machine_defaults.proxies, ge=0, le=machine_defaults.MOST_PROXIES
    )
    """Proxy processes that answer predictions. Default: half the cores, from 1 to 32. 0 has the
    controller's own process answer them, which then ends with it."""
    request_timeout: Seconds = Field(60.0, gt=0)
    """Seconds that a prediction, or each value of a stream, may take before it is answered 504."""
    recovery_timeout: Seconds = Field(30.0, ge=0)
    """Seconds that requests wait for a restarting model server. 0: answer 503 at once."""
    max_connections: int = Field(128, ge=1)
    """Requests that are sent to one model server at the same time; further requests wait."""
    max_queue: int = Field(1024, ge=0)
    """Requests that may wait for one model server; more are answered 429."""
    max_queue_bytes: Bytes = Field(256 * 1024 * 1024, ge=1)
    """Bytes of bodies that may wait for one model, at most half of `MAX_HELD_BYTES`; more are answered
    429."""
    max_body_bytes: Bytes = Field(10 * 1024 * 1024, ge=1)
    """Largest request body in bytes; larger bodies are answered 413."""
    max_held_bytes: Bytes = Field(default_factory=machine_defaults.held_bytes, ge=1)
    """Bytes of bodies and answers that are held for all callers at the same time, by all proxies and the
    controller; more are answered 429. Default: an eighth of the memory, from 32 MiB to 256 MiB."""
    body_timeout: Seconds = Field(60.0, gt=0)
    """Seconds that a whole body may take to arrive, and one more for each 64 KiB of it; a slower one is
    answered 408. It may pause for 30 s."""
    max_upload_bytes: Bytes = Field(1024 * 1024 * 1024, ge=1)
    """Largest file of training data in bytes; larger uploads are answered 413."""
    max_answer_bytes: Bytes = Field(100 * 1024 * 1024, ge=1)
    """Largest JSON answer of a model in bytes."""
    devices: int = Field(5000, ge=0)
    """Devices that may be connected by WebSocket at the same time; further ones are answered 503."""

    timeseries_endpoint: EndpointText = ""
    """Endpoint that `POST /predict_timeseries` asks, `<model>@<alias>`. Default: that of the project of
    flows (`timeseries_endpoint` in its `settings.yaml`)."""

    # -- captures and reports --
    documents_url: str = Field("", repr=False)
    """Document store of captures, metrics and reports: `mongodb://...`. Default: a file in the data
    directory."""
    spool_bytes: Bytes = Field(1024 * 1024 * 1024, ge=1024 * 1024)
    """Bytes of captures that may wait on the local disk for the document store; further captures are
    dropped."""
    spool_hours: Hours = Field(72.0, gt=0)
    """Hours that captures may wait for the document store; older ones are dropped."""
    report_every: Seconds = Field(86400.0, ge=0)
    """Seconds between two reports of a deployment that has been asked since, and has a reference; 0
    turns scheduled reports off."""
    report_window: Seconds = Field(7 * 86400.0, gt=0)
    """Seconds that a scheduled report covers, counted back from now."""
    webhook_url: WebhookUrl = Field("", repr=False)
    """Address that gets a POST when a deployment fails or recovers, when the verdict of a report
    becomes worse or good again, when callers begin to send many requests that do not fit the model,
    and when a rollout ends."""
    webhook_format: WebhookFormat = WebhookFormat.JSON
    """What it gets: `json` (all that is known), `slack` (a text, also for Mattermost), or
    `alertmanager` (alerts for `/api/v2/alerts`)."""
    webhook_private: bool = False
    """Allow a webhook on this machine or in a private network."""

    # -- the registry --
    mlflow_tracking_uri: str = Field(
        "", validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "mlflow_tracking_uri")
    )
    """MLflow tracking server. Default: an SQLite database in the data directory."""
    mlflow_registry_uri: str = Field(
        "", validation_alias=AliasChoices("MLFLOW_REGISTRY_URI", "mlflow_registry_uri")
    )
    """MLflow registry. Default: the tracking server."""
    registry_timeout: Seconds = Field(15.0, gt=0)
    """Seconds that the MLflow registry may take to answer."""
    download_timeout: Seconds = Field(1800.0, gt=0)
    """Seconds that the download of one model version may take."""
    training_data: DataFolders = ()
    """Folders, and prefixes `s3://BUCKET/PREFIX/`, from which logged data sets may be read,
    comma-separated. Default: only artifacts of the run are read."""
    keep_uploads: int = Field(0, ge=0)
    """Uploaded versions of training data that are kept of each experiment; older ones are deleted,
    unless a registered model was trained on them or a run uses them. 0 keeps all."""
    metrics_to_mlflow: bool = True
    """Write metrics sent to `set_new_metrics`, and what became of rollouts, to MLflow as well."""
    alias_poll: Seconds = Field(5.0, ge=0.5)
    """Seconds between looks at the aliases that endpoints follow."""
    mlflow_webhook_secret: SecretStr = SecretStr("")
    """Secret that MLflow signs its calls of `POST /mlflow/webhook` with. Default: such calls are
    refused."""

    # -- flows --
    flows_project: Path | None = None
    """Folder of the project of flows, as `model-deployment flows init` writes one. Default: there are no
    flows."""
    flows_python: Path | None = None
    """Python of the flows' environment. Default: `.venv-flows/bin/python` beside the controller's own
    environment."""
    flows_api_url: FlowsUrl = ""
    """API of a Prefect server that others run: `http://HOST:PORT/api`. Default: the controller starts the
    service of flows when something has to run."""
    flows_api_auth: SecretStr = SecretStr("")
    """User and password of that server, `USER:PASSWORD`."""
    flows_idle_timeout: Seconds = Field(900.0, ge=10)
    """Seconds without a run after which the service of flows ends."""
    flows_priority: Literal["idle", "low", "normal"] = "idle"
    """Processor time of a run: `idle`, only what nobody else wants; `low`, a tenth (nice 10), for a machine
    that is never idle; `normal`."""

    # -- the log --
    log_level: LogLevel = "INFO"
    """`DEBUG`, `INFO`, `WARNING` or `ERROR`."""
    log_format: Literal["auto", "text", "json"] = "auto"
    """`text`, `json` (one object a line), or `auto`: text on a terminal, else JSON."""
    log_max_bytes: Bytes = Field(50 * 1024 * 1024, ge=4096)
    """Largest log of a model, in bytes; a larger log is cut."""

    # -- the command line --
    url: str = ""
    """Address of the controller that the command line calls. Default: `HOST` and `PORT`."""
    user: str = ""
    """User name that the command line sends."""
    password: SecretStr = SecretStr("")
    """Password that the command line sends."""

    @field_validator("data_dir", "credentials_dir", "flows_project", "flows_python")
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
        return self.url or self.own_url

    @property
    def own_url(self) -> str:
        # Brackets keep the colons of an IPv6 address apart from that of the port.
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def on_loopback(self) -> bool:
        """Whether only programs of this machine can reach the controller."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def credentials(self) -> Path:
        return self.credentials_dir or self.data_dir / "credentials"

    @property
    def keep_proxies(self) -> bool:
        """Whether predictions go on when the controller stops."""
        return self.keep_models and self.proxies > 0

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the controller that requests may carry in ``Host``."""
        return (*self.allowed_hosts, self.host)

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_tracking_uri or f"sqlite:///{self.data_dir / 'mlflow' / 'mlflow.db'}"

    @property
    def registry_uri(self) -> str:
        return self.mlflow_registry_uri or self.tracking_uri

    @property
    def owns_registry(self) -> bool:
        """Whether the registry is the default one, in the data directory."""
        return not (self.mlflow_tracking_uri or self.mlflow_registry_uri)

    @property
    def flows_dir(self) -> Path:
        return self.data_dir / "flows"

    @property
    def python_of_flows(self) -> Path:
        # The environment's own, though it may be a link to the system's Python.
        beside = Path(sys.prefix).parent / ".venv-flows" / "bin" / "python"
        return self.flows_python or beside

    @property
    def options(self) -> Options:
        """The options of a deploy that names none."""
        return Options(**{name: getattr(self, name) for name in DeployDefaults.model_fields})

    @property
    def documents(self) -> str:
        """The URL of the document store."""
        return self.documents_url or f"sqlite:{self.data_dir / 'documents.db'}"

    @property
    def policy(self) -> Policy:
        """The limits that the state machine applies."""
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
        """The environment of a model process: few variables, and no credentials of the controller."""
        # The URIs in force, even if they are the defaults.
        ours = {"MLFLOW_TRACKING_URI": self.tracking_uri, "MLFLOW_REGISTRY_URI": self.registry_uri}
        granted = {name: uri for name, uri in ours.items() if name in self.model_env}
        return granted | model_environment.for_model(env_manager, self.model_env)

    @property
    def companion_environment(self) -> dict[str, str]:
        """The environment of our own processes beside the controller: without credentials."""
        return model_environment.for_model(EnvManager.LOCAL, ())
