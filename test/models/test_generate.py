"""Batches and streams give what the model gives alone, row by row and character by character."""

import warnings

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from src.models.generate import Completion, Generator, stop_ids


@pytest.fixture(scope="module")
def tokenizer():
    """Bytes as tokens, so that a random model cuts characters in two."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "[TOOL_CALLS]"])
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|endoftext|>")


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def prompts(tokenizer):
    return [tokenizer.encode(text) for text in ("Hello", "a", "The quick brown fox jumps", "héllo wörld", "xyz" * 8)]


def alone(model, prompt, stops, most):
    """Greedy decoding without a cache, a batch or a mask."""
    ids = list(prompt)
    while len(ids) - len(prompt) < most:
        with torch.no_grad():
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        if token in stops:
            break
        ids.append(token)
    return ids[len(prompt) :]


def test_batch_equals_greedy_decoding_alone_in_input_order(model, tokenizer, prompts):
    generator = Generator(model, tokenizer)
    expected = [alone(model, prompt, generator.stops, 12) for prompt in prompts]
    for size in (1, 2, 32):
        found = generator.batch(prompts, max_new_tokens=12, batch_size=size)
        assert [each.ids for each in found] == expected
    assert [each.text for each in found] == [generator.text(ids) for ids in expected]


def test_rows_end_at_any_stop_and_the_others_go_on(model, tokenizer, prompts):
    generator = Generator(model, tokenizer)
    free = generator.batch(prompts, max_new_tokens=20)
    stop = free[2].ids[4]
    generator.stops |= {stop}
    found = generator.batch(prompts, max_new_tokens=20)
    assert found[2].finish_reason == "stop"
    for row, before in zip(found, free, strict=True):
        cut = before.ids.index(stop) if stop in before.ids else len(before.ids)
        assert row.ids == before.ids[:cut]
        assert row.finish_reason == ("stop" if stop in before.ids else before.finish_reason)


def test_stop_ids_come_from_tokenizer_generation_config_and_known_marks(model, tokenizer):
    marks = {tokenizer.convert_tokens_to_ids(mark) for mark in ("<|im_end|>", "<|endoftext|>")}
    assert stop_ids(model, tokenizer) == marks
    model.generation_config.eos_token_id = [5, 6]
    assert stop_ids(model, tokenizer) == marks | {5, 6}
    model.generation_config.eos_token_id = tokenizer.eos_token_id


def test_context_ends_a_row(model, tokenizer):
    generator = Generator(model, tokenizer)
    generator.stops = frozenset()
    long, short = [65] * 60, [65] * 3
    found = generator.batch([long, short, [65] * 64], max_new_tokens=10)
    assert [len(each.ids) for each in found] == [4, 10, 0]
    assert found[2] == Completion("", [], "length")
    assert generator.batch([[65] * 70]) == [Completion("", [], "length")]


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_stream_gives_whole_characters_that_join_to_the_batch_text(model, tokenizer, prompts, temperature):
    generator = Generator(model, tokenizer)
    settings = {"max_new_tokens": 40, "temperature": temperature, "seed": 3, "batch_size": 4}
    for prompt in prompts:
        expected = generator.batch([prompt], **settings)[0]
        assert "".join(generator.stream(prompt, **settings)) == expected.text


def scripted(generator, text):
    """Let the generator write `text`."""
    ids = generator.tokenizer.encode(text)
    generator._tokens = lambda *_: iter([(0, token) for token in ids])
    return ids


def test_stream_holds_back_half_a_character(model, tokenizer):
    generator = Generator(model, tokenizer)
    scripted(generator, "a€😀b<|im_end|>ccc")
    stream = generator.stream([1])
    pieces = []
    with pytest.raises(StopIteration) as end:
        while True:
            pieces.append(next(stream))
    assert pieces == ["a", "€", "😀", "b"]
    assert end.value.value.finish_reason == "stop"
    assert end.value.value.text == "a€😀b"


def test_stream_gives_out_a_broken_end(model, tokenizer):
    generator = Generator(model, tokenizer)
    ids = tokenizer.encode("a€")[:-1]
    generator._tokens = lambda *_: iter([(0, token) for token in ids])
    assert "".join(generator.stream([1])) == generator.text(ids) == "a\N{REPLACEMENT CHARACTER}"


def test_special_tokens_vanish_but_marks_of_calls_stay(model, tokenizer):
    generator = Generator(model, tokenizer)
    assert generator.text(tokenizer.encode("<|im_start|>[TOOL_CALLS] x")) == "[TOOL_CALLS] x"


def test_sampling_is_seeded_and_does_not_depend_on_the_batch_size(model, tokenizer, prompts):
    generator = Generator(model, tokenizer)
    settings = {"max_new_tokens": 15, "temperature": 1.0, "top_p": 0.9}
    first = generator.batch(prompts, seed=1, batch_size=1, **settings)
    assert generator.batch(prompts, seed=1, batch_size=5, **settings) == first
    assert generator.batch(prompts, seed=2, **settings) != first
    assert generator.batch(prompts, **settings) != generator.batch(prompts, **settings)
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    generator.batch(prompts, seed=1, **settings)
    assert torch.equal(state, torch.random.get_rng_state())  # nobody else's draws are shifted


def test_samples_follow_the_model_and_stay_in_the_nucleus(model, tokenizer):
    generator = Generator(model, tokenizer)
    prompt = tokenizer.encode("Hello")
    with torch.no_grad():
        chances = model(torch.tensor([prompt])).logits[0, -1].softmax(-1)
    rows = generator.batch([prompt] * 4000, max_new_tokens=1, temperature=1.0, seed=0, batch_size=500)
    stopped = sum(not row.ids for row in rows)
    counts = torch.bincount(torch.tensor([row.ids[0] for row in rows if row.ids]), minlength=len(tokenizer))
    assert stopped / 4000 == pytest.approx(float(sum(chances[stop] for stop in generator.stops)), abs=0.02)
    assert float((counts / 4000 - chances).abs()[list(set(range(len(tokenizer))) - generator.stops)].max()) < 0.03
    likeliest = int(chances.argmax())
    tight = generator.batch([prompt] * 20, max_new_tokens=1, temperature=1.0, top_p=1e-6, seed=0)
    assert {row.ids[0] for row in tight} == {likeliest}


def test_adapters_work_and_nothing_warns(model, tokenizer, prompts):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    config = LoraConfig(
        r=4, lora_alpha=64, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    tuned = get_peft_model(LlamaForCausalLM(model.config), config)
    generator = Generator(tuned, tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        on = generator.batch(prompts, max_new_tokens=8)
        with tuned.disable_adapter():
            off = generator.batch(prompts, max_new_tokens=8)
    assert [each.ids for each in on] == [alone(tuned, prompt, generator.stops, 8) for prompt in prompts]
    assert on != off
