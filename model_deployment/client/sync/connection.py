"""The connection to one controller: how a call is sent, sent again, and answered."""

import ssl
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from model_deployment.client.address import Address, address
from model_deployment.client.errors import ApiError, BadAddress, Unreachable
from model_deployment.client.exchange import (
    JSON,
    LONGEST_PAGE,
    Content,
    api_error,
    body_of,
    check_headers,
    data_of,
    next_page,
    parameters,
    retry_after,
)
from model_deployment.client.retries import Resend, failure_of, failure_of_answer, pause


class Connection:
    """Calls one controller. May be shared by threads, or by tasks of one loop; :meth:`close` ends it.

    Args:
        url, user, password: as :func:`model_deployment.client.address.address` reads them.
        timeout: seconds to wait for each part of an answer, besides the time that a call asks the
            controller to wait.
        connect_timeout: seconds in which a connection has to be made.
        retry_for: seconds within which a call is sent again, if that is safe: reading calls, predictions
            that were refused before a model saw them, and calls that could not be sent. 0: never.
        verify: False, or a context, for certificates that this machine does not know.
        trust_env: whether proxies and certificates of the environment are used; default: unless the
            controller is on this machine.
        headers: for each request.

    Raises:
        BadAddress: ``url`` is no address.
    """

    def __init__(
        self,
        url: str = "",
        user: str = "",
        password: str = "",
        *,
        timeout: float = 300.0,
        connect_timeout: float = 5.0,
        retry_for: float = 10.0,
        verify: ssl.SSLContext | bool = True,
        trust_env: bool | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._address: Address = address(url, user, password)
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._retry_for = retry_for
        try:
            self._http = httpx.Client(
                base_url=self._address.url,
                auth=(self._address.user, self._address.password) if self._address.user else None,
                verify=verify,
                trust_env=not self._address.loopback if trust_env is None else trust_env,
                headers=dict(headers or {}),
                timeout=self._limits(0, None),
            )
        except httpx.InvalidURL as error:
            raise BadAddress(
                f"cannot use {self._address.url} as the address of a controller: {error}"
            ) from error

    @property
    def url(self) -> str:
        """The address in use, without a password."""
        return self._address.url

    @property
    def user(self) -> str:
        return self._address.user

    def close(self) -> None:
        """Close the connections. Calls after that fail."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}{f', user={self.user!r}' if self.user else ''})"

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
        timeout: float | None = None,
        resend: Resend | None = None,
    ) -> httpx.Response:
        """Any call of the API; the answer is a success, and has been read.

        Args:
            path: with ``%`` for what a path cannot contain (``exchange.path``).
            params: those that are None are left out.
            json: the body, as JSON; or ``content``, with its type in ``headers``.
            wait: seconds that the controller was asked to wait.
            timeout: instead of the connection's.
            resend: default: reading calls may be sent again, others only if they could not be sent.

        Raises:
            ApiError: the controller refused the call, or failed.
            Unreachable: no answer came.
        """
        if resend is None:
            resend = Resend.LOST if method == "GET" else Resend.UNSENT
        request = self._request(method, path, params, json, content, headers, wait, timeout)
        began = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            error: ApiError | Unreachable
            try:
                answer = self._http.send(request)
            except httpx.HTTPError as raised:
                failure, asked, error = failure_of(raised), None, self._unreachable(raised)
                error.__cause__ = raised
            else:
                if answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED:
                    return answer
                asked, error = retry_after(answer), api_error(answer)
                failure = failure_of_answer(answer.status_code, asked)
            seconds = pause(
                failure,
                resend,
                attempt=attempt,
                elapsed=time.monotonic() - began,
                limit=self._retry_for,
                retry_after=asked,
            )
            if seconds is None:
                raise error
            time.sleep(seconds)

    def data(self, method: str, path: str, **more: Any) -> Any:
        """The JSON that a call is answered with; takes what :meth:`request` takes."""
        return data_of(self.request(method, path, **more))

    def items(self, path: str, params: Mapping[str, Any], limit: int | None = None) -> Any:
        """A list, with all its pages, or up to ``limit`` items of it (at least 1)."""
        found: list[Any] = []
        page = None if limit is None else min(limit, LONGEST_PAGE)
        answer = self.request("GET", path, params={**params, "limit": page})
        found += data_of(answer)
        while (limit is None or len(found) < limit) and (query := next_page(answer)):
            answer = self.request("GET", f"{path}?{query}")
            found += data_of(answer)
        return found if limit is None else found[:limit]

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: Content | None = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
        timeout: float | None = None,
    ) -> Generator[httpx.Response, None, None]:
        """One answer whose body has not been read; the connection is free again at the end of the context.

        Raises: as :meth:`request`; and Unreachable where the body ends early.
        """
        request = self._request(method, path, params, json, content, headers, wait, timeout)
        try:
            answer = self._http.send(request, stream=True)
            try:
                if not answer.is_success:
                    answer.read()
                    raise api_error(answer)
                yield answer
            finally:
                answer.close()
        except httpx.HTTPError as raised:  # also where the body ends early
            raise self._unreachable(raised) from raised

    def _save(self, target: Path, where: str, params: Mapping[str, Any]) -> Path:
        part = target.with_name(target.name + ".part")
        try:
            with part.open("wb") as opened, self.open("GET", where, params=params) as answer:
                for content in answer.iter_bytes():
                    opened.write(content)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        json: Any,
        content: Content | None,
        headers: Mapping[str, str] | None,
        wait: float,
        timeout: float | None,
    ) -> httpx.Request:
        own = dict(headers or {})
        check_headers(own)
        if json is not None:
            content = body_of(json)
            own.setdefault("Content-Type", JSON)
        return self._http.build_request(
            method,
            path,
            params=parameters(params) if params else None,
            content=content,
            headers=own,
            timeout=self._limits(wait, timeout),
        )

    def _limits(self, wait: float, timeout: float | None) -> httpx.Timeout:
        seconds = (self._timeout if timeout is None else timeout) + wait
        return httpx.Timeout(seconds, connect=self._connect_timeout)

    def _unreachable(self, error: httpx.HTTPError) -> Unreachable:
        if isinstance(error, httpx.ConnectTimeout):
            why = f"no connection within {self._connect_timeout:g} s"
        elif isinstance(error, httpx.TimeoutException):
            why = "it did not answer in time"
        else:
            why = str(error) or type(error).__name__
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            helps = ". Is it running, and is this its address?"
        else:
            helps = "" if error.request.method == "GET" else ". The call may have had effects"
        return Unreachable(f"cannot reach the controller at {self.url}: {why}{helps}")
