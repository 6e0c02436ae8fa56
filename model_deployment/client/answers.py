"""Bodies and answers of the calls, as they stand in JSON; times are ISO 8601 text in UTC.

``make docs`` writes this file from OpenAPI; docs/reference/http.md says what each member means.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

BuildState = Literal["missing", "building", "ready", "failed"]
CapturedOn = Literal["servers", "devices"]
ChangeState = Literal["pending", "starting", "stopping", "retiring", "failed"]
Desired = Literal["running", "stopped"]
EnvManager = Literal["local", "uv", "virtualenv", "conda"]
FlowState = Literal[
    "requested",
    "scheduled",
    "pending",
    "running",
    "paused",
    "cancelling",
    "completed",
    "failed",
    "crashed",
    "cancelled",
]
Format = Literal["csv", "parquet", "jsonl"]
LaunchRole = Literal["serving", "coming", "retiring"]
LaunchState = Literal["pending", "starting", "ready", "stopping"]
LogLevel = Literal["debug", "info", "warning", "error"]
Order = Literal["advance", "pause", "promote", "roll_back"]
Outcome = Literal["passed", "failed", "inconclusive"]
Presence = Literal["never", "online", "offline", "revoked"]
ReleaseState = Literal[
    "preparing",
    "rolling",
    "paused",
    "complete",
    "stopped",
    "superseded",
    "failed",
]
RolloutKind = Literal["forward", "back"]
RolloutState = Literal[
    "deploying",
    "checking",
    "replaying",
    "shadowing",
    "canary",
    "promoted",
    "rolled_back",
    "superseded",
]
ServiceState = Literal["away", "starting", "ready", "stopping"]
Source = Literal["training", "captured", "devices"]
StartMethod = Literal["auto", "forkserver", "serve", "container"]
State = Literal["pending", "starting", "ready", "stopping", "parked", "stopped", "failed"]
Step = Literal["drain", "terminate", "kill"]
Strategy = Literal["beside", "recreate"]
UpdateState = Literal[
    "offered",
    "downloading",
    "verifying",
    "trying",
    "running",
    "failed",
    "refused",
]
Validation = Literal["strict", "coerce", "observe"]
VersionRole = Literal["champion", "candidate", "previous"]


class AbortIn(TypedDict):
    """When a release stops by itself."""

    failed: NotRequired[int]
    of: NotRequired[int]


class AbortRule(TypedDict):
    """Stop a release once `failed` devices have failed, and they are at least `failed`/`of` of those"""

    failed: NotRequired[int]
    of: NotRequired[int]


class ActiveModel(TypedDict):
    """What a device should run."""

    release: SignedRelease | None
    commands: list[OpenCommand]
    time: int


class Better(TypedDict):
    """Which versions have the better value of a metric."""

    direction: Literal["higher", "lower"] | None
    baseline: list[int]
    current: list[int]


class BuiltEnvironment(TypedDict):
    """An environment in the data directory."""

    digest: str
    python_version: str | None
    mlflow_version: str | None
    size: int
    needed: bool


class Canary(TypedDict):
    """Which shares of the live requests the candidate answers, one after the other."""

    steps: NotRequired[list[float]]
    minutes: NotRequired[float]
    requests: NotRequired[int]


class CanaryIn(TypedDict):
    """Which shares of the live requests the candidate answers, one after the other."""

    steps: NotRequired[list[float]]
    minutes: NotRequired[float | str]
    requests: NotRequired[int]


class Captures(TypedDict):
    """State of the captures of predictions."""

    spool_bytes: int
    written: int
    dropped: int
    dead: int
    error: str


class Checks(TypedDict):
    """What is checked before a caller meets the candidate."""

    example: NotRequired[bool]
    signature: NotRequired[bool]
    replay: NotRequired[int]
    shadow: NotRequired[ShadowPolicy | None]


class ChecksIn(TypedDict):
    """What is checked before a caller meets the candidate."""

    example: NotRequired[bool]
    signature: NotRequired[bool]
    replay: NotRequired[int]
    shadow: NotRequired[ShadowIn | None]


class Column(TypedDict):
    name: str
    type: str


class CommandIn(TypedDict):
    """A value that devices are to take."""

    devices: NotRequired[list[str] | None]
    groups: NotRequired[list[str] | None]
    name: str
    value: Any


class ComparedLine(TypedDict):
    """One thing of all versions."""

    name: str
    values: dict[str, Any]
    differs: bool
    direction: Literal["higher", "lower"] | None
    better: list[int]


class ComparedMetric(TypedDict):
    """A metric beside its baseline."""

    metric: str
    baseline: float | None
    baseline_source: str | None
    current: float | None
    change: float | None
    direction: Literal["higher", "lower"] | None
    verdict: str
    worse: bool | None
    degraded: bool | None


class Comparison(TypedDict):
    """Champion against candidate. A stage is null if there was none; its figures are those of both."""

    verdict: Literal["promoted", "rolled_back", "superseded", "undecided"]
    reason: str
    endpoint: str
    rollout: int
    champion: int | None
    candidate: int
    state: str
    started_at: str
    ended_at: str | None
    note: str
    check: dict[str, Any] | None
    replay: dict[str, Any] | None
    shadow: dict[str, Any] | None
    canary: dict[str, Any] | None
    canary_steps: list[dict[str, Any]]


class CurrentLaunch(TypedDict):
    """A launch that a deployment has now, or waits for."""

    replica: int
    role: LaunchRole
    state: LaunchState
    step: Step | None
    reason: str
    since: str
    ready_at: str | None
    launch_id: str | None
    port: int | None
    address: str | None
    pid: int | None
    container: str | None
    image: str | None
    threads: int | None
    tries: int
    current: bool
    memory: int | None
    in_flight: int | None


class DarkIn(TypedDict):
    """Whether devices are to be dark."""

    devices: NotRequired[list[str] | None]
    groups: NotRequired[list[str] | None]
    value: bool


class DataCopy(TypedDict):
    """Where MLflow has a copy."""

    run_id: str
    experiment_id: str
    artifact_uri: str


class DataVersionDetails(TypedDict):
    """A version of the training data, with all that is known of it."""

    sha256: str
    experiment: str
    format: str
    rows: int
    columns: int
    bytes: int
    uploaded_at: str
    uploaded_by: str | None
    name: str | None
    column_types: list[Column]
    analyses: dict[str, dict[str, Any]]
    models: list[TrainedModel] | None
    mlflow: DataCopy | None


class DataVersion(TypedDict):
    """A version of the training data."""

    sha256: str
    experiment: str
    format: str
    rows: int
    columns: int
    bytes: int
    uploaded_at: str
    uploaded_by: str | None
    name: str | None


class DeployOptions(TypedDict):
    """How to serve the model version; an option that is left out takes the default."""

    env_manager: NotRequired[EnvManager | None]
    start_method: NotRequired[StartMethod | None]
    workers: NotRequired[int | None]
    threads: NotRequired[int | Literal["auto"] | None]
    replicas: NotRequired[int | str | ReplicaRange | None]
    memory_limit: NotRequired[int | Literal["auto"] | str | None]
    cpu_limit: NotRequired[float | Literal["auto"] | None]
    validation: NotRequired[Validation | None]
    batch_max_rows: NotRequired[int | Literal["auto"] | None]
    capture_rate: NotRequired[float | None]
    capture_exclude: NotRequired[list[str] | None]
    capture_hash: NotRequired[list[str] | None]
    max_capture_bytes: NotRequired[int | str | None]
    retention_days: NotRequired[float | str | None]
    idle_timeout: NotRequired[float | str | None]


class Deployment(TypedDict):
    """A deployment."""

    name: str
    model: str
    version: int
    state: State
    desired: Desired
    url: str
    port: int | None
    pid: int | None
    container: str | None
    threads: int | None
    reason: str
    advice: str
    restarts: int
    replicas: Replicas
    created_at: str
    ready_at: str | None
    options: Options
    deployed_by: str | None
    replacement: Replacement | None
    launches: list[CurrentLaunch]
    environment: Environment | None


class DeviceChangeIn(TypedDict):
    """What changes of a device; what is left out stays."""

    groups: NotRequired[list[str] | None]
    attributes: NotRequired[dict[str, str | float | bool | None] | None]


class DeviceCommand(TypedDict):
    """A command to one device, and what the device has answered."""

    id: int
    device: str
    name: str
    value: Any
    created_at: str
    created_by: str
    delivered_at: str | None
    answered_at: str | None
    ok: bool | None
    answer: str


class DeviceLogLine(TypedDict):
    """A line of a device's log."""

    id: int
    at: str
    level: str
    text: str


class Device(TypedDict):
    """A device: whether it is there, and what it runs."""

    id: int
    name: str
    project: str
    state: Presence
    connected: bool
    groups: list[str]
    attributes: dict[str, Any]
    agent: str
    release: DeviceRelease
    health: dict[str, Any]
    last_seen_at: str | None
    created_at: str
    revoked_at: str | None


class DevicePresences(TypedDict):
    """Number of devices by presence."""

    never: NotRequired[int]
    online: NotRequired[int]
    offline: NotRequired[int]
    revoked: NotRequired[int]


class DeviceProject(TypedDict):
    """A project: models, and the devices that run them."""

    id: int
    name: str
    models: list[str]
    created_at: str
    devices: DevicePresences
    follows: FollowedEndpoint | None
    release: Release | None


class DeviceRelease(TypedDict):
    """What a device should run, what it runs, and how far it is."""

    wanted: int | None
    running: int | None
    state: UpdateState | None
    reason: str
    since: str | None
    bytes: int
    of: int


class DeviceUpdate(TypedDict):
    """What a device has made of a release."""

    device: str
    release: int
    state: UpdateState
    reason: str
    since: str
    bytes: int
    of: int


class EndpointDetail(TypedDict):
    """An endpoint with its history."""

    name: str
    model: str
    alias: str
    url: str
    default: bool
    short_url: str | None
    status: str
    champion: int | None
    champion_since: str | None
    previous: int | None
    previous_until: str | None
    alias_version: int | None
    notice: str
    deleting: bool
    created_at: str
    policy: RolloutPolicy
    versions: list[ServedVersion]
    rollout: Rollout | None
    check: Finding | None
    replay: Finding | None
    guards: Guards | None
    rollouts: list[Rollout]
    events: list[RolloutEvent]


class Endpoint(TypedDict):
    """An endpoint, what serves it, and what is on its way."""

    name: str
    model: str
    alias: str
    url: str
    default: bool
    short_url: str | None
    status: str
    champion: int | None
    champion_since: str | None
    previous: int | None
    previous_until: str | None
    alias_version: int | None
    notice: str
    deleting: bool
    created_at: str
    policy: RolloutPolicy
    versions: list[ServedVersion]
    rollout: Rollout | None
    check: Finding | None
    replay: Finding | None
    guards: Guards | None


class EnrolmentIn(TypedDict):
    """For which device an enrolment code is."""

    groups: NotRequired[list[str]]
    device: NotRequired[str | None]


class Enrolment(TypedDict):
    """A code with which one device registers. It is shown once."""

    project: str
    code: str
    groups: list[str]
    device: str | None
    created_at: str
    expires_at: str
    command: str


class Environment(TypedDict):
    """The environment that a deployment's launches run in, where it is not the controller's own."""

    manager: EnvManager
    digest: str | None
    state: BuildState
    progress: str
    python_version: str | None
    mlflow_version: str | None
    log: str | None


class Environments(TypedDict):
    """The warm parents, and the environments on the disk."""

    parents: list[WarmParent]
    environments: list[BuiltEnvironment]


class Erased(TypedDict):
    """How many captures were deleted."""

    erased: int


class Error(TypedDict):
    """Predictions that failed with the same exception from the same place."""

    exception: str
    message: str
    status: int
    count: int
    first_at: str
    last_at: str
    request_ids: list[str]
    launch_id: str | None
    traceback: str | None


class Estimate(TypedDict):
    """What a deploy would take."""

    memory_needed: int
    memory_available: int
    memory_total: int
    ports_free: int
    options: Options
    defaults: Options
    shortage: str


class Event(TypedDict):
    """A change of state of a deployment."""

    at: str
    previous: State | None
    state: State
    launch_id: str | None
    replica: int | None
    reason: str
    advice: str


class FeedbackIn(TypedDict):
    """Ground truth of predictions."""

    items: list[LabelIn]


class Feedback(TypedDict):
    """What became of the labels of a call. Each is counted once."""

    matched: int
    waiting: int
    unmatched: int
    ambiguous: int
    duplicate: int
    coverage: NotRequired[float | None]
    labelled_rows: int
    metrics: NotRequired[dict[str, float] | None]
    versions: NotRequired[dict[str, Feedback] | None]
    note: str | None


class Finding(TypedDict):
    """The outcome of a step."""

    outcome: Outcome
    reason: str
    figures: dict[str, Any]


class FlowLogLine(TypedDict):
    """A line of a run's log."""

    at: str
    level: str
    logger: str
    message: str
    task: str | None


class FlowMonitoring(TypedDict):
    """Runs, and the chart of them: `Plotly.newPlot(element, graph, layout)` draws it."""

    flow_info: list[dict[str, Any]]
    graph: list[dict[str, Any]]
    layout: dict[str, Any]
    service: FlowService


class FlowProject(TypedDict):
    """The settings of the project, and what each run may be given."""

    sha256: str
    settings: dict[str, Any] | None
    runs: dict[str, dict[str, dict[str, Any]]]
    problems: list[SettingsProblem]


class FlowRun(TypedDict):
    """A run of a flow, with its tasks and its result."""

    id: str
    run_id: str | None
    flow: str
    experiment: str
    run_name: str
    state: FlowState
    state_name: str
    message: str
    parameters: dict[str, Any]
    requested_at: str
    requested_by: str
    again: str | None
    started_at: str | None
    ended_at: str | None
    place: str
    tasks: list[FlowTask]
    result: dict[str, Any] | None
    links: dict[str, str]


class FlowRunSummary(TypedDict):
    """A run of a flow."""

    id: str
    run_id: str | None
    flow: str
    experiment: str
    run_name: str
    state: FlowState
    state_name: str
    message: str
    parameters: dict[str, Any]
    requested_at: str
    requested_by: str
    again: str | None
    started_at: str | None
    ended_at: str | None
    place: str


class FlowService(TypedDict):
    """The service that carries out flows."""

    state: ServiceState
    problem: str


class FlowTask(TypedDict):
    """A task of a run, or a flow within it."""

    id: str
    run_id: str
    name: str
    state: FlowState
    state_name: str
    attempts: int
    started_at: str | None
    ended_at: str | None
    after: list[str]
    child: str | None


class FollowedEndpoint(TypedDict):
    """An endpoint whose versions a project releases."""

    endpoint: str
    policy: ReleasePolicy


class GuardIn(TypedDict):
    """What rolls a candidate back."""

    errors: NotRequired[bool]
    latency: NotRequired[float]
    quality: NotRequired[float]
    predictions: NotRequired[bool]


class GuardLimits(TypedDict):
    """What rolls a candidate back."""

    errors: NotRequired[bool]
    latency: NotRequired[float]
    quality: NotRequired[float]
    predictions: NotRequired[bool]


class GuardReading(TypedDict):
    """What a guard sees now."""

    guard: str
    outcome: Outcome
    text: str
    champion: float | None
    candidate: float | None
    evidence: float
    limit: float


class Guards(TypedDict):
    """All guards together."""

    outcome: Outcome
    reason: str
    readings: list[GuardReading]


class Health(TypedDict):
    """Whether predictions can be answered."""

    status: str
    controller: NotRequired[str | None]


class LabelIn(TypedDict):
    """The ground truth of one row."""

    request_id: str
    row: NotRequired[int]
    label: bool | int | float | str


class Launch(TypedDict):
    """One start of a deployment's processes."""

    launch_id: str
    replica: NotRequired[int | None]
    started_at: str
    ready_at: str | None
    ended_at: str | None
    reason: str


class LogLine(TypedDict):
    """A line of a log."""

    at: str | None
    level: str | None
    text: str


class Measured(TypedDict):
    """A metric of one version."""

    baseline: float | None
    current: float | None


class Memory(TypedDict):
    """Memory that the controller and its models can use, in bytes: of the machine, or of its container."""

    total: int
    available: int


class Merging(TypedDict):
    """Whether waiting requests are merged into one call of the model."""

    max_rows: int
    reason: str


class MessagesIn(TypedDict):
    """What a device without a socket sends."""

    agent: str
    stream: str
    running: NotRequired[int | None]
    health: NotRequired[dict[str, Any] | None]
    messages: NotRequired[list[dict[str, Any]]]


class MetricsEntry(TypedDict):
    """Metrics that were set, or computed from ground truth."""

    at: str
    metrics: dict[str, float]
    window: str | None
    n: int | None
    note: str | None
    source: str
    version: NotRequired[int | None]


class MetricsIn(TypedDict):
    """Metrics that a caller measured."""

    metrics: dict[str, float]
    window: NotRequired[str | None]
    n: NotRequired[int | None]
    note: NotRequired[str | None]


class Metrics(TypedDict):
    """Baseline, current metrics, their history, and traffic."""

    name: str
    version: NotRequired[int | None]
    baseline: dict[str, float]
    baseline_error: str | None
    baseline_as_of: str | None
    current: dict[str, float]
    history: list[MetricsEntry]
    comparison: list[ComparedMetric]
    serving: ServingTraffic
    versions: NotRequired[dict[str, Metrics] | None]


class Minute(TypedDict):
    """The requests of one minute."""

    requests: int
    rows: int
    errors: dict[str, int]
    caller_errors: int
    model_errors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    violations: list[Violations]
    let_through: int
    at: str


class ModelInfo(TypedDict):
    """What an endpoint serves now."""

    endpoint: str
    model: str
    alias: str
    version: int | None
    since: str | None
    run_id: str | None
    metrics: dict[str, float | None]
    signature: dict[str, Any] | None
    registry: str
    status: str


class Model(TypedDict):
    """A deployment with its model's signature, example, memory and counters."""

    name: str
    model: str
    version: int
    state: State
    desired: Desired
    url: str
    port: int | None
    pid: int | None
    container: str | None
    threads: int | None
    reason: str
    advice: str
    restarts: int
    replicas: Replicas
    created_at: str
    ready_at: str | None
    options: Options
    deployed_by: str | None
    replacement: Replacement | None
    launches: list[CurrentLaunch]
    environment: Environment | None
    workers_serving: int | None
    signature: dict[str, Any] | None
    input_example: Any
    curl: str
    rss: int | None
    pss: int | None
    registered: Registered | None
    memory_needed: int
    serving: Serving


class OpenCommand(TypedDict):
    """A command that the device has not answered."""

    id: int
    name: str
    value: Any


class Options(TypedDict):
    """The options in force."""

    env_manager: EnvManager
    start_method: StartMethod
    workers: int
    threads: int | Literal["auto"]
    replicas: int | ReplicaRange
    memory_limit: int | Literal["auto"]
    cpu_limit: float | Literal["auto"]
    validation: Validation
    batch_max_rows: int | Literal["auto"]
    capture_rate: float
    capture_exclude: list[str]
    capture_hash: list[str]
    max_capture_bytes: int
    retention_days: float | None
    idle_timeout: float


class Ordered(TypedDict):
    """A command that devices get now, or as soon as they are there."""

    name: str
    value: Any
    devices: list[str]


class PlaceStats(TypedDict):
    """What a version did in one place: on the devices together, or on the server."""

    requests: int
    rows: int
    errors: dict[str, int]
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    predictions: dict[str, Any] | None
    verdict: str | None
    sampled: bool


class PolicyIn(TypedDict):
    """How new versions have to prove themselves; a member that is left out takes the default."""

    options: NotRequired[DeployOptions]
    checks: NotRequired[ChecksIn]
    canary: NotRequired[CanaryIn]
    guard: NotRequired[GuardIn]
    keep_previous: NotRequired[float | str]
    recreate: NotRequired[bool]


class Ports(TypedDict):
    """The port pool."""

    range: str
    free: int
    leased: int
    quarantined: int
    blocked: list[dict[str, Any]]


class Problem(TypedDict):
    """An error (RFC 9457, `application/problem+json`)."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[dict[str, Any]]]


class ProjectChangeIn(TypedDict):
    """What changes of a project."""

    models: list[str]


class ProjectIn(TypedDict):
    """A new project of devices."""

    name: str
    models: list[str]


class ProjectStats(TypedDict):
    """What the versions of a project did in a span of time."""

    since: str
    until: str
    versions: list[VersionStats]


class Ready(TypedDict):
    """Whether the controller is ready."""

    status: str
    last_tick_seconds: float
    deployments: dict[str, int]
    ports: Ports
    memory: Memory | None
    captures: Captures


class Received(TypedDict):
    """How far a stream is stored."""

    received: int


class RegisterIn(TypedDict):
    """What a device sends to register."""

    code: str
    device: str
    attributes: NotRequired[dict[str, str | float | bool | None]]


class RegisteredDevice(TypedDict):
    """A device and its token, which is shown once."""

    device: str
    project: str
    token: str
    key: ReleaseKey


class RegisteredModel(TypedDict):
    """A registered model."""

    name: str
    latest_version: int | None
    aliases: dict[str, int]
    description: str
    tags: dict[str, str]
    deployed_versions: list[int]


class Registered(TypedDict):
    """What the registry says of a deployed version."""

    description: str
    tags: dict[str, str]
    aliases: list[str]
    run_id: str | None
    run_url: str | None
    source: str
    user: str
    flavors: dict[str, str]
    created_at: str
    metrics: dict[str, float | None]
    as_of: str | None


class RegisteredVersion(TypedDict):
    """A version of a registered model."""

    version: int
    aliases: list[str]
    status: str
    description: str
    tags: dict[str, str]
    user: str
    source: str
    run_id: str | None
    created_at: str
    metrics: dict[str, float | None]
    state: State | None


class ReleasableVersion(TypedDict):
    """A version that may be released, and where it runs."""

    model: str
    version: int
    created_at: str
    aliases: list[str]
    status: str
    metrics: dict[str, float | None]
    state: State | None
    devices: int
    releases: list[int]


class ReleaseDetail(TypedDict):
    """A release with its stages, events and manifest."""

    project: str
    number: int
    model: str
    version: int
    state: ReleaseState
    active: bool
    stage: int
    stage_count: int
    reason: str
    policy: ReleasePolicy
    endpoint: str | None
    reverts: int | None
    created_at: str
    created_by: str
    since: str
    offered: bool
    stages: list[ReleaseStage]
    events: list[ReleaseEvent]
    manifest: dict[str, Any] | None
    signature: str | None


class ReleaseEvent(TypedDict):
    """Something that happened to a release, to all devices or to one."""

    at: str
    number: int | None
    previous: ReleaseState | None
    state: ReleaseState | None
    device: str | None
    reason: str


class ReleaseKey(TypedDict):
    """The public key of releases."""

    id: str
    public: str


class Release(TypedDict):
    """What devices should run, and how far that is."""

    project: str
    number: int
    model: str
    version: int
    state: ReleaseState
    active: bool
    stage: int
    stage_count: int
    reason: str
    policy: ReleasePolicy
    endpoint: str | None
    reverts: int | None
    created_at: str
    created_by: str
    since: str


class ReleasePolicy(TypedDict):
    """How a release reaches devices."""

    groups: NotRequired[list[str]]
    percent: NotRequired[list[float]]
    success: NotRequired[float]
    soak: NotRequired[float]
    abort: NotRequired[AbortRule]


class ReleasePolicyIn(TypedDict):
    """How a release reaches devices; a member that is left out takes the default."""

    groups: NotRequired[list[str]]
    percent: NotRequired[list[float]]
    success: NotRequired[float]
    soak: NotRequired[float | str]
    abort: NotRequired[AbortIn]


class ReleaseStage(TypedDict):
    """Devices that are told of a release together."""

    number: int
    name: str
    open: bool
    devices: int
    counts: UpdateCounts
    updates: list[DeviceUpdate]


class Replacement(TypedDict):
    """New launches that take the places of those that serve, in a change of options or a restart."""

    state: ChangeState
    under_way: bool
    reason: str
    since: str
    purpose: str
    options: Options
    launches_before: int


class ReplicaRange(TypedDict):
    """From how many to how many model servers of a deployment serve."""

    min: NotRequired[int]
    max: int


class Replicas(TypedDict):
    """The launches of a deployment that serve."""

    wanted: int
    ready: int


class Report(TypedDict):
    """A stored report with all that it says."""

    id: str
    at: str
    verdict: str
    verdict_name: str
    headline: str
    source: CapturedOn
    since: str
    until: str
    reference: str
    rows: dict[str, int | None]
    page: str
    model: str
    version: int
    report: dict[str, Any]


class ReportRunning(TypedDict):
    """A report that is not finished yet."""

    id: str
    status: str
    url: str


class ReportSummary(TypedDict):
    """A stored report."""

    id: str
    at: str
    verdict: str
    verdict_name: str
    headline: str
    source: CapturedOn
    since: str
    until: str
    reference: str
    rows: dict[str, int | None]
    page: str


class RolloutEvent(TypedDict):
    """Something that happened to an endpoint or its rollout."""

    at: str
    rollout_id: int | None
    version: int | None
    previous: RolloutState | None
    state: RolloutState | None
    reason: str


class Rollout(TypedDict):
    """A candidate on its way, or how it ended."""

    id: int
    candidate: int
    champion: int | None
    kind: RolloutKind
    state: RolloutState
    step: int
    order: Order
    reason: str
    active: bool
    started_at: str
    since: str
    ended_at: str | None


class RolloutPolicy(TypedDict):
    """The policy of an endpoint."""

    options: NotRequired[dict[str, Any]]
    checks: NotRequired[Checks]
    canary: NotRequired[Canary]
    guard: NotRequired[GuardLimits]
    keep_previous: NotRequired[float]
    recreate: NotRequired[bool]


class RunFlowIn(TypedDict):
    """What a run is given. A member that is null is left to the settings of the experiment."""

    experiment: str
    data: NotRequired[str | None]
    force: NotRequired[bool | None]
    model_type: NotRequired[str | None]
    trials: NotRequired[int | None]
    timeout: NotRequired[float | None]
    epochs: NotRequired[int | None]
    version: NotRequired[int | None]
    wait: NotRequired[float | None]


class SavedSettings(TypedDict):
    """One text that the settings have had."""

    number: int
    sha256: str
    at: str
    by: str


class SavedText(TypedDict):
    """With the text."""

    number: int
    sha256: str
    at: str
    by: str
    text: str


class SeriesIn(TypedDict):
    input_data: list[float]
    prediction_step: NotRequired[int | None]


class SeriesPrediction(TypedDict):
    model_name: str
    prediction: list[float]
    message: str


class ServedVersion(TypedDict):
    """A version that the endpoint uses now."""

    version: int
    role: VersionRole
    share: float
    state: State | None
    reason: str


class Serving(TypedDict):
    """What the proxy has counted since this controller began to route to the deployment."""

    checked: bool | None
    refused: int
    violations: list[Violations]
    merging: Merging | None
    batches: int
    batched_rows: int
    unmergeable: str


class ServingTraffic(TypedDict):
    """Requests for predictions, in total and by the minute."""

    since: str
    until: str
    total: Traffic
    windows: list[Minute]


class SetMetrics(TypedDict):
    """The metrics as they were stored."""

    at: str
    metrics: dict[str, float]
    window: str | None
    n: int | None
    note: str | None
    source: str
    version: NotRequired[int | None]
    comparison: list[ComparedMetric]
    baseline_error: str | None
    written_to: str


class SetModelIn(TypedDict):
    """Which endpoint becomes the default one."""

    model: NotRequired[str | None]
    alias: str


class SetModel(TypedDict):
    """The default endpoint, and which version serves it."""

    name: str
    model: str
    alias: str
    version: int | None
    alias_version: int | None
    serves: bool
    url: str
    status: str


class SetReleaseIn(TypedDict):
    """What the devices of a project should run: a version, or whatever an endpoint serves."""

    model: NotRequired[str | None]
    version: NotRequired[int | None]
    endpoint: NotRequired[str | None]
    policy: NotRequired[ReleasePolicyIn | None]


class SetRelease(TypedDict):
    """What a project releases from now on."""

    project: str
    release: Release | None
    follows: FollowedEndpoint | None


class SettingsCheck(TypedDict):
    """Whether a text could be saved."""

    usable: bool
    problems: list[SettingsProblem]


class SettingsProblem(TypedDict):
    """One thing that is wrong with the settings."""

    line: int | None
    key: str
    message: str


class ShadowIn(TypedDict):
    """How many live requests are copied to the candidate, and for how long."""

    share: NotRequired[float]
    minutes: NotRequired[float | str]
    requests: NotRequired[int]


class ShadowPolicy(TypedDict):
    """How many live requests are copied, and for how long."""

    share: NotRequired[float]
    minutes: NotRequired[float]
    requests: NotRequired[int]


class SignedRelease(TypedDict):
    """A release as devices get it."""

    manifest: str
    signature: str
    key: str


class StartedRun(TypedDict):
    """A run that was asked for."""

    id: str
    place: str


class Traffic(TypedDict):
    """Requests for predictions in a stretch of time."""

    requests: int
    rows: int
    errors: dict[str, int]
    caller_errors: int
    model_errors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    violations: list[Violations]
    let_through: int


class TrainedModel(TypedDict):
    """A registered version of a model."""

    model: str
    version: int


class UpdateCounts(TypedDict):
    """Number of devices by what they have made of a release."""

    offered: NotRequired[int]
    downloading: NotRequired[int]
    verifying: NotRequired[int]
    trying: NotRequired[int]
    running: NotRequired[int]
    failed: NotRequired[int]
    refused: NotRequired[int]


class Uploaded(TypedDict):
    """A file that was kept."""

    sha256: str
    experiment: str
    format: str
    rows: int
    columns: int
    bytes: int
    uploaded_at: str
    uploaded_by: str | None
    name: str | None
    run: StartedRun | None


class Version(TypedDict):
    """Versions of the controller and of MLflow."""

    model_deployment: str
    mlflow: str


class VersionStats(TypedDict):
    """A version on devices and on the server, side by side."""

    model: str
    version: int
    running: int
    devices: PlaceStats
    server: PlaceStats | None
    drift: float | None
    drift_reason: str


class VersionsCompared(TypedDict):
    """Versions side by side."""

    model: str
    versions: list[int]
    metrics: dict[str, dict[str, Measured]]
    better: dict[str, Better]
    baseline_as_of: dict[str, str | None]
    serving: dict[str, Traffic]
    registered: dict[str, Registered | None]
    unread: dict[str, str]
    sections: dict[str, list[ComparedLine]]


class Violations(TypedDict):
    """How often a column did not fit the signature in one way."""

    column: str
    kind: str
    count: int


class WarmParent(TypedDict):
    """A process that has imported what models need, and that models are forked from."""

    environment: str | None
    pid: int | None
    models: int
    memory: int | None
