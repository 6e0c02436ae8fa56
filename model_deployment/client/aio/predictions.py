"""The calls that predict, and send the ground truth of predictions."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Literal, overload

from model_deployment.client.aio.monitoring import LABELS_PER_CALL, AsyncMonitoring
from model_deployment.client.answers import Feedback, LabelIn, SeriesPrediction
from model_deployment.client.bodies import Body, bodies
from model_deployment.client.errors import Unreachable
from model_deployment.client.event_stream import EventReader
from model_deployment.client.exchange import data_of, is_event_stream, path
from model_deployment.client.feedback import added, chosen_labels
from model_deployment.client.plain import plain
from model_deployment.client.predictions import Predictions, prediction_request
from model_deployment.client.retries import Resend


class AsyncPredicting(AsyncMonitoring):
    """Predictions. ``name`` is ``<model>-<version>``, an endpoint's ``<model>@<alias>``, or ``<model>`` for
    the default endpoint.
    """

    async def predict(
        self,
        name: str,
        data: Any,
        *,
        params: Mapping[str, Any] | None = None,
        rows_per_request: int | None = None,
        request_id: str | None = None,
        route_key: str | None = None,
        content_type: str | None = None,
        timeout: float | None = None,
    ) -> Predictions:
        """Predict with a deployment or an endpoint.

        Args:
            data: a data frame of pandas or a row of one, records, one record, an array, a body in MLflow's
                forms as a dict, or any body as text or bytes with its ``content_type`` (JSON by default).
            params: of the model's signature.
            rows_per_request: send that many rows at a time. For inputs larger than the controller accepts
                (10 MiB by default), and only for models whose predictions do not depend on the other rows.
            request_id: instead of one that the controller makes.
            route_key: requests with the same key meet the same version during a rollout.
            timeout: seconds, instead of the client's.

        Raises:
            Unsendable: the data cannot be written as a request; nothing was sent.
            ApiError: 404 not deployed; 422 the rows do not fit the signature, and ``errors`` says where;
                429 too many requests wait; 502 the model failed; 503 it is not ready; 504 it took too
                long.
            Unreachable: no answer came.
        """
        made = []
        sent = list(
            bodies(data, params, content_type=content_type, rows_per_request=rows_per_request)
        )
        for number, body in enumerate(sent):
            id = f"{request_id}-{number}" if request_id and len(sent) > 1 else request_id
            answer = await self.request(
                "POST",
                path("/{}", name),
                content=body.content,
                headers=_headers(body, id, route_key),
                timeout=timeout,
                resend=Resend.REFUSED,
            )
            data_of(answer)
            made.append(prediction_request(answer.content, answer.headers, body.rows))
        return Predictions(name, tuple(made), data.index if _is_table(data) else None)

    async def stream(
        self,
        name: str,
        data: Mapping[str, Any],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Events of a model that streams, as they come; close the generator to stop the model.

        The answer of a model that cannot stream is the only event.

        Args:
            data: the body, such as ``{"messages": [...]}`` or ``{"input": [...]}``; ``"stream": true`` is
                added.

        Raises:
            StreamFailed: the model failed on the way.
            ApiError, Unreachable: as :meth:`predict`.
        """
        async for event in self._events(path("/{}", name), data, request_id, timeout):
            yield event

    @overload
    async def chat(
        self,
        name: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        stream: Literal[False] = False,
        **more: Any,
    ) -> dict[str, Any]: ...
    @overload
    async def chat(
        self,
        name: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        stream: Literal[True],
        **more: Any,
    ) -> AsyncGenerator[Any, None]: ...
    async def chat(
        self,
        name: str,
        messages: Sequence[Mapping[str, Any]],
        *,
        stream: bool = False,
        **more: Any,
    ) -> Any:
        """Ask a chat model or agent, by ``POST /v1/chat/completions``: the answer, or its events.

        Args:
            messages: such as ``[{"role": "user", "content": "..."}]``.
            more: further members of the body, such as ``temperature``.

        Raises: as :meth:`stream`.
        """
        body = {"model": name, "messages": [*messages], **more}
        return await self._ask("/v1/chat/completions", body, stream)

    async def respond(self, name: str, input: Any, *, stream: bool = False, **more: Any) -> Any:
        """Ask an agent, by ``POST /v1/responses``: the answer, or with ``stream`` its events.

        Raises: as :meth:`stream`.
        """
        return await self._ask("/v1/responses", {"model": name, "input": input, **more}, stream)

    async def chat_models(self) -> list[dict[str, Any]]:
        """Deployments and endpoints that :meth:`chat` and :meth:`respond` may name, in OpenAI's form."""
        found: dict[str, Any] = await self.data("GET", "/v1/models")
        return list(found["data"])

    async def predict_timeseries(
        self,
        values: Iterable[float],
        steps: int | None = None,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> SeriesPrediction:
        """Predict the next values of a time series with the endpoint that is set for it.

        Args:
            values: the last values, the oldest first; a list, or a series of pandas or an array.
            steps: values to predict. Default: all that the model can.

        Raises:
            ApiError: 404 no endpoint is set; 422 not as many values as the model takes, or steps out of
                range, and ``errors`` says what is allowed; others as :meth:`predict`.
            Unreachable: no answer came.
        """
        body: dict[str, Any] = {"input_data": [*values]}
        if steps is not None:
            body["prediction_step"] = steps
        found: SeriesPrediction = await self.data(
            "POST",
            "/predict_timeseries",
            json=plain(body),
            headers=_request_id(request_id),
            timeout=timeout,
            resend=Resend.REFUSED,
        )
        return found

    async def feedback(
        self,
        name: str,
        predictions: Predictions | str | Iterable[LabelIn],
        truth: Iterable[Any] | None = None,
    ) -> Feedback:
        """Store the ground truth of predictions; again is the same as once.

        Args:
            predictions: what :meth:`predict` returned, the id of a request, or a list of
                ``{"request_id": ..., "row": ..., "label": ...}``, which contains the labels itself.
            truth: the true outcome of each row, in order; a series of pandas is matched by its index. Rows
                whose label is missing are left out.

        Returns:
            Counts of what became of the labels, and the metrics with them.

        Raises:
            Unsendable: there are not as many labels as predictions.
            ApiError, Unreachable: the labels of earlier calls, 10,000 each, are stored.
        """
        labels = chosen_labels(predictions, truth)
        found = await self.send_labels(name, labels[:LABELS_PER_CALL])
        for start in range(LABELS_PER_CALL, len(labels), LABELS_PER_CALL):
            part = labels[start : start + LABELS_PER_CALL]
            found = added(found, await self.send_labels(name, part))
        return found

    async def _ask(self, where: str, body: Mapping[str, Any], stream: bool) -> Any:
        if stream:
            return self._events(where, body, None, None)
        return await self.data("POST", where, json=plain(body), resend=Resend.REFUSED)

    async def _events(
        self,
        where: str,
        data: Mapping[str, Any],
        request_id: str | None,
        timeout: float | None,
    ) -> AsyncGenerator[Any, None]:
        reader = EventReader()
        body = {**plain(data), "stream": True}
        headers = {"Accept": "text/event-stream"} | _request_id(request_id)
        opened = self.open("POST", where, json=body, headers=headers, timeout=timeout)
        async with opened as answer:
            if not is_event_stream(answer):  # of a model that cannot stream
                await answer.aread()
                yield data_of(answer)
                return
            async for line in answer.aiter_lines():
                for event in reader.events(line):
                    yield event
                if reader.done:
                    return
            for event in reader.end():
                yield event
            if not reader.complete:
                raise Unreachable(f"the stream of {self.url}{where} ended early")


def _headers(body: Body, request_id: str | None, route_key: str | None) -> dict[str, str]:
    headers = {"Content-Type": body.content_type} | _request_id(request_id)
    return headers if route_key is None else headers | {"X-Route-Key": route_key}


def _request_id(request_id: str | None) -> dict[str, str]:
    return {"X-Request-Id": request_id} if request_id else {}


def _is_table(data: Any) -> bool:
    return hasattr(data, "iloc") and hasattr(data, "columns")
