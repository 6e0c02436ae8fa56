"""Completes the OpenAPI description with the errors and the roles of all calls."""

from typing import Any

from fastapi import FastAPI
from starlette.routing import compile_path

from model_deployment.api.examples import restore_nulls
from model_deployment.api.policies import POLICIES
from model_deployment.api.problems import PROBLEM_CONTENT, Problem

#: OpenAI's paths have OpenAI's errors.
_OPENAI = {"application/json": {"schema": {"type": "object"}}}
_BASIC, _BEARER = "basic", "bearer"
#: Of a route, by its method and its path as the description has it: without the kinds of parameters.
_POLICIES = {
    (method, compile_path(template)[1]): policy for (method, template), policy in POLICIES.items()
}
#: Answers that every call may get.
_ALWAYS = {
    "400": "The path is not canonical",
    "421": "The `Host` header does not name this controller",
    "500": "An internal error; the traceback is in the log",
}
_GUARDED = {
    "401": "No valid user name and password",
    "403": "The user's role does not allow the call, or a page of another site sent the request",
}
_WITH_BODY = {"413": "The body is too large", "415": "The body is not JSON"}


def complete(app: FastAPI) -> None:
    """Have an application describe its errors as problems, and the role that each call needs."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = plain()
            restore_nulls(found)
            for path, methods in found["paths"].items():
                for method, call in methods.items():
                    _complete(call, method.upper(), path)
            schemes = {name: {"type": "http", "scheme": name} for name in (_BASIC, _BEARER)}
            found["components"]["securitySchemes"] = schemes
            models = found["components"]["schemas"]
            models[Problem.__name__] = Problem.model_json_schema(mode="serialization")
            found["components"]["schemas"] = dict(sorted(models.items()))
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI's manual has it


def _complete(call: dict[str, Any], method: str, path: str) -> None:
    role = _POLICIES[method, path].role
    answers = call["responses"]
    more = dict(_ALWAYS)
    if role is not None:
        call["security"] = [{_BASIC: []}, {_BEARER: []}]
        call["description"] = "\n\n".join(
            text for text in (call.get("description"), f"For: {role}s.") if text
        )
        more |= _GUARDED
    if method != "GET":
        more |= _WITH_BODY | {"403": _GUARDED["403"]}
    error = _OPENAI if path.startswith("/v1/") else PROBLEM_CONTENT
    for status, description in more.items():
        answers.setdefault(status, {"description": description, "content": dict(error)})
    for answer in answers.values():
        if _is_problem(answer.get("content", {})):
            answer["content"] = dict(PROBLEM_CONTENT)


def _is_problem(content: dict[str, Any]) -> bool:
    """Whether FastAPI has described a problem, or an error of its own, under the media type of the call."""
    references = [kind.get("schema", {}).get("$ref", "") for kind in content.values()]
    return any(ref.rpartition("/")[2] in ("Problem", "HTTPValidationError") for ref in references)
