"""Passes a stream of a model on to its caller: frame by frame, as they come."""

from collections.abc import Callable

from model_deployment.proxy.answers import UpstreamAnswer
from model_deployment.proxy.caller_request import CallerRequest
from model_deployment.proxy.headers import RawHeader
from model_deployment.proxy.held_bytes import RELAYED, SMALL
from model_deployment.proxy.joined_answer import joined
from model_deployment.proxy.model_connection import AnswerTooLarge, BrokenAnswer, ModelConnection
from model_deployment.worker.failure_header import FAULT
from model_deployment.worker.stream_frames import DONE, END, read_failure

_DONE = DONE.removesuffix(END)
#: A gateway must not hold frames back.
_UNBUFFERED: tuple[RawHeader, ...] = (
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class StreamFailed(Exception):
    """The stream has ended with a failure."""

    def __init__(self, answer: UpstreamAnswer) -> None:
        """``answer``: what it would have been, had nothing been sent yet."""
        super().__init__(answer.status)
        self.answer = answer


class FrameReader:
    """Takes a stream of bytes apart."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def held(self) -> int:
        """Bytes of a frame whose end has not come."""
        return len(self._held)

    def feed(self, piece: bytes) -> list[bytes]:
        """The frames that are complete, without their ends."""
        seen = max(0, len(self._held) - len(END) + 1)
        self._held += piece
        last = self._held.rfind(END, seen)
        if last < 0:
            return []
        whole = bytes(self._held[:last])
        del self._held[: last + len(END)]
        return whole.split(END)


class StreamRelay:
    """One stream, from the head of its answer to its end."""

    def __init__(
        self,
        request: CallerRequest,
        timeout: float,
        *,
        kept_bytes: int,
        hold: Callable[[int], None] = lambda size: None,
    ) -> None:
        """
        Args:
            timeout: seconds the caller may accept nothing.
            kept_bytes: bytes up to which the values are kept for :meth:`joined`.
            hold: counts at least so many bytes for the stream; may raise TooManyBodies.
        """
        self._request = request
        self._timeout = timeout
        self._kept_bytes = kept_bytes
        self._hold = hold
        self._kept: list[bytes] = []
        self._size = 0
        self._reader = FrameReader()

    async def run(self, answer: ModelConnection, raw: list[RawHeader], *, longest: int) -> None:
        """Pass on all frames but the last one.

        Args:
            raw: the headers of the answer.
            longest: bytes that a frame may have.

        Raises:
            StreamFailed: the model raised an exception, or yields nothing any more.
            BrokenAnswer, AnswerTooLarge, TimeoutError: the stream has no end.
            TooManyBodies: other answers take too many bytes.
            CallerGone: the caller has left.
        """
        request = self._request
        await request.accepted(self._timeout)
        ours = {name for name, _ in _UNBUFFERED}
        theirs = [header for header in raw if header[0] not in ours]
        request.begin(answer.status, [*theirs, *_UNBUFFERED])
        complete = False
        async for piece in answer.pieces():
            frames = self._reader.feed(piece)
            if self._reader.held > longest:
                raise AnswerTooLarge
            if self._reader.held > SMALL or request.backed_up:
                self._hold(max(self._reader.held, RELAYED))
            failure = read_failure(frames[-1]) if frames else None
            complete = bool(frames) and frames[-1] == _DONE
            if failure or complete:
                frames.pop()
            if frames:
                self._keep(frames)
                if written := request.dialect.frames(frames):
                    request.send(written)
            if failure:
                status, content, fault = failure
                raise StreamFailed(UpstreamAnswer(status, [(FAULT, fault)], content))
            await request.accepted(self._timeout)
        if not complete:
            raise BrokenAnswer("the stream has no end")

    @property
    def unkept(self) -> int:
        """Bytes of a stream that was too long to be kept, else 0."""
        return self._size if self._size > self._kept_bytes else 0

    def joined(self) -> bytes:
        """The answer as one body; empty if it was too long to be kept."""
        return b"" if self.unkept else joined(self._kept)

    def _keep(self, frames: list[bytes]) -> None:
        self._size += sum(map(len, frames))
        if self._size <= self._kept_bytes:
            self._kept += frames
        else:
            self._kept.clear()
