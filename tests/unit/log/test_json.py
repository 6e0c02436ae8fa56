"""Logs as JSON: one event is one line of ASCII, whatever it says, and no password is in it."""

import io
import json
import logging
import re
import sys
import time
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_deployment.log.lines import JsonFormatter, LineFormatter, adopt, configure, shorten
from model_deployment.log.masking import mask
from tests.support.loggers import restored


def written(formatter: logging.Formatter, message: str, *args: object, **fields: Any) -> str:
    """One event, as it is written."""
    logger, stream = logging.Logger("model_deployment.test"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    exc_info = fields.pop("exc_info", None)
    logger.warning(message, *args, extra=fields, exc_info=exc_info)
    return stream.getvalue()


def event(message: str, *args: object, **fields: Any) -> dict[str, Any]:
    """One event, as it is read."""
    line = written(JsonFormatter(), message, *args, **fields)
    assert line.count("\n") == 1
    assert line.isascii()
    assert line.removesuffix("\n").isprintable()
    found: dict[str, Any] = json.loads(line)
    return found


def raised(error: Exception) -> Any:
    try:
        raise error
    except Exception:
        return sys.exc_info()


def test_an_event_names_time_level_logger_and_what_it_is_about() -> None:
    found = event("%s -> %s", "a", "b", model="m", version=3, launch_id="l", request_id="r")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found.pop("timestamp"))
    assert found == {
        "level": "WARNING",
        "logger": "model_deployment.test",
        "message": "a -> b",
        "model": "m",
        "version": 3,
        "launch_id": "l",
        "request_id": "r",
    }


def test_json_leaves_out_unknown_and_empty_fields() -> None:
    found = event("x", model="", user=None, websocket=object(), color_message="y")
    assert set(found) == {"timestamp", "level", "logger", "message"}


def test_an_exception_is_one_field() -> None:
    found = event("failed", exc_info=raised(ValueError("a\nb\x1b[2J")))
    assert found["exception"].startswith("Traceback (most recent call last):\n")
    assert found["exception"].endswith("ValueError: a\nb\x1b[2J")


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_comes_back_from_its_one_line(message: str, model: str) -> None:
    found = event("%s", message, model=model, exc_info=raised(ValueError(message)))
    assert found["message"] == mask(message)
    assert found.get("model", "") == mask(model)
    assert isinstance(found["exception"], str)


def test_fields_messages_and_traces_are_cut() -> None:
    long = "x" * 1_000_000
    found = event(long, model=long, exc_info=raised(ValueError(long)))
    assert len(found["model"]) < 300
    assert len(found["message"]) < 8300
    assert len(found["exception"]) < 16500
    assert found["exception"].startswith("Traceback")
    assert len(written(LineFormatter(), long, model=long)) < 9000


def test_the_end_of_what_is_cut_is_shown() -> None:
    assert shorten("abc", 3) == "abc"
    assert shorten("abcdefgh", 4) == "ab...[4 characters]...gh"


SECRET = "c4naryS3cret"
WITH_SECRETS = [
    f"mongodb://user:{SECRET}@h1:27017,h2:27017/db?x=1",
    f"cannot reach https://user:{SECRET}@mlflow.example/api",
    f"https://{SECRET}@github.example/a/b",
    f"postgresql+psycopg2://u:p@ss/{SECRET}@db/x",
    f"redis://:{SECRET}@h/0",
    f"Authorization: Basic {SECRET}==",
    f"{{'Authorization': 'Bearer {SECRET}'}}",
    f"[(b'authorization', b'Basic {SECRET}')]",
    f"sent Bearer {SECRET} there",
    f"https://s3.example/a?X-Amz-Signature={SECRET}&b=1",
    f"host=h password={SECRET} user=u",
    f'{{"password": "{SECRET}"}}',
    f"MONGO_PASSWORD={SECRET}",
]


@pytest.mark.parametrize("text", WITH_SECRETS)
def test_no_secret_is_written_in_either_form(text: str) -> None:
    for formatter in (JsonFormatter(), LineFormatter()):
        line = written(
            formatter, "at %s", text, model=text, user=text, exc_info=raised(ValueError(text))
        )
        assert SECRET not in line
        assert "***" in line


@pytest.mark.parametrize(
    "text",
    [
        "model_deployment on http://127.0.0.1:8000 (open it in a browser; the API: http://127.0.0.1:8000/docs)",
        "http://127.0.0.1:8000/model/a?note=b@c",
        "GET http://[::1]:8000/x, mail a@b.example",
        "mongodb://h1:27017,h2:27017/db",
        "cannot read the signature of m-1: Unexpected token: it is Basic arithmetic",
        "sqlite:////data/mlflow.db and file:///a@b",
    ],
)
def test_masking_keeps_plain_text(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    "piece", ["://a:", "password", "Basic a", "authorization ", "://", "a@", "=' "]
)
def test_masking_is_fast_for_any_text(piece: str) -> None:
    began = time.process_time()
    mask(piece * 20_000)
    assert time.process_time() - began < 2


def test_a_stream_that_is_no_terminal_gets_json(capsys: pytest.CaptureFixture[str]) -> None:
    with restored("lib"):
        logging.getLogger("lib").handlers = [logging.StreamHandler()]
        assert configure("INFO")
        adopt("lib")
        logging.getLogger("model_deployment.x").info("ours")
        logging.getLogger("model_deployment.x").debug("too much")
        logging.getLogger("uvicorn.error").error("trouble")
        logging.getLogger("asyncio").error("never retrieved")
        logging.getLogger("lib").warning("theirs")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("odd", stacklevel=1)
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["message"] for event in events][:-1] == [
        "ours",
        "trouble",
        "never retrieved",
        "theirs",
    ]
    assert "odd" in events[-1]["message"]


def test_a_terminal_gets_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with restored():
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert not configure("INFO")
        logging.getLogger("model_deployment.x").info("ours")
        assert capsys.readouterr().err.endswith("INFO model_deployment.x: ours\n")
        assert configure("INFO", "json")


def test_what_an_endpoint_does_names_it() -> None:
    assert event("promoted", endpoint="m@live", version=2)["endpoint"] == "m@live"
    assert "endpoint=m@live version=2" in written(
        LineFormatter(), "promoted", endpoint="m@live", version=2
    )
