"""The calls that deploy model versions, and show and change deployments."""

from datetime import datetime
from typing import Any, Literal, Unpack

from model_deployment.client.answers import (
    Deployment,
    DeployOptions,
    Error,
    Estimate,
    Event,
    Launch,
    LogLine,
    Model,
    Strategy,
)
from model_deployment.client.exchange import path
from model_deployment.client.sync.connection import Connection
from model_deployment.client.values import Log

Moment = str | datetime


class Deployments(Connection):
    """Deployments. ``name`` is ``<model>-<version>``; options are those of the deploy call, and ``wait`` is
    the number of seconds to wait for the outcome: what is not reached by then goes on, and the answer has
    the state so far.
    """

    def deploy(
        self,
        model: str,
        version: int | str,
        *,
        wait: float = 60.0,
        replace: bool | None = None,
        strategy: Strategy | None = None,
        **options: Unpack[DeployOptions],
    ) -> Deployment:
        """Serve a model version, and wait until it is ready.

        Args:
            replace: change a deployment that has other options, instead of refusing.
            strategy: as of :meth:`change`.

        Raises:
            ApiError: 404 the registry has no such version; 409 it is deployed with other options; 422 an
                option cannot be used; 502 it did not start, and ``problem`` has ``reason``, ``advice`` and
                ``log``; 503 the registry does not answer; 507 there is not enough memory.
        """
        found: Deployment = self.data(
            "POST",
            path("/deploy/{}/{}", model, str(version)),
            params={"wait": wait, "replace": replace, "strategy": strategy},
            json=dict(options) or None,
            wait=wait,
        )
        return found

    def deploy_needs(
        self,
        model: str,
        version: int | str,
        *,
        workers: int | None = None,
        env_manager: str | None = None,
        start_method: str | None = None,
        replicas: int | None = None,
    ) -> Estimate:
        """What a deploy would take, without one: memory in bytes, ports, and the options by default."""
        options = {
            "workers": workers,
            "env_manager": env_manager,
            "start_method": start_method,
            "replicas": replicas,
        }
        where = path("/deploy/{}/{}", model, str(version))
        found: Estimate = self.data("GET", where, params=options)
        return found

    def undeploy(self, name: str, *, wait: float = 60.0) -> Deployment:
        """Stop serving; requests in flight may finish.

        Raises:
            ApiError: 404 it is not deployed; 409 an endpoint uses it.
        """
        return self._order(path("/undeploy/{}", name), wait)

    def change(
        self,
        name: str,
        *,
        wait: float = 60.0,
        strategy: Strategy | None = None,
        **options: Unpack[DeployOptions],
    ) -> Deployment:
        """Change options: a new launch starts beside the one that serves, and replaces it once it is ready.

        An option of None takes its default again; options that are left out stay as they are.

        Args:
            strategy: ``beside`` (the default), or ``recreate``: end the old launch first, where memory has
                no room for both, and let callers wait.

        Raises:
            ApiError: 409 another change is under way; 502 the new launch did not start, and the old one
                goes on; 507 there is no memory for both.
        """
        found: Deployment = self.data(
            "PATCH",
            path("/model/{}", name),
            params={"wait": wait, "strategy": strategy},
            json=dict(options),
            wait=wait,
        )
        return found

    def restart(
        self, name: str, *, wait: float = 60.0, strategy: Strategy | None = None
    ) -> Deployment:
        """Replace the processes by new ones with the same options; the rest is as for :meth:`change`."""
        return self._order(path("/model/{}/restart", name), wait, strategy)

    def park(self, name: str, *, wait: float = 60.0) -> Deployment:
        """Stop the processes until the next request."""
        return self._order(path("/model/{}/park", name), wait)

    def _order(self, where: str, wait: float, strategy: Strategy | None = None) -> Deployment:
        params = {"wait": wait, "strategy": strategy}
        found: Deployment = self.data("POST", where, params=params, wait=wait)
        return found

    def deployments(
        self,
        *,
        stopped: bool = False,
        model: str | None = None,
        state: str | None = None,
        limit: int | None = None,
    ) -> list[Deployment]:
        """All deployments, or those of a model or in a state; ``stopped`` includes undeployed ones."""
        params = {"stopped": stopped or None, "model": model, "state": state}
        found: list[Deployment] = self.items("/get_deployed_models", params, limit)
        return found

    def deployment(self, name: str) -> Model:
        """One deployment, with its signature, input example, memory and counters."""
        found: Model = self.data("GET", path("/model/{}", name))
        return found

    def events(self, name: str, *, limit: int = 100) -> list[Event]:
        """Changes of state, newest first, at most 500."""
        found: list[Event] = self.data(
            "GET", path("/model/{}/events", name), params={"limit": limit}
        )
        return found

    def launches(self, name: str) -> list[Launch]:
        """Starts of the deployment, newest first."""
        found: list[Launch] = self.data("GET", path("/model/{}/launches", name))
        return found

    def errors(
        self,
        name: str,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int | None = None,
        request_id: str | None = None,
    ) -> list[Error]:
        """Exceptions of the model, grouped, newest first; operators get the traceback.

        Args:
            since, until: a time, or a span before now such as ``24h``.
            request_id: only those of this request.
        """
        params = {"since": since, "until": until, "limit": limit, "request_id": request_id}
        found: list[Error] = self.data("GET", path("/model/{}/errors", name), params=params)
        return found

    def logs(
        self,
        name: str,
        *,
        lines: int = 100,
        launch: str | None = None,
        replica: int | None = None,
        search: str | None = None,
        level: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> Log:
        """The end of the log of the newest launch, or of ``launch``, as text.

        Args:
            replica: of the launch of this replica, from 0, instead of ``launch``.
            search: only lines with this text.
            level: only lines of this level or a higher one.
        """
        answer = self._log(name, lines, launch, replica, search, level, since, until, None)
        return Log(answer.headers.get("x-launch-id", ""), answer.text)

    def log_lines(
        self,
        name: str,
        *,
        lines: int = 100,
        launch: str | None = None,
        replica: int | None = None,
        search: str | None = None,
        level: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> list[LogLine]:
        """The end of the log line by line, with times and levels; arguments as of :meth:`logs`."""
        answer = self._log(name, lines, launch, replica, search, level, since, until, "json")
        found: list[LogLine] = answer.json()
        return found

    def _log(
        self,
        name: str,
        lines: int,
        launch: str | None,
        replica: int | None,
        search: str | None,
        level: str | None,
        since: Moment | None,
        until: Moment | None,
        format: Literal["json"] | None,
    ) -> Any:
        params = {
            "lines": lines,
            "launch": launch,
            "replica": replica,
            "search": search,
            "level": level,
            "since": since,
            "until": until,
            "format": format,
        }
        return self.request("GET", path("/model/{}/logs", name), params=params)
