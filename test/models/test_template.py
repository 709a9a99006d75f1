"""The same tokens in training and serving: each check on a template and a row made to break it."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from src.core.errors import MlxError
from src.models.load import load_tokenizer
from src.models.steady import steady
from src.models.template import Encoded, UnfitError, check, encode, examine, prompt_ids, require_template, template_hash

MARKED = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
    "{% generation %}{{ (m.content or '') + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PLAIN = MARKED.replace("{% generation %}", "").replace("{% endgeneration %}", "")
MISTRAL = Path(__file__).with_name("mistral_v03.jinja").read_text(encoding="utf-8")
TOOL = {
    "type": "function",
    "function": {
        "name": "set_light",
        "description": "Set a light.",
        "parameters": {"type": "object", "properties": {"room": {"type": "string", "description": "Which."}}, "required": ["room"]},
    },
}
ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Light on in the attic"}]
CALL = {"id": "call_0", "type": "function", "function": {"name": "set_light", "arguments": {"room": "attic"}}}
CALLED = [*ASK, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
ANSWERED = [*CALLED, {"role": "tool", "tool_call_id": "call_0", "content": "ok"}, {"role": "assistant", "content": "Done."}]
CHAT = [*ASK, {"role": "assistant", "content": "Aye"}, {"role": "user", "content": "Thanks"}, {"role": "assistant", "content": "Welcome!"}]


def of_trl(name: str) -> str:
    """A template of a real model, as the training library ships it."""
    return (Path(find_spec("trl").origin).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def made(template: str | None, *, eos: str = "<|im_end|>", marks: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer without merges, with every mark of the template as a special token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=learner, bos_token="<s>", eos_token=eos, clean_up_tokenization_spaces=False)
    found = re.findall(r"<\|[a-z_]+\|>|\[/?[A-Z_]{4,}\]|</s>", template or "")
    tokenizer.add_tokens([AddedToken(mark, special=True) for mark in sorted({*found, *marks, "<|im_start|>", "<|im_end|>"})])
    tokenizer.chat_template = template
    return tokenizer


def learned(tokenizer: PreTrainedTokenizerFast, encoded: Encoded) -> str:
    return tokenizer.decode([number for number, mark in zip(encoded.ids, encoded.mask, strict=True) if mark])


def reason(tokenizer: PreTrainedTokenizerFast, messages: list, tools: list | None = None, **options: int) -> str | None:
    fault = check(tokenizer, {"messages": messages, "tools": tools or []}, **options)
    return fault.reason if fault else None


@pytest.mark.parametrize("template", [MARKED, PLAIN], ids=["marked", "plain"])
def test_learned_is_what_the_assistant_says_and_the_end_of_its_turn(template: str) -> None:
    tokenizer = made(template)
    assert learned(tokenizer, encode(tokenizer, CHAT)) == "Aye<|im_end|>Welcome!<|im_end|>"
    assert reason(tokenizer, CHAT) is None


def test_prefix_differences_give_the_mask_of_the_marks() -> None:
    assert encode(made(MARKED), CHAT) == encode(made(PLAIN), CHAT)


@pytest.mark.parametrize(("stock", "marked"), [("qwen2_5", "qwen2_5_training"), ("qwen3_instruct_2507", "qwen3_instruct_2507_training")])
@pytest.mark.parametrize(("messages", "tools"), [(CHAT, []), (ANSWERED, [TOOL])], ids=["chat", "tools"])
def test_prefix_differences_give_the_mask_of_patched_templates(stock: str, marked: str, messages: list, tools: list) -> None:
    plain, patched = made(of_trl(stock)), made(of_trl(marked))
    # but for white space: a patched one takes in the line break of the prompt
    said, marked_said = (learned(each, encode(each, messages, tools)) for each in (plain, patched))
    assert "".join(said.split()) == "".join(marked_said.split())
    assert encode(plain, messages, tools).ids == encode(patched, messages, tools).ids


def test_llama_has_no_marks_and_is_masked_all_the_same() -> None:
    tokenizer = made(of_trl("llama3_1"), eos="<|eot_id|>")
    assert learned(tokenizer, encode(tokenizer, CALLED, [TOOL])) == '{"name": "set_light", "parameters": {"room": "attic"}}<|eot_id|>'
    assert reason(tokenizer, ANSWERED, [TOOL]) is None
    assert reason(tokenizer, CHAT) is None


def test_qwen3_that_drops_earlier_thoughts_learns_the_turn_that_reads_as_it_was_served() -> None:
    tokenizer = made(of_trl("qwen3"))
    encoded = encode(tokenizer, CHAT)
    assert learned(tokenizer, encoded) == "<think>\n\n</think>\n\nWelcome!<|im_end|>"
    assert encoded.unlearned == (2,)


def test_mistral_wants_ids_of_nine() -> None:
    tokenizer = made(MISTRAL, eos="</s>")
    assert reason(tokenizer, ANSWERED[1:], [TOOL]) is None
    text = tokenizer.decode(encode(tokenizer, ANSWERED[1:], [TOOL]).ids)
    names = re.findall(r'"(?:call_)?id": "(\w+)"', text)
    assert len(names) == 2 and len(set(names)) == 1 and len(names[0]) == 9
    kept = [{**CALLED[2], "tool_calls": [{**CALL, "id": "abcDEF123"}]}]
    assert "abcDEF123" in tokenizer.decode(encode(tokenizer, [ASK[1], *kept], [TOOL]).ids)


def test_mistral_shows_the_system_prompt_in_serving_only_and_is_mended() -> None:
    tokenizer = made(MISTRAL, eos="</s>")
    assert reason(tokenizer, CHAT[:3]) == "prompt_not_prefix"
    steady(tokenizer)
    assert reason(tokenizer, CHAT) is None
    assert "Be brief." in tokenizer.decode(encode(tokenizer, CHAT).ids)


def test_what_is_steady_stays(tmp_path: Path) -> None:
    for template in (MARKED, None, {"default": MARKED}):
        tokenizer = made(MARKED)
        tokenizer.chat_template = template
        steady(tokenizer)
        assert tokenizer.chat_template == template


def test_loading_mends(tmp_path: Path) -> None:
    made(MISTRAL, eos="</s>").save_pretrained(tmp_path)
    assert reason(load_tokenizer(tmp_path), ANSWERED, [TOOL]) is None
    assert reason(load_tokenizer(tmp_path), [*ANSWERED, *CHAT[3:]], [TOOL]) is None


def test_arguments_are_strings_where_the_template_prints_them() -> None:
    template = PLAIN.replace(
        "(m.content or '')",
        "(m.content or '') + (m.tool_calls[0].function.name + m.tool_calls[0].function.arguments if m.tool_calls else '')",
    )
    tokenizer = made("{{ tools | tojson if tools else '' }}" + template)
    assert learned(tokenizer, encode(tokenizer, CALLED, [TOOL])) == 'set_light{"room": "attic"}<|im_end|>'


def test_a_missing_content_is_empty_where_the_template_would_print_none() -> None:
    call = "{{ m.tool_calls[0].function | tojson if m.tool_calls else '' }}"
    template = PLAIN.replace("{{ (m.content or '') + '<|im_end|>' }}", "{{ m.content ~ '' }}" + call + "{{ '<|im_end|>' }}")
    tokenizer = made("{{ tools | tojson if tools else '' }}" + template)
    assert "None" not in learned(tokenizer, encode(tokenizer, CALLED, [TOOL]))


def test_the_end_has_to_be_in_the_mask() -> None:
    outside = MARKED.replace(" + '<|im_end|>' }}{% endgeneration %}", " }}{% endgeneration %}{{ '<|im_end|>' }}")
    assert reason(made(outside), CHAT) == "end_not_trained"


def test_some_token_has_to_end_a_turn() -> None:
    template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
    template += "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    assert reason(made(template), CHAT) == "end_not_trained"


def test_marks_around_nothing() -> None:
    assert reason(made(PLAIN + "{% generation %}{% endgeneration %}"), CHAT) in ("no_trained_token", "end_not_trained")
    assert reason(made(PLAIN + "{% if messages | length > 9 %}{% generation %}x{% endgeneration %}{% endif %}"), CHAT) == "no_trained_token"


def test_marks_around_a_user() -> None:
    marked = MARKED.replace("{% else %}{{ m.content", "{% else %}{% generation %}{{ m.content").replace(
        "+ '<|im_end|>' }}{% endif %}", "+ '<|im_end|>' }}{% endgeneration %}{% endif %}"
    )
    assert reason(made(marked), CHAT) == "prompt_trained"


def test_a_turn_without_a_learned_token() -> None:
    last = MARKED.replace(
        "{% generation %}{{ (m.content or '') + '<|im_end|>' }}{% endgeneration %}",
        "{{ m.content or '' }}{% generation %}{{ '<|im_end|>' }}{% endgeneration %}",
    )
    assert reason(made(last), CHAT) == "no_trained_token"


def test_a_prompt_that_is_no_prefix() -> None:
    thinking = PLAIN.replace("{{ '<|im_start|>assistant\n' }}{% endif %}", "{{ '<|im_start|>assistant\n<think>' }}{% endif %}")
    fault = check(made(thinking), {"messages": CHAT, "tools": []})
    assert fault and fault.reason == "prompt_not_prefix" and "<think>" not in fault.detail.split(" in the whole")[0].split(", ")[1]


def test_a_turn_that_changes_once_others_follow() -> None:
    changing = PLAIN.replace("(m.content or '') + '<|im_end|>'", "(m.content or '') + ('<|im_end|>' if loop.last else '<|other|>')")
    assert reason(made(changing, marks=("<|other|>",)), CHAT) is None  # found at the last turn's end
    lost = PLAIN.replace(
        "(m.content or '') + '<|im_end|>'", "(m.content or '') + ('<|end|>' if loop.last and messages | length < 5 else '')"
    )
    with pytest.raises(UnfitError, match="turn_not_prefix"):
        encode(made(lost, marks=("<|end|>",)), CHAT)


def test_a_template_that_refuses() -> None:
    tokenizer = made("{{ raise_exception('no system here') if messages[0].role == 'system' else '' }}" + PLAIN)
    fault = check(tokenizer, {"messages": CHAT})
    assert fault and fault.reason == "template_error" and "no system here" in fault.detail
    with pytest.raises(UnfitError, match="no system here"):
        prompt_ids(tokenizer, CHAT)


def test_tools_that_the_template_does_not_show() -> None:
    assert reason(made(PLAIN), ANSWERED, [TOOL]) == "tools_not_rendered"
    assert reason(made("{{ tools | tojson if tools else '' }}" + PLAIN), ANSWERED, [TOOL]) == "calls_not_rendered"


def test_special_tokens_in_a_text() -> None:
    assert reason(made(PLAIN), [{"role": "user", "content": "say <|im_end|>"}, CHAT[-1]]) == "special_token_in_text"


def test_too_long_is_not_cut() -> None:
    length = len(encode(made(PLAIN), CHAT).ids)
    assert reason(made(PLAIN), CHAT, max_tokens=length) is None
    assert reason(made(PLAIN), CHAT, max_tokens=length - 1) == "too_long"


def test_faults_of_the_conversation_come_first() -> None:
    assert reason(made(PLAIN), CHAT[:2]) == "last_not_assistant"


def test_examine_gives_the_tokens() -> None:
    tokenizer = made(MARKED)
    assert examine(tokenizer, {"messages": CHAT}) == encode(tokenizer, CHAT)


def test_the_prompt_is_what_a_server_sends() -> None:
    tokenizer = made(MARKED)
    assert tokenizer.decode(prompt_ids(tokenizer, ASK)).endswith("attic<|im_end|>\n<|im_start|>assistant\n")
    assert encode(tokenizer, CHAT[:3]).ids[: len(prompt_ids(tokenizer, ASK))] == prompt_ids(tokenizer, ASK)


def test_a_tokenizer_without_a_template() -> None:
    for use in (lambda each: encode(each, CHAT), require_template):
        with pytest.raises(MlxError, match="no chat template"):
            use(made(None))


def test_hash_survives_saving_and_padding(tmp_path: Path) -> None:
    tokenizer = made(MARKED)
    before = template_hash(tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer(["a", "bb"], padding=True, truncation=True, max_length=1)
    assert template_hash(tokenizer) == before
    tokenizer.save_pretrained(tmp_path)
    assert template_hash(AutoTokenizer.from_pretrained(tmp_path)) == before


def test_hash_tells_templates_and_vocabularies_apart() -> None:
    assert (
        len({template_hash(each) for each in (made(MARKED), made(PLAIN), made(MARKED, marks=("<|new|>",)), made(MARKED, eos="</s>"))}) == 4
    )
