"""Who may call what.

A request whose path is not in ``POLICIES`` is refused. The gateway in front has the same table, written by
``make docs`` (``nginx/routes.conf``), and checks passwords too; the controller does not rely on it.
"""

import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.routing import compile_path

from model_deployment.core.errors import Forbidden, MethodNotAllowed, NotFound
from model_deployment.core.users import Role, User
from model_deployment.credentials.access import USER, refuse_cross_site

Scope = MutableMapping[str, Any]

NO_PATH = "cannot find this path; /docs lists all paths"


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
}


#: Methods and paths of the calls that need no password. The proxies are started with them.
OPEN_CALLS = frozenset(call for call, policy in POLICIES.items() if policy.role is None)

#: First segments of paths that no deployment can have.
_TAKEN = "|".join(
    sorted({re.escape(path.split("/")[1]) for _, path in POLICIES if path[1:2] not in ("", "{")})
)


def _pattern(template: str) -> re.Pattern[str]:
    pattern = compile_path(template)[0]
    if template.startswith("/{name}"):
        # Else every path of one segment would match the template of predictions.
        return re.compile(f"(?!/(?:{_TAKEN})(?:/|$)){pattern.pattern}")
    return pattern


_COMPILED = [
    (method, _pattern(template), policy) for (method, template), policy in POLICIES.items()
]


def authorise(scope: Scope) -> int | None:
    """Check that the user of an admitted request may call its route.

    Returns:
        Bytes that its body may have, if there may be fewer than elsewhere.

    Raises:
        NotFound, MethodNotAllowed: there is no policy for the path or the method.
        Forbidden: the user has not the role that the route needs.
        CrossSite: a page of another site made a browser send the request.
    """
    found = policies(scope["path"])
    if not found:
        raise NotFound(NO_PATH)
    method = scope["method"]
    # A path that fits two templates has to pass both policies.
    matching = [
        policy for known, policy in found if known == ("GET" if method == "HEAD" else method)
    ]
    if not matching:
        raise MethodNotAllowed(f"cannot {method} this path", {known for known, _ in found})
    user: User | None = scope[USER]
    for policy in matching:
        if policy.role is not None and (user is None or not user.may(policy.role)):
            raise Forbidden(f"cannot do this: it needs the role {policy.role}")
        if policy.works and "id" not in parse_qs(scope["query_string"].decode("latin-1")):
            refuse_cross_site(dict(scope["headers"]))
    limits = [one.max_body_bytes for one in matching if one.max_body_bytes is not None]
    return min(limits, default=None)


def reads_body(scope: Scope) -> bool:
    """Whether the route of an authorised request reads the body as it comes."""
    found = [policy for method, policy in policies(scope["path"]) if method == scope["method"]]
    return bool(found) and all(policy.streams for policy in found)


def policies(path: str) -> list[tuple[str, RoutePolicy]]:
    """Methods and policies of the routes that a path may belong to."""
    return [(method, policy) for method, pattern, policy in _COMPILED if pattern.fullmatch(path)]
