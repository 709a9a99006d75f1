"""No prompt is cut in silence: it fits, is shortened openly, or is refused with the numbers."""

import asyncio
import json

import pytest

from src.serve.engines.part import ModelPart
from src.serve.gateway.model import Model
from src.serve.parse import parse
from src.serve.request import EMBEDDINGS, UnavailableError
from src.serve.routing.budget import Budget
from src.serve.routing.estimate import PER_IMAGE, estimate
from src.serve.routing.tokens import Tokens

WORDS = "the lamp of the attic is on and the rain falls over Oslo today "


@pytest.fixture
def folder(tokenizer_of, tmp_path):
    tokenizer_of("qwen2_5").save_pretrained(tmp_path)
    return tmp_path


def model(context, folder=None, **more):
    return Model("fast", None, ModelPart(context=context, **more), tokenizer=folder)


def talk(turns, **more):
    messages = [{"role": "system", "content": "Be kind."}]
    for n in range(turns):
        messages += [{"role": "user", "content": f"Question {n}: {WORDS}"}, {"role": "assistant", "content": f"Answer {n}: {WORDS}"}]
    return {"model": "fast", "messages": [*messages, {"role": "user", "content": "And now?"}], **more}


def fit(body, model, path=None):
    call = parse(json.dumps(body).encode(), *([path] if path else []))
    return asyncio.run(Budget().fit(call, model))


def test_what_surely_fits_is_not_even_counted():
    body = talk(1)
    made, told = fit(body, model(40_960))
    assert told == {}
    assert made.raw == json.dumps(body).encode()  # the client's own bytes
    assert fit(body, model(None))[1] == {}
    assert fit({"model": "fast", "input": "x" * 9999}, model(16), EMBEDDINGS)[1] == {}


def test_a_prompt_is_counted_exactly_by_its_models_tokenizer(folder):
    body = talk(6, max_tokens=10)
    made, told = fit(body, model(2000, folder))
    count = Tokens(folder).chat(body)
    assert told == {"x-mlx-tokens": str(count)}
    assert (made.tokens, made.exact) == (count, True)
    assert fit(body, model(count + 10, folder))[1] == told
    with pytest.raises(
        UnavailableError, match=f"length is {count + 9:,} tokens; the prompt has {count:,} tokens, and 10 are kept"
    ) as error:
        fit(body, model(count + 9, folder))
    assert (error.value.status, error.value.body["error"]["code"], error.value.tries) == (400, "context_length_exceeded", 0)


def test_an_estimate_is_marked_and_refuses_only_what_cannot_fit():
    body = talk(40, max_tokens=10)
    about = estimate(body)
    made, told = fit(body, model(about + 10))
    assert told == {"x-mlx-tokens": f"{about}; estimated"}
    assert (made.tokens, made.exact) == (about, False)
    assert fit(body, model(int(about / 1.5)))[1] == told  # it may be less: the engine will say
    with pytest.raises(UnavailableError, match=f"about {about:,} tokens"):
        fit(body, model(about // 2))


def test_the_oldest_turns_are_left_out_and_that_is_said(folder):
    body = talk(30, max_tokens=10)
    tokens = Tokens(folder)
    context = tokens.chat(body) // 2
    made, told = fit(body, model(context, folder, too_long="trim"))
    kept = made.body["messages"]
    assert kept[0] == body["messages"][0]
    assert kept[-1] == body["messages"][-1]
    assert kept[1]["role"] == "user"
    assert kept[1:] == body["messages"][-len(kept) + 1 :]
    assert told["x-mlx-trimmed"] == f"{len(body['messages']) - len(kept)} of {len(body['messages'])} messages"
    assert int(told["x-mlx-tokens"]) == tokens.chat({"messages": kept}) == made.tokens <= context - 10
    assert [message.text for message in made.fields.messages] == [each["content"] for each in kept]
    one_more = body["messages"][:1] + body["messages"][-len(kept) - 1 :]
    assert tokens.chat({"messages": one_more}) > context - 10  # no more than it takes


def test_a_last_turn_too_long_alone_is_refused(folder):
    body = talk(3)
    body["messages"][-1]["content"] = WORDS * 100
    with pytest.raises(UnavailableError, match="its last turn alone is too long"):
        fit(body, model(300, folder, too_long="trim"))


def test_plain_prompts_are_counted_and_never_trimmed(folder):
    body = {"model": "fast", "prompt": WORDS * 50, "max_tokens": 5}
    with pytest.raises(UnavailableError):
        fit(body, model(100, folder, too_long="trim"), "/v1/completions")
    count = Tokens(folder).plain(body["prompt"])
    assert fit(body, model(count + 5, folder), "/v1/completions")[1] == {"x-mlx-tokens": str(count)}


def test_images_make_an_estimate_of_it(folder):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}
    body = {"model": "fast", "messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}], "max_tokens": 9}
    _, told = fit(body, model(4096, folder))
    assert told["x-mlx-tokens"].endswith("; estimated")
    assert PER_IMAGE < int(told["x-mlx-tokens"].split(";")[0]) < PER_IMAGE + 100


def test_without_a_usable_tokenizer_an_estimate_does(folder, caplog):
    (folder / "tokenizer.json").write_text("{}")
    assert fit(talk(6, max_tokens=10), model(3000, folder))[1]["x-mlx-tokens"].endswith("; estimated")
    assert "tokens are estimated" in caplog.text


def test_a_template_that_refuses_makes_an_estimate(tokenizer_of, tmp_path):
    tokenizer_of("gemma3").save_pretrained(tmp_path)
    body = {"model": "fast", "messages": [{"role": "assistant", "content": WORDS}] * 2, "max_tokens": 5}
    assert fit(body, model(2100, tmp_path))[1]["x-mlx-tokens"].endswith("; estimated")


@pytest.mark.parametrize("text", ["Ein Satz über Öl.", "東京は日本の首都です。", "x" * 300, ""])
def test_an_estimate_is_rather_too_high(text):
    assert estimate({"messages": [{"role": "user", "content": text}]}) >= 8 + len(text) / 3
