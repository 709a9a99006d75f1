"""Bedrock behind the gateway without AWS: botocore checks each request against the service's own model, and plays the answers."""

import json

import pytest

pytest.importorskip("boto3", reason="needs the extra bedrock")

from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from botocore.stub import Stubber

from src.core.errors import MlxError
from src.serve.engines.bedrock import BedrockEngine
from src.serve.engines.breaker import Breaker
from src.serve.gateway.gateway import Gateway
from src.serve.gateway.model import Model

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
LAMP = {"type": "function", "function": {"name": "set_lamp", "description": "Light it.", "parameters": {"type": "object"}}}
USE = {"toolUseId": "t1", "name": "set_lamp", "input": {"state": "on"}}


WORDS = (
    "User: arn:aws:iam::123456789012:user/ann with key AKIA1234567890ABCDEF may not: the input is too long for "
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/x (account 123456789012)"
)
"""What AWS says in its errors: whose account it is."""


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


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("ThrottlingException", 429, "upstream_busy"),
        ("ServiceQuotaExceededException", 429, "upstream_busy"),
        ("ServiceUnavailableException", 503, "upstream_error"),
        ("InternalFailure", 502, "upstream_error"),
        ("AccessDeniedException", 502, "upstream_error"),
        ("MissingAuthenticationToken", 502, "upstream_error"),
        ("ResourceNotFoundException", 502, "upstream_error"),
        ("ValidationException", 400, None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_refusals_are_told_and_tried_again_where_that_helps(web, served, engine, code, status, told, stream):
    http = {"InternalFailure": 500, "MissingAuthenticationToken": 403}.get(code, 400)
    for _ in range(1 if status == 400 else 2):
        engine.stub.add_client_error("converse_stream" if stream else "converse", code, WORDS, http_status_code=http)
    found, headers, body = web.ask(served, chat(stream=stream))
    assert (found, body["error"]["code"]) == (status, told)
    assert status == 400 or headers["x-mlx-tries"] == "2"
    assert (headers["retry-after"] == "5") if status in (429, 503) else headers["retry-after"] is None
    assert not any(each in json.dumps(body) for each in ("123456789012", "arn:", "AKIA", "secret-123456"))
    assert status != 400 or "too long" in body["error"]["message"]
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


def test_when_to_come_again_is_as_aws_says(web, served, engine):
    engine.stub.add_client_error("converse", "ThrottlingException", response_meta={"HTTPHeaders": {"retry-after": "17"}})
    status, headers, _ = web.ask(served, chat())
    assert (status, headers["retry-after"], headers["x-mlx-tries"]) == (429, "17", "1"), "nobody waits that long here"


def test_a_region_is_needed(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(MlxError, match="no region is set"):
        BedrockEngine(type="bedrock", model="m").open(None, name="x", max_new_tokens=None, log=None)
    with pytest.raises(MlxError, match="profile"):
        BedrockEngine(type="bedrock", model="m", profile="nobody").open(None, name="x", max_new_tokens=None, log=None)
