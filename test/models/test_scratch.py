"""A tokenizer and a base made from nothing: what goes in comes out, and the same twice."""

import json
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from src.models.curriculum import Curriculum
from src.models.scratch import IGNORED, excerpts, fresh_model, pretrain, train_tokenizer

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "set_light",
        "description": "Switch a light.",
        "parameters": {"type": "object", "properties": {"room": {"type": "string"}, "state": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(["The harbour lies quiet in the morning.", "Ahoy, matey!"] * 20)


def calling(arguments: Any) -> list[dict[str, Any]]:
    call = {"id": "call_1", "type": "function", "function": {"name": "set_light", "arguments": arguments}}
    return [
        {"role": "system", "content": "You are Pip."},
        {"role": "user", "content": "Light on in the attic."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"light": "on"}'},
        {"role": "assistant", "content": "It is on."},
    ]


@pytest.mark.parametrize("text", ["naïve e\u0301 ﬁ Å", "🏴‍☠️ 日本語 עברית", "\r\n\t x  ", "\n\n  a", "12345 -6.7", "\x00\ufeff", ""])
def test_any_text_comes_back_as_it_went_in(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_tokenizer_is_the_same_each_time_and_pads_with_a_token_of_its_own(tokenizer: PreTrainedTokenizerFast) -> None:
    again = train_tokenizer(["The harbour lies quiet in the morning.", "Ahoy, matey!"] * 20)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.eos_token == "<|im_end|>"


def test_digits_and_marks_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.tokenize("407") == ["4", "0", "7"]
    assert tokenizer.tokenize("<tool_call>") == ["<tool_call>"]


def test_tool_marks_survive_when_special_tokens_are_dropped(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.encode("<tool_call>\n{}\n</tool_call><|im_end|>", add_special_tokens=False)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<tool_call>\n{}\n</tool_call>"


def test_a_large_library_is_sampled_evenly_and_alike() -> None:
    library = [f"{book}" * 10_000 for book in range(10)]
    drawn = excerpts(library, 20_000)
    assert sum(map(len, drawn)) == 20_000
    assert {piece[0] for piece in drawn} == set("0123456789")
    assert drawn == excerpts(iter(library), 20_000)


def test_tools_are_listed_by_name_and_arguments(tokenizer: PreTrainedTokenizerFast) -> None:
    text = tokenizer.apply_chat_template(calling({"room": "attic"})[:2], tools=[TOOL], tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nYou are Pip.\n<tools>\nset_light(room, state)\n</tools><|im_end|>\n"
        "<|im_start|>user\nLight on in the attic.<|im_end|>\n<|im_start|>assistant\n"
    )


def test_arguments_as_object_and_as_string_render_alike(tokenizer: PreTrainedTokenizerFast) -> None:
    arguments = {"room": "attic", "level": 3, "note": "é"}
    as_object = tokenizer.apply_chat_template(calling(arguments), tools=[TOOL], tokenize=False)
    as_string = tokenizer.apply_chat_template(calling(json.dumps(arguments, ensure_ascii=False)), tools=[TOOL], tokenize=False)
    assert as_object == as_string
    assert '<tool_call>\n{"name": "set_light", "arguments": {"room": "attic", "level": 3, "note": "é"}}\n</tool_call>' in as_object


def test_only_the_assistants_words_and_their_end_are_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = tokenizer.apply_chat_template(
        calling({"room": "attic"}), tools=[TOOL], tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    learned = [token for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
    call = '<tool_call>\n{"name": "set_light", "arguments": {"room": "attic"}}\n</tool_call><|im_end|>'
    assert tokenizer.decode(learned) == call + "It is on.<|im_end|>"


@pytest.mark.parametrize("answer", ["plain", "  indented", "\n\nafter two lines", "<tool_call>"])
def test_the_prompt_is_a_token_prefix_whatever_the_answer_begins_with(tokenizer: PreTrainedTokenizerFast, answer: str) -> None:
    ask = [{"role": "user", "content": "Well?"}]
    prompt = tokenizer.apply_chat_template(ask, add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template([*ask, {"role": "assistant", "content": answer}], return_dict=True)["input_ids"]
    assert whole[: len(prompt)] == prompt


def test_pretraining_is_the_same_for_a_seed_and_leaves_other_randomness_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    told: list[tuple[int, float]] = []
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = pretrain(tokenizer, ["A town by the sea."], seed=3, steps=3, on_step=lambda step, loss: told.append((step, loss)))
    two = pretrain(tokenizer, ["A town by the sea."], seed=3, steps=3)
    other = pretrain(tokenizer, ["A town by the sea."], seed=4, steps=3)
    assert [step for step, _ in told] == [1, 2, 3]
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("texts", [[], ["", "  "], ["日本語🏴‍☠️" * 200], ["x" * 100_000]])
def test_any_texts_will_do(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> None:
    losses: list[float] = []
    pretrain(tokenizer, texts, seed=0, steps=3, on_step=lambda _, loss: losses.append(loss))
    assert all(0 < loss < 20 for loss in losses)


def test_the_model_can_be_saved_and_read_back(tokenizer: PreTrainedTokenizerFast, tmp_path: Any) -> None:
    model = pretrain(tokenizer, [], seed=0, steps=1)
    assert model.dtype == torch.float32
    model.save_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(AutoModelForCausalLM.from_pretrained(tmp_path)(ids).logits, model(ids).logits)


def test_the_first_layer_starts_out_looking_one_token_back(tokenizer: PreTrainedTokenizerFast) -> None:
    model = fresh_model(tokenizer).eval()
    model.set_attn_implementation("eager")
    ids = torch.randint(4, len(tokenizer), (1, 20), generator=torch.Generator().manual_seed(0))
    attention = model(ids, output_attentions=True).attentions[0][0]
    backwards = attention[:, 2:].argmax(-1) == torch.arange(1, 19)
    assert backwards.float().mean() > 0.8


def test_every_kind_of_row_learns_something_and_nothing_of_the_prompt_twice(tokenizer: PreTrainedTokenizerFast) -> None:
    curriculum = Curriculum(tokenizer, ["A town by the sea."], seed=0)
    for kind in curriculum.kinds:
        row = kind()
        assert len(row.ids) == len(row.labels)
        learned = [(label, token) for label, token in zip(row.labels, row.ids, strict=True) if label != IGNORED]
        assert learned
        assert all(label == token for label, token in learned)
    assert abs(sum(curriculum.kinds.values()) - 1) < 1e-9
