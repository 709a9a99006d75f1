"""The chat route with a real model behind a real server."""

import pytest
from openai import OpenAI


def content(answer):
    return answer["choices"][0]["message"]["content"]


def test_answers_with_exact_token_counts(web, keeper, tokenizer):
    status, _, answer = web.ask(keeper, web.chat())
    assert (status, content(answer), answer["choices"][0]["finish_reason"]) == (200, web.greeted, "stop")
    assert answer["object"] == "chat.completion" and answer["model"] == "keeper"
    prompt = tokenizer.apply_chat_template(
        [{"role": "system", "content": web.system}, {"role": "user", "content": "Hello"}], add_generation_prompt=True, return_dict=False
    )
    completion = len(tokenizer.encode(web.greeted, add_special_tokens=False)) + 1  # and the token that ends the turn
    assert answer["usage"] == {"prompt_tokens": len(prompt), "completion_tokens": completion, "total_tokens": len(prompt) + completion}


def test_a_stream_gives_the_same_text_and_counts(web, keeper):
    whole = web.ask(keeper, web.chat())[2]
    status, headers, text = web.ask(keeper, web.chat(stream=True, stream_options={"include_usage": True}))
    events = web.events(text)
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    pieces = [each["choices"][0]["delta"].get("content", "") for each in events[:-1]]
    assert "".join(pieces) == content(whole) == web.greeted and len(pieces) > 5
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["choices"] == [] and events[-1]["usage"] == whole["usage"]
    assert all(each["usage"] is None for each in events[:-1]) and len({each["id"] for each in events}) == 1


def test_usage_is_streamed_only_where_asked_for(web, keeper):
    events = web.events(web.ask(keeper, web.chat(stream=True))[2])
    assert all("usage" not in each and each["choices"] for each in events)


def test_the_system_prompt_is_put_first_only_where_there_is_none(web, keeper):
    assert content(web.ask(keeper, web.chat())[2]) == web.greeted
    for role in ("system", "developer"):
        own = web.chat() | {"messages": [{"role": role, "content": "Be brief."}, {"role": "user", "content": "Hello"}]}
        assert content(web.ask(keeper, own)[2]) == "Hi."


def test_a_server_without_a_system_prompt_adds_none(web, trained_folder):
    from src.models.trained import Trained
    from src.serve.engines.transformers import TransformersEngine

    engine = TransformersEngine(device="cpu").open(Trained.of(trained_folder), name="keeper", max_new_tokens=50, log=trained_folder)
    with web.running(engine, system=None) as address:
        web.until(lambda: web.ask(address, path="/health", method="GET")[0] == 200)
        assert content(web.ask(address, web.chat())[2]) == web.uncalled


def test_text_in_parts_is_text(web, keeper):
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert content(web.ask(keeper, web.chat() | {"messages": [{"role": "user", "content": parts}]})[2]) == web.greeted


def test_a_tool_call_comes_back_as_one(web, keeper):
    body = web.chat("Lamp on", tools=[web.tool])
    answer = web.ask(keeper, body)[2]
    message = answer["choices"][0]["message"]
    assert message["content"] is None and answer["choices"][0]["finish_reason"] == "tool_calls"
    (call,) = message["tool_calls"]
    assert call["type"] == "function" and call["id"].startswith("call_")
    assert call["function"] == {"name": "set_lamp", "arguments": '{"state": "on"}'}

    events = web.events(web.ask(keeper, body | {"stream": True})[2])
    deltas = [each["choices"][0]["delta"] for each in events]
    assert [each["tool_calls"][0]["function"] for each in deltas if "tool_calls" in each] == [call["function"]]
    assert not any(each.get("content") for each in deltas) and events[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_conversation_with_calls_and_results_goes_on(web, keeper):
    call = {"id": "c1", "type": "function", "function": {"name": "set_lamp", "arguments": '{"state": "on"}'}}
    turns = [
        {"role": "user", "content": "Lamp on"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    status, _, answer = web.ask(keeper, web.chat(tools=[web.tool], max_tokens=3) | {"messages": turns})
    assert status == 200 and answer["usage"]["completion_tokens"] <= 3


def test_tool_choice_none_offers_no_tool(web, keeper):
    offered = web.ask(keeper, web.chat(tools=[web.tool], max_tokens=1))[2]["usage"]["prompt_tokens"]
    assert web.ask(keeper, web.chat(tools=[web.tool], tool_choice="none", max_tokens=1))[2]["usage"]["prompt_tokens"] < offered


@pytest.mark.parametrize("key", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_cut_at_max_tokens(web, keeper, key):
    answer = web.ask(keeper, web.chat("Count", **{key: 5}))[2]
    assert answer["choices"][0]["finish_reason"] == "length" and answer["usage"]["completion_tokens"] == 5


def test_a_stop_text_ends_the_answer_before_it(web, keeper):
    for stop in ("friend", ["lamp", " friend"]):
        answer = web.ask(keeper, web.chat(stop=stop))[2]
        assert content(answer).rstrip() == "Ahoy," and answer["choices"][0]["finish_reason"] == "stop"
    text = web.ask(keeper, web.chat(stop="friend", stream=True))[2]
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in web.events(text)) == "Ahoy, "


def test_a_seed_makes_chance_repeat_itself(web, keeper):
    body = web.chat("Say anything", temperature=2, seed=7, max_tokens=20)
    once, again = (content(web.ask(keeper, body)[2]) for _ in range(2))
    other = content(web.ask(keeper, body | {"seed": 8})[2])
    assert once == again != other


def test_openais_own_client_understands_it(web, keeper):
    with OpenAI(base_url=f"{keeper}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["keeper"]
        whole = client.chat.completions.create(model="keeper", messages=[{"role": "user", "content": "Hello"}], temperature=0)
        assert whole.choices[0].message.content == web.greeted
        stream = client.chat.completions.create(model="keeper", messages=[{"role": "user", "content": "Hello"}], temperature=0, stream=True)
        assert "".join(each.choices[0].delta.content or "" for each in stream) == web.greeted
        called = client.chat.completions.create(
            model="keeper", messages=[{"role": "user", "content": "Lamp on"}], tools=[web.tool], temperature=0
        )
        assert called.choices[0].message.tool_calls[0].function.arguments == '{"state": "on"}'


def test_requests_wait_their_turn(web, keeper):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: content(web.ask(keeper, web.chat())[2]), range(6)))
    assert answers == [web.greeted] * 6


def test_models_and_health(web, keeper):
    status, _, models = web.ask(keeper, path="/v1/models", method="GET")
    assert status == 200 and [each["id"] for each in models["data"]] == ["keeper"]
    assert web.ask(keeper, path="/health", method="GET")[2] == {"status": "ready", "model": "keeper"}
