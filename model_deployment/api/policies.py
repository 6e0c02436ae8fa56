"""The table of routes: who may call each of them.

A request whose path is not in ``POLICIES`` is refused (``access.py``). The gateway in front has the same
table, written by ``make docs`` (``nginx/routes.conf``), and checks passwords too; the controller does not
rely on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from model_deployment.core.users import Role


@dataclass(frozen=True, slots=True)
class RoutePolicy:
    """Who may call a route."""

    #: None: no password is needed.
    role: Role | None
    #: A GET that starts work or takes one of few places, unless its query names an ``id``: pages of other
    #: sites may not send it.
    works: bool = False
    #: The location of ``nginx/gateway.conf`` that passes the request on. Default: that of the role.
    location: str = ""
    #: Bytes that the body may have; None: as many as bodies may have anywhere.
    max_body_bytes: int | None = None
    #: The call reads the body as it comes, and limits it.
    streams: bool = False

    @property
    def handler(self) -> str:
        return self.location or (str(self.role) if self.role else "anyone")


_ANYONE = RoutePolicy(None)
_CALLER = RoutePolicy(Role.CALLER)
_OPERATOR = RoutePolicy(Role.OPERATOR)
_DEPLOY = RoutePolicy(Role.OPERATOR, location="deploy")
#: A signature is the authentication. It is checked behind the body, so little of a body is taken.
_SIGNED = RoutePolicy(None, location="signed", max_body_bytes=65536)

#: A larger file is refused by ``flow_project.files``; this leaves room for the words of the refusal.
_SETTINGS = RoutePolicy(Role.OPERATOR, max_body_bytes=1024 * 1024)
#: Bearer tokens, which the gateway cannot check: the controller does, before it reads a body.
_OPENAI = RoutePolicy(Role.CALLER, location="openai")

#: Tokens of devices, which the gateway cannot check either: the controller does.
_DEVICE = RoutePolicy(Role.DEVICE, location="device")
#: A code is the authentication. It is checked behind the body, so little of a body is taken.
_REGISTER = RoutePolicy(None, location="register", max_body_bytes=65536)
_MESSAGES = RoutePolicy(Role.DEVICE, location="device", max_body_bytes=1024 * 1024)

#: Of one project of devices, by method and what follows :data:`_PROJECTS`.
_OF_PROJECTS: Mapping[tuple[str, str], RoutePolicy] = {
    ("GET", "/models"): _CALLER,
    ("GET", "/activeModel"): _DEVICE,
    ("GET", "/download/{model}/{file:path}"): _DEVICE,
    ("GET", "/blobs/{sha256}"): _DEVICE,
    ("POST", "/messages"): _MESSAGES,
    ("POST", "/setModel"): _OPERATOR,
    ("GET", "/releases"): _CALLER,
    ("GET", "/releases/{number}"): _CALLER,
    ("POST", "/releases/{number}/pause"): _OPERATOR,
    ("POST", "/releases/{number}/resume"): _OPERATOR,
    ("POST", "/releases/{number}/stop"): _OPERATOR,
    ("GET", "/events"): _CALLER,
    ("POST", "/enrolments"): _OPERATOR,
    ("POST", "/registerDevice"): _REGISTER,
    ("GET", "/devices"): _CALLER,
    ("GET", "/devices/{device}"): _CALLER,
    ("PATCH", "/devices/{device}"): _OPERATOR,
    ("DELETE", "/devices/{device}"): _OPERATOR,
    ("POST", "/devices/{device}/revoke"): _OPERATOR,
    ("POST", "/devices/{device}/rotate"): _OPERATOR,
    ("GET", "/devices/{device}/logs"): _OPERATOR,
    ("GET", "/devices/{device}/updates"): _CALLER,
    ("POST", "/setDark"): _OPERATOR,
    ("GET", "/commands"): _CALLER,
    ("POST", "/commands"): _OPERATOR,
    ("GET", "/getStats"): _CALLER,
}
#: Both ways to write the path of a project.
_PROJECTS = ("/projects/{project}", "/{project}")
#: The method of WebSockets. Their handshake is a GET.
SOCKET = "WS"

#: By method and path template. Callers predict and read. Operators also see logs and single rows of other
#: callers, and may change something.
POLICIES: Mapping[tuple[str, str], RoutePolicy] = {
    ("POST", "/{name}"): _CALLER,
    ("POST", "/{name}/invocations"): _CALLER,
    ("POST", "/v1/chat/completions"): _OPENAI,
    ("POST", "/v1/responses"): _OPENAI,
    ("GET", "/v1/models"): _OPENAI,
    ("GET", "/v1/models/{name}"): _OPENAI,
    ("POST", "/predict_timeseries"): _CALLER,
    ("GET", "/health"): _ANYONE,
    ("GET", "/ready"): _CALLER,
    ("GET", "/version"): _CALLER,
    ("GET", "/metrics"): _CALLER,
    ("GET", "/environments"): _CALLER,
    ("GET", "/get_model_list"): _CALLER,
    ("GET", "/get_model_version_list/{model}"): _CALLER,
    ("GET", "/get_deployed_models"): _CALLER,
    ("POST", "/deploy/{model}/{version}"): _DEPLOY,
    ("GET", "/deploy/{model}/{version}"): _CALLER,
    ("POST", "/undeploy/{name}"): _DEPLOY,
    ("GET", "/model/{name}"): _CALLER,
    ("PATCH", "/model/{name}"): _DEPLOY,
    ("POST", "/model/{name}/restart"): _DEPLOY,
    ("POST", "/model/{name}/park"): _DEPLOY,
    ("GET", "/model/{name}/logs"): _OPERATOR,
    ("GET", "/model/{name}/launches"): _CALLER,
    ("GET", "/model/{name}/events"): _CALLER,
    ("GET", "/model/{name}/errors"): _CALLER,
    ("GET", "/model/{name}/metrics"): _CALLER,
    ("POST", "/model/{name}/set_new_metrics"): _OPERATOR,
    ("POST", "/model/{name}/feedback"): _CALLER,
    ("DELETE", "/model/{name}/captures"): _OPERATOR,
    ("GET", "/model/{name}/dataset"): RoutePolicy(Role.OPERATOR, location="dataset"),
    ("GET", "/model/{name}/drifted_rows"): RoutePolicy(Role.OPERATOR, location="dataset"),
    ("GET", "/model/{name}/degradation_report"): RoutePolicy(
        Role.CALLER, works=True, location="report"
    ),
    ("GET", "/model/{name}/reports"): RoutePolicy(Role.CALLER, location="report"),
    ("GET", "/endpoints"): _CALLER,
    ("GET", "/endpoints/{name}"): _CALLER,
    ("PUT", "/endpoints/{name}"): _DEPLOY,
    ("DELETE", "/endpoints/{name}"): _DEPLOY,
    ("POST", "/endpoints/{name}/promote"): _DEPLOY,
    ("POST", "/endpoints/{name}/pause"): _DEPLOY,
    ("POST", "/endpoints/{name}/resume"): _DEPLOY,
    ("POST", "/endpoints/{name}/rollback"): _DEPLOY,
    ("GET", "/endpoints/{name}/rollouts"): _CALLER,
    ("GET", "/endpoints/{name}/events"): _CALLER,
    ("GET", "/endpoints/{name}/comparison"): RoutePolicy(Role.CALLER, location="report"),
    ("POST", "/set_model"): _DEPLOY,
    ("GET", "/model_info"): _CALLER,
    ("GET", "/compare/{model}"): _CALLER,
    ("POST", "/api/run_flow/{flow_type}"): _OPERATOR,
    ("GET", "/api/flow-runs"): _CALLER,
    ("GET", "/api/flow-runs/{id}"): _CALLER,
    ("GET", "/api/flow-runs/{id}/logs"): _OPERATOR,
    ("POST", "/api/flow-runs/{id}/cancel"): _OPERATOR,
    ("POST", "/api/flow-runs/{id}/retry"): _OPERATOR,
    ("GET", "/api/flow-monitoring-data"): _CALLER,
    ("POST", "/mlflow/webhook"): _SIGNED,
    ("GET", "/api/flow-project"): _CALLER,
    ("GET", "/api/flow-project/settings"): _OPERATOR,
    ("PUT", "/api/flow-project/settings"): _SETTINGS,
    ("POST", "/api/flow-project/settings/check"): _SETTINGS,
    ("GET", "/api/flow-project/history"): _OPERATOR,
    ("GET", "/api/flow-project/history/{number}"): _OPERATOR,
    ("POST", "/upload_data"): RoutePolicy(Role.OPERATOR, location="upload", streams=True),
    ("GET", "/datasets"): _CALLER,
    ("GET", "/datasets/{sha256}"): _CALLER,
    ("DELETE", "/datasets/{sha256}"): _OPERATOR,
    ("GET", "/datasets/{sha256}/report"): RoutePolicy(Role.CALLER, location="report"),
    ("GET", "/datasets/{sha256}/file"): RoutePolicy(Role.OPERATOR, location="dataset"),
    ("GET", "/"): _CALLER,
    ("GET", "/dashboard"): _CALLER,
    ("GET", "/dashboard/events"): RoutePolicy(Role.CALLER, works=True),
    ("GET", "/dashboard/static/{file}"): _CALLER,
    ("GET", "/dashboard/registry"): _CALLER,
    ("GET", "/dashboard/registry/{model}"): _CALLER,
    ("GET", "/dashboard/deployments/{name}"): _CALLER,
    ("GET", "/dashboard/deployments/{name}/charts"): _CALLER,
    ("GET", "/dashboard/deployments/{name}/reports"): _CALLER,
    ("POST", "/dashboard/deployments/{name}/rows"): _CALLER,
    ("GET", "/dashboard/deployments/{name}/uses"): _CALLER,
    ("GET", "/dashboard/deployments/{name}/launches"): _CALLER,
    ("GET", "/dashboard/deployments/{name}/columns"): RoutePolicy(Role.OPERATOR, works=True),
    ("GET", "/dashboard/compare/{model}"): _CALLER,
    ("GET", "/dashboard/reports/{name}/{id}"): _CALLER,
    ("GET", "/dashboard/endpoints/{name}"): _CALLER,
    ("GET", "/dashboard/endpoints/{name}/now"): _CALLER,
    ("GET", "/dashboard/flows/settings"): _OPERATOR,
    ("GET", "/dashboard/flows"): _CALLER,
    ("GET", "/dashboard/datasets"): _CALLER,
    ("GET", "/dashboard/datasets/{sha256}"): _CALLER,
    ("GET", "/dashboard/flows/now"): _CALLER,
    ("GET", "/dashboard/flows/runs/{id}"): _CALLER,
    ("GET", "/dashboard/flows/runs/{id}/now"): _CALLER,
    ("GET", "/docs"): _CALLER,
    ("GET", "/docs/oauth2-redirect"): _CALLER,
    ("GET", "/redoc"): _CALLER,
    ("GET", "/openapi.json"): _CALLER,
    ("GET", "/static-offline-docs/{path:path}"): _CALLER,
    ("GET", "/dashboard/projects"): _CALLER,
    ("GET", "/dashboard/projects/{project}"): _CALLER,
    ("GET", "/dashboard/projects/{project}/now"): _CALLER,
    ("GET", "/dashboard/projects/{project}/devices/{device}"): _CALLER,
    ("GET", "/dashboard/projects/{project}/devices/{device}/now"): _CALLER,
    ("GET", "/projects"): _CALLER,
    ("POST", "/projects"): _OPERATOR,
    ("GET", "/projects/{project}"): _CALLER,
    ("PATCH", "/projects/{project}"): _OPERATOR,
    ("DELETE", "/projects/{project}"): _OPERATOR,
    (SOCKET, "/ws/{client_id}"): RoutePolicy(Role.DEVICE, location="socket"),
    **{
        (method, prefix + rest): policy
        for prefix in _PROJECTS
        for (method, rest), policy in _OF_PROJECTS.items()
    },
}
