"""Bedrock without AWS: botocore checks each request against the service's own model, and plays the answers."""

import asyncio

import pytest

pytest.importorskip("boto3", reason="needs the extra bedrock")

from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from botocore.stub import Stubber

from src.core.errors import MlxError
from src.llm.bedrock import BedrockBackend
from src.llm.client import BackendError, Usage

ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "how is it?"}]
SENT = {
    "modelId": "m",
    "system": [{"text": "Be brief."}],
    "messages": [{"role": "user", "content": [{"text": "how is it?"}]}],
    "inferenceConfig": {"maxTokens": 5, "temperature": 0.0},
}
FORM = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type": "object"}', "name": "answer"}}}}


def answered(text="well", stop="end_turn"):
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": stop,
        "usage": {"inputTokens": 7, "outputTokens": 1, "totalTokens": 8},
        "metrics": {"latencyMs": 3},
    }


@pytest.fixture
def bedrock(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA123456")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-123456")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with BedrockBackend(model="m", region="us-east-1", max_retries=2).open() as client, Stubber(client.sdk) as stub:
        client.stub = stub
        yield client
        stub.assert_no_pending_responses()


def test_an_answer_comes_with_its_tokens(bedrock):
    bedrock.stub.add_response("converse", answered(), SENT)
    reply = bedrock.chat(ASK, max_tokens=5)
    assert (reply.text, reply.usage, reply.finish) == ("well", Usage(7, 1), "stop")
    bedrock.stub.add_response("converse", answered(stop="max_tokens"), {**SENT, "inferenceConfig": {"maxTokens": 5}})
    assert asyncio.run(bedrock.ask(ASK, max_tokens=5, temperature=None)).finish == "length"


def test_a_schema_is_sent_until_the_model_knows_none(bedrock):
    bedrock.stub.add_response("converse", answered("{}"), {**SENT, "outputConfig": FORM})
    assert bedrock.chat(ASK, max_tokens=5, schema={"type": "object"}).text == "{}"
    bedrock.stub.add_client_error("converse", "ValidationException", "outputConfig.textFormat is not supported by this model")
    bedrock.stub.add_response("converse", answered(), SENT)
    assert bedrock.chat(ASK, max_tokens=5, schema={"type": "object"}).text == "well"
    bedrock.stub.add_response("converse", answered(), SENT)
    assert bedrock.chat(ASK, max_tokens=5, schema={"type": "object"}).text == "well"


def test_a_busy_service_is_asked_again(bedrock):
    bedrock.stub.add_client_error("converse", "ThrottlingException", "too fast")
    bedrock.stub.add_client_error("converse", "ServiceUnavailableException", "later")
    bedrock.stub.add_response("converse", answered(), SENT)
    assert bedrock.chat(ASK, max_tokens=5).text == "well"


@pytest.mark.parametrize(
    ("code", "words", "flags"),
    [
        ("ThrottlingException", "too fast", (False, True, True, False)),
        ("ModelTimeoutException", "too fast", (False, True, False, False)),
        ("AccessDeniedException", "not allowed", (True, False, False, False)),
        ("ResourceNotFoundException", "no model 'm'", (True, False, False, False)),
        ("ValidationException", "ValidationException", (False, False, False, True)),
    ],
)
def test_a_refusal_says_what_it_means(bedrock, code, words, flags):
    bedrock.stub.add_client_error("converse", code, "too fast", response_meta={"HTTPHeaders": {"retry-after": "3"}})
    with pytest.raises(BackendError, match=words) as found:
        asyncio.run(bedrock.ask(ASK, max_tokens=5))
    error = found.value
    assert (error.final, error.transient, error.throttled, error.of_request) == flags


@pytest.mark.parametrize(
    ("raised", "words", "final"),
    [
        (NoCredentialsError(), "no credentials", True),
        (EndpointConnectionError(endpoint_url="https://x"), "cannot be reached", False),
        (ReadTimeoutError(endpoint_url="https://x"), "Read timeout", False),
    ],
)
def test_what_never_gets_there(bedrock, monkeypatch, raised, words, final):
    def converse(**_):
        raise raised

    monkeypatch.setattr(bedrock.sdk, "converse", converse)
    with pytest.raises(BackendError, match=words) as found:
        bedrock.chat(ASK, max_tokens=5)
    assert found.value.final is final


def test_without_a_region_or_the_extra(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    with pytest.raises(MlxError, match="no region is set"):
        BedrockBackend(model="m").open()
    with pytest.raises(MlxError, match="profile"):
        BedrockBackend(model="m", region="us-east-1", profile="nobody").open()
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    monkeypatch.delitem(__import__("sys").modules, "src.llm.bedrock_client", raising=False)
    with pytest.raises(MlxError, match="needs boto3") as found:
        BedrockBackend(model="m", region="us-east-1").open()
    assert "--extra bedrock" in found.value.hint
