"""Bedrock behind the gateway without AWS: botocore checks each request against the service's own model, and plays the answers."""

import json

import pytest

pytest.importorskip("boto3", reason="needs the extra bedrock")

from botocore.exceptions import EndpointConnectionError, EventStreamError, NoCredentialsError, ReadTimeoutError
from botocore.stub import Stubber

from src.core.errors import MlxError
from src.serve.engines.bedrock import BedrockEngine
from src.serve.engines.breaker import Breaker
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LAMP = {"type": "function", "function": {"name": "set_lamp", "description": "Light it.", "parameters": {"type": "object"}}}
USE = {"toolUseId": "t1", "name": "set_lamp", "input": {"state": "on"}}


def answered(*blocks, stop="end_turn"):
    return {
        "output": {"message": {"role": "assistant", "content": list(blocks) or [{"text": "well"}]}},
        "stopReason": stop,
        "usage": {"inputTokens": 7, "outputTokens": 1, "totalTokens": 8},
        "metrics": {"latencyMs": 3},
    }


@pytest.fixture(scope="module")
def claude():
    """An engine with keys that nobody takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIA123456")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret-123456")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.delenv("AWS_PROFILE", raising=False)
        part = BedrockEngine(type="bedrock", model="m", region="us-east-1", retries=1)
        yield part.open(None, name="claude", max_new_tokens=50, log=None)


@pytest.fixture(scope="module")
def served(web, claude):
    with web.running(Gateway({"claude": Model("claude", claude)})) as address:
        yield address


@pytest.fixture
def engine(claude):
    claude.breaker = Breaker(claude.part.failures, claude.part.rest)
    with Stubber(claude.sdk) as claude.stub:
        yield claude


def chat(text="how is it?", **more):
    return {"model": "claude", "messages": [{"role": "user", "content": text}], **more}


def sent(*messages, **more):
    said = list(messages) or [{"role": "user", "content": [{"text": "how is it?"}]}]
    return {"modelId": "m", "messages": said, "inferenceConfig": {"maxTokens": 50}, **more}


def test_an_answer_in_openais_form(web, served, engine):
    engine.stub.add_response("converse", answered(), sent(inferenceConfig={"maxTokens": 5, "temperature": 0.5, "stopSequences": ["END"]}))
    status, _, body = web.ask(served, chat(max_tokens=5, temperature=0.5, stop="END"))
    assert status == 200
    assert body["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "well", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm."}}}
    engine.stub.add_response("converse", answered(thought, {"text": "a"}, stop="max_tokens"), sent())
    body = web.ask(served, chat())[2]
    assert body["choices"][0]["message"]["reasoning_content"] == "Hm."
    assert body["choices"][0]["finish_reason"] == "length"


def test_a_whole_conversation_with_tools_and_images_becomes_turns(web, served, engine):
    call = {"id": "t1", "type": "function", "function": {"name": "set_lamp", "arguments": '{"state": "on"}'}}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "This?"}, image]},
        {"role": "user", "content": "And the lamp"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "done"},
        {"role": "user", "content": "Thanks"},
    ]
    shown = engine.stub.add_response  # the service's model is checked as well as ours
    import base64

    shown(
        "converse",
        answered({"toolUse": USE}, stop="tool_use"),
        sent(
            {
                "role": "user",
                "content": [
                    {"text": "This?"},
                    {"image": {"format": "png", "source": {"bytes": base64.b64decode(PIXEL)}}},
                    {"text": "And the lamp"},
                ],
            },
            {"role": "assistant", "content": [{"toolUse": USE}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "done"}]}}, {"text": "Thanks"}]},
            system=[{"text": "Be brief."}],
            toolConfig={
                "tools": [{"toolSpec": {"name": "set_lamp", "description": "Light it.", "inputSchema": {"json": {"type": "object"}}}}],
                "toolChoice": {"any": {}},
            },
        ),
    )
    status, _, body = web.ask(served, {"model": "claude", "messages": messages, "tools": [LAMP], "tool_choice": "required"})
    assert status == 200
    assert body["choices"][0]["finish_reason"] == "tool_calls"
    [made] = body["choices"][0]["message"]["tool_calls"]
    assert (made["id"], json.loads(made["function"]["arguments"])) == ("t1", {"state": "on"})


def test_a_schema_and_a_tool_by_name_are_passed_on(web, served, engine):
    form = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type": "object"}', "name": "x"}}}}
    spec = {"toolSpec": {"name": "set_lamp", "description": "Light it.", "inputSchema": {"json": {"type": "object"}}}}
    config = {"tools": [spec], "toolChoice": {"tool": {"name": "set_lamp"}}}
    engine.stub.add_response("converse", answered({"text": "{}"}), sent(outputConfig=form, toolConfig=config))
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    choice = {"type": "function", "function": {"name": "set_lamp"}}
    assert web.ask(served, chat(response_format=asked, tools=[LAMP], tool_choice=choice))[0] == 200


class Stream:
    """botocore's stream of events."""

    def __init__(self, *events):
        self.events = events
        self.closed = False

    def __iter__(self):
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event

    def close(self):
        self.closed = True


def streaming(engine, monkeypatch, *events):
    stream = Stream(*events)
    monkeypatch.setattr(engine.sdk, "converse_stream", lambda **body: {"stream": stream}, raising=False)
    return stream


def delta(text, place=0):
    return {"contentBlockDelta": {"delta": {"text": text}, "contentBlockIndex": place}}


def test_a_stream_is_openais_events(web, served, engine, monkeypatch):
    stream = streaming(
        engine,
        monkeypatch,
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "Hm."}}, "contentBlockIndex": 0}},
        delta("All "),
        delta("well"),
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "t1", "name": "set_lamp"}}, "contentBlockIndex": 1}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": '{"state":'}}, "contentBlockIndex": 1}},
        {"contentBlockDelta": {"delta": {"toolUse": {"input": ' "on"}'}}, "contentBlockIndex": 1}},
        {"messageStop": {"stopReason": "tool_use"}},
        {"metadata": {"usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}, "metrics": {"latencyMs": 1}}},
    )
    events = web.events(web.ask(served, chat(stream=True, stream_options={"include_usage": True}))[2])
    deltas = [each["choices"][0]["delta"] for each in events if each["choices"]]
    assert "".join(each.get("content") or "" for each in deltas) == "All well"
    calls = [each["tool_calls"][0] for each in deltas if "tool_calls" in each]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("t1", "set_lamp")
    assert json.loads("".join(each["function"]["arguments"] for each in calls)) == {"state": "on"}
    assert events[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert events[-1]["usage"]["total_tokens"] == 9
    web.until(lambda: stream.closed and engine.inflight == 0)


def test_a_stream_that_breaks_off_says_so_and_is_closed(web, served, engine, monkeypatch):
    error = EventStreamError({"Error": {"Code": "modelStreamErrorException", "Message": "oh"}}, "ConverseStream")
    stream = streaming(engine, monkeypatch, {"messageStart": {"role": "assistant"}}, delta("All "), error)
    text = web.ask(served, chat(stream=True))[2]
    assert "upstream_broke_off" in text
    assert "[DONE]" not in text
    web.until(lambda: stream.closed and engine.inflight == 0)
    streaming(engine, monkeypatch, {"messageStart": {"role": "assistant"}}, delta("All "))
    assert "ended before its end" in web.ask(served, chat(stream=True))[2]


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("ThrottlingException", 429, "upstream_busy"),
        ("ServiceUnavailableException", 503, "upstream_error"),
        ("AccessDeniedException", 502, "upstream_error"),
        ("ResourceNotFoundException", 502, "upstream_error"),
        ("ValidationException", 400, None),
    ],
)
def test_refusals_are_told_and_tried_again_where_that_helps(web, served, engine, code, status, told):
    for _ in range(1 if status == 400 else 2):
        engine.stub.add_client_error("converse", code, "words of AWS", http_status_code=400)
    found, headers, body = web.ask(served, chat())
    assert (found, body["error"]["code"]) == (status, told)
    assert status == 400 or headers["x-mlx-tries"] == "2"
    engine.stub.assert_no_pending_responses()
    engine.stub.add_response("converse", answered(), sent())
    assert web.ask(served, chat())[0] == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NoCredentialsError(), 502),
        (ReadTimeoutError(endpoint_url="https://aws"), 504),
        (EndpointConnectionError(endpoint_url="https://aws"), 503),
    ],
)
def test_without_aws_the_next_model_may_answer(web, served, engine, monkeypatch, error, status):
    def fail(**body):
        raise error

    monkeypatch.setattr(engine.sdk, "converse", fail, raising=False)
    assert web.ask(served, chat())[0] == status


@pytest.mark.parametrize(
    "more",
    [
        {"seed": 4},
        {"logprobs": True},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/x.png"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
    ],
)
def test_what_converse_has_not_is_refused_and_not_left_out(web, served, more):
    assert web.ask(served, {**chat(), **more})[0] == 400


def test_more_than_its_threads_are_sent_away(web, served, engine):
    engine.inflight = engine.part.max_inflight
    assert web.ask(served, chat())[2]["error"]["code"] == "overloaded"
    engine.inflight = 0
    engine.breaker.failed(30)
    assert engine.state == "resting"
    assert web.ask(served, chat())[2]["error"]["code"] == "engine_unavailable"


def test_a_region_is_needed(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MlxError, match="no region is set"):
        BedrockEngine(type="bedrock", model="m").open(None, name="x", max_new_tokens=None, log=None)
    with pytest.raises(MlxError, match="profile"):
        BedrockEngine(type="bedrock", model="m", profile="nobody").open(None, name="x", max_new_tokens=None, log=None)
