"""OpenAI's own client, in front of MLflow's agents."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI

from model_deployment.core.endpoints import EndpointName, EndpointRoute
from model_deployment.core.names import ModelKey
from model_deployment.core.options import Options, Validation
from model_deployment.proxy.offload import LARGE
from model_deployment.proxy.openai import chat_dialect, paths
from model_deployment.recording.capture import decode
from model_deployment.recording.recorder import Recorder
from model_deployment.recording.spool import Spool, read, segments
from model_deployment.registry.mlmodel import MLmodelReader
from model_deployment.worker.streaming import Streaming
from tests.support.agent_scripts import CALL, MODELS, TOKENS
from tests.support.counting import LocalCounts
from tests.support.proxy_front import Front
from tests.support.raw_http import HOST, post
from tests.support.routes import ready_route
from tests.support.streaming_models import served

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # importing MLflow warns
    pytest.mark.asyncio(loop_scope="module"),
]

NAMES = [f"{name}-1" for name in MODELS]


@dataclass
class Chat:
    front: Front
    client: AsyncOpenAI
    spool: Path

    def captured(self) -> list[tuple[dict[str, Any], Any, Any]]:
        """Heads, bodies and answers of all captures."""
        found = [one for segment in segments(self.spool) for one in read(segment, 0)]
        parts = [part for one in found if (part := decode(one.payload))[1]]
        return [(head, json.loads(body), json.loads(answer)) for head, body, answer in parts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    import mlflow

    from tests.support.agents import save

    made = tmp_path_factory.mktemp("agents")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("none://")  # else it writes to the working directory
    mlflow.tracing.disable()
    save(made)
    yield made
    mlflow.set_tracking_uri(before)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chat(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chat]:
    import mlflow

    reader, counts = MLmodelReader(), LocalCounts()
    spool = Spool(tmp_path_factory.mktemp("spool"), max_bytes=10_000_000)
    spool.open()
    async with AsyncExitStack() as stack:
        routes = []
        for name in MODELS:
            model = mlflow.pyfunc.load_model(str(folder / name))
            server = await stack.enter_async_context(served(model))
            artifact = f"{name}-1700000000000"
            routes.append(ready_route(ModelKey(name, 1), name, server.port, artifact=artifact))
        front = await stack.enter_async_context(
            Front(
                server,  # type: ignore[arg-type]
                gates=lambda route: reader.gate(folder / route.key.model, Validation.STRICT),
                kinds=lambda route: reader.kind(folder / route.key.model),
                options=Options(),
                recorder=Recorder(spool, counts.traffic, counts.counters),
            )
        )
        endpoint = EndpointRoute(
            EndpointName("chats", "champion"), champion=ModelKey("chats", 1), default=True
        )
        front.routes.publish(routes, [endpoint])
        client = AsyncOpenAI(
            base_url=f"http://{HOST}:{front.port}/v1", api_key="any", max_retries=0
        )
        yield Chat(front, client, spool.root)
        await client.close()
    spool.close()


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize("model", NAMES)
async def test_a_chat_is_the_same_whole_and_in_chunks(chat: Chat, model: str) -> None:
    create: Any = chat.client.chat.completions.create
    whole = await create(model=model, **ask("to be or not"))
    assert whole.choices[0].message.content == "to be or not "
    assert (whole.model, whole.object, whole.choices[0].finish_reason) == (
        model, "chat.completion", "stop",
    )  # fmt: skip
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == TOKENS
    options = {"include_usage": True}
    stream = await create(model=model, stream=True, stream_options=options, **ask("to be or not"))
    chunks = [chunk async for chunk in stream]
    texts = [one.choices[0].delta.content for one in chunks if one.choices]
    assert [text for text in texts if text] == ["to ", "be ", "or ", "not "]
    assert {one.object for one in chunks} == {"chat.completion.chunk"}
    assert len({one.id for one in chunks}) == 1
    finished = [one.choices[0].finish_reason for one in chunks if one.choices]
    assert [reason for reason in finished if reason] == ["stop"]
    counted = [one.usage for one in chunks if one.usage]
    assert counted
    assert counted[-1].completion_tokens == TOKENS[1]


@pytest.mark.parametrize("model", NAMES)
async def test_a_response_is_the_same_whole_and_in_events(chat: Chat, model: str) -> None:
    whole = await chat.client.responses.create(model=model, input="to be or not")
    assert (whole.output_text, whole.status, whole.model) == ("to be or not ", "completed", model)
    assert whole.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == TOKENS
    kinds, text = [], ""
    async with chat.client.responses.stream(
        model=model, input=[{"role": "user", "content": "to be or not"}], instructions="be brief"
    ) as stream:
        async for event in stream:
            kinds.append(event.type)
            text += event.delta if event.type == "response.output_text.delta" else ""
        final = await stream.get_final_response()
    assert text == final.output_text == "to be or not "
    assert final.usage is not None
    assert final.usage.total_tokens == sum(TOKENS)
    assert kinds[:4] == [
        "response.created", "response.in_progress", "response.output_item.added",
        "response.content_part.added",
    ]  # fmt: skip
    assert kinds[-4:] == [
        "response.output_text.done", "response.content_part.done", "response.output_item.done",
        "response.completed",
    ]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", NAMES)
async def test_calls_of_tools_are_for_the_caller_unless_the_agent_made_them(
    chat: Chat, model: str, stream: bool
) -> None:
    async def said(text: str) -> tuple[list[Any], str, str | None]:
        create: Any = chat.client.chat.completions.create
        answer = await create(model=model, stream=stream, **ask(text))
        if not stream:
            (choice,) = answer.choices
            calls = [one.model_dump(exclude={"index"}) for one in choice.message.tool_calls or ()]
            return calls, choice.message.content or "", choice.finish_reason
        chunks = [one.choices[0] async for one in answer]
        calls = [
            call.model_dump(exclude={"index"})
            for one in chunks for call in one.delta.tool_calls or ()
        ]  # fmt: skip
        text = "".join(one.delta.content or "" for one in chunks)
        return calls, text, next(filter(None, (one.finish_reason for one in chunks)))

    calls, text, reason = await said("call")
    assert (calls, text, reason) == ([CALL], "", "tool_calls")
    if model != "model-1":
        assert await said("use") == ([], "found it ", "stop")
    response = await chat.client.responses.create(model=model, input="call")
    (item,) = [one for one in response.output if one.type == "function_call"]
    assert (item.name, item.arguments, item.call_id) == ("look", '{"x": 1}', "call-1")


@pytest.mark.parametrize("model", NAMES)
async def test_results_of_tools_reach_the_agent(chat: Chat, model: str) -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "call"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call-1", "content": "it is 1"},
        {"role": "user", "content": "and so"},
    ]
    create: Any = chat.client.chat.completions.create
    answer = await create(model=model, messages=messages)
    assert answer.choices[0].message.content == "and so "


@pytest.mark.parametrize("model", NAMES)
async def test_failures_have_openai_s_form_and_no_internals(chat: Chat, model: str) -> None:
    create: Any = chat.client.chat.completions.create
    with pytest.raises(openai.InternalServerError) as caught:
        await create(model=model, **ask("refuse"))
    assert caught.value.type == "server_error"
    assert "secret" not in str(caught.value)
    assert caught.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(openai.APIError, match="the model failed") as ended:
        [one async for one in await create(model=model, stream=True, **ask("fail"))]
    assert "secret" not in str(ended.value)
    stream = await chat.client.responses.create(model=model, input="fail", stream=True)
    events = [one async for one in stream]
    assert [one.type for one in events[-2:]] == ["error", "response.failed"]
    assert "the model failed" in str(events[-2])


async def test_what_cannot_be_asked_is_named(chat: Chat) -> None:
    create: Any = chat.client.chat.completions.create
    with pytest.raises(openai.NotFoundError) as missing:
        await create(model="gone-1", **ask("x"))
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as unknown:
        await create(model="chats-1", seed=1, **ask("x"))
    assert (unknown.value.code, unknown.value.param) == ("unsupported_parameter", "seed")
    picture = [{"type": "image_url", "image_url": {"url": "x"}}]
    for model in NAMES:
        with pytest.raises(openai.BadRequestError, match="texts only"):
            await create(model=model, messages=[{"role": "user", "content": picture}])
    with pytest.raises(openai.BadRequestError) as earlier:
        await chat.client.responses.create(model="chats-1", input="x", previous_response_id="y")
    assert earlier.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError, match="there are"):
        await chat.client.embeddings.create(model="chats-1", input="x")
    for body in (b"{", b"[]", b'{"model": 1}'):
        answer = await chat.front.ask(post(body, "/v1/chat/completions"))
        assert answer.status == 400
        assert json.loads(answer.body)["error"]["type"] == "invalid_request_error"


async def test_names_are_those_of_predictions_and_models_lists_them(chat: Chat) -> None:
    for name in ("chats", "chats@champion", "chats-1"):
        answer = await chat.client.chat.completions.create(model=name, **ask("hi"))
        assert (answer.model, answer.choices[0].message.content) == (name, "hi ")
    listed = [model.id async for model in chat.client.models.list()]
    assert listed == sorted([*NAMES, "chats", "chats@champion"])
    found = await chat.client.models.retrieve("chats@champion")
    assert (found.id, found.created) == ("chats@champion", 1_700_000_000)
    with pytest.raises(openai.NotFoundError):
        await chat.client.models.retrieve("gone")


async def test_captures_are_what_the_model_got_and_said(chat: Chat) -> None:
    before = len(chat.captured())
    raw = chat.client.chat.completions.with_raw_response
    answer = await raw.create(model="chats", stream=True, **ask("a b"))
    async for _ in answer.parse():
        pass
    head, body, said = chat.captured()[before]
    assert body == {"messages": [{"role": "user", "content": "a b"}], "stream": True}
    assert [one["content"] for one in said["messages"]] == ["a b "]
    assert head["request_id"] == answer.headers["x-request-id"]
    assert head["endpoint"] == "chats@champion"


@pytest.mark.parametrize("model", NAMES)
async def test_a_process_that_cannot_stream_is_heard_all_the_same(
    chat: Chat, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Streaming, "may_be_asked_by", lambda *_: False)  # as MLflow's own server
    create: Any = chat.client.chat.completions.create
    chunks = [one async for one in await create(model=model, stream=True, **ask("a b"))]
    assert "".join(one.choices[0].delta.content or "" for one in chunks) == "a b "
    assert chunks[-1].choices[0].finish_reason == "stop"
    async with chat.client.responses.stream(model=model, input="a b") as stream:
        assert (await stream.get_final_response()).output_text == "a b "


async def test_long_chats_do_not_hold_up_other_callers(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_thread: list[bool] = []
    for module, name in ((paths, "loads"), (paths, "dumps"), (chat_dialect, "parsed")):
        work = getattr(module, name)

        def noted(value: Any, work: Callable[[Any], Any] = work) -> Any:
            in_thread.append(threading.current_thread() is not threading.main_thread())
            return work(value)

        monkeypatch.setattr(module, name, noted)
    for text, expected in (("a", False), ("a" * LARGE, True)):
        in_thread.clear()
        answer = await chat.client.chat.completions.create(model="chats", **ask(text))
        assert answer.choices[0].message.content == f"{text} "
        assert in_thread == [expected] * 3


async def test_the_synchronous_client_too(chat: Chat) -> None:
    def run() -> tuple[str | None, str]:
        with OpenAI(base_url=str(chat.client.base_url), api_key="any", max_retries=0) as client:
            create = client.chat.completions.create
            whole = create(model="responses-1", **ask("hi"))
            stream = create(model="responses-1", stream=True, **ask("hi you"))
            return whole.choices[0].message.content, "".join(
                one.choices[0].delta.content or "" for one in stream
            )

    assert await asyncio.to_thread(run) == ("hi ", "hi you ")
