"""A client of the command line whose calls answer what a test gives them."""

from typing import Any

from model_deployment.core.options import Options

AT = "2026-01-31T12:00:00Z"
#: A deployment as a controller lists it.
DEPLOYED: dict[str, Any] = {
    "name": "wine-1", "model": "wine", "version": 1, "state": "ready", "reason": "healthy",
    "port": 8001, "restarts": 0, "ready_at": AT, "replacement": None,
    "options": Options(workers=2).as_dict(),
}  # fmt: skip


class Answering:
    """The client; a call without an answer is no attribute of it."""

    url = "http://test"

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in self.answers:
            raise AttributeError(name)

        def call(*arguments: Any, **named: Any) -> Any:
            self.asked.append((name, arguments))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call
