"""A connection to a model server: uvicorn's own, made to ignore offers to upgrade from HTTP/1.1."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from model_deployment.http.request_parsing import RequestParsing


class Connection(RequestParsing, HttpToolsProtocol):
    """The ``http`` argument of :class:`uvicorn.Config`."""

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        super().data_received(data)

    def begin_request(self) -> None:
        HttpToolsProtocol.on_headers_complete(self)

    def end_request(self) -> None:
        HttpToolsProtocol.on_message_complete(self)

    def send_400_response(self, msg: str) -> None:
        self.refuse_malformed()
