"""Small tokenizers with the special tokens and chat templates of the model families, for tests that cannot have the real ones."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from src.models.steady import steady

MARKED = Path(__file__).parents[2] / "src/models/templates"
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEXTS = [
    "Turn the light on in the attic, please. What is the weather in Oslo today? It is 7 degrees and raining.",
    '{"name": "set_light", "arguments": {"room": "attic", "on": true}}',
    "You are a helpful assistant. Done. Aye, welcome! Thanks.\n\n<think>\nThe user wants the light on.\n</think>\n\n",
]


@dataclass(frozen=True)
class Family:
    """What tells a family's tokenizer from another's."""

    bos: str | None
    end: str
    specials: tuple[str, ...]
    plain: tuple[str, ...] = ()
    """Added tokens that stay when special ones are skipped."""
    official: str | None = None
    """Name of the template among those that the training library ships."""


FAMILIES = {
    "llama3": Family("<|begin_of_text|>", "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>"), official="llama3"),
    "llama3_1": Family(
        "<|begin_of_text|>", "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>", "<|eom_id|>"), official="llama3_1"
    ),
    "mistral_v03": Family(
        "<s>", "</s>", ("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")
    ),
    "qwen2_5": Family(None, "<|im_end|>", ("<|im_start|>", "<|endoftext|>"), ("<tool_call>", "</tool_call>"), "qwen2_5"),
    "qwen3": Family(None, "<|im_end|>", ("<|im_start|>", "<|endoftext|>"), ("<tool_call>", "</tool_call>", "<think>", "</think>"), "qwen3"),
    "gemma3": Family("<bos>", "<end_of_turn>", ("<start_of_turn>",), official="gemma3"),
    "chatml": Family("<|endoftext|>", "<|im_end|>", ("<|im_start|>",)),
}
WITH_TOOLS = ("llama3_1", "mistral_v03", "qwen2_5", "qwen3")


def official(name: str) -> str:
    """The family's own chat template."""
    if name == "chatml":
        return CHATML
    if name == "mistral_v03":
        return Path(__file__).with_name("mistral_v03.jinja").read_text(encoding="utf-8")
    return of_trl(str(FAMILIES[name].official))


def of_trl(name: str) -> str:
    """A template of a real model, as the training library ships it."""
    return (Path(find_spec("trl").origin).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def marked(name: str) -> str:
    """The template that mlx ships with marks."""
    return (MARKED / f"{name}.jinja").read_text(encoding="utf-8").strip()


@lru_cache(1)
def _learned() -> str:
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r" ?\p{L}+|\d| ?[^\s\p{L}\d]+|\s+"), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    learner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learner.train_from_iterator(TEXTS * 5, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False))
    return learner.to_str()


def tokenizer_of(name: str, template: str | None = None, *, mended: bool = True, **more: Any) -> PreTrainedTokenizerFast:
    """A tokenizer of the family with its own template, or another, as loading would leave it."""
    family = FAMILIES[name]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_learned()),
        bos_token=family.bos,
        eos_token=family.end,
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
        **more,
    )
    tokenizer.add_tokens([AddedToken(mark, special=True) for mark in family.specials])
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in family.plain])
    tokenizer.chat_template = template or official(name)
    if mended:
        steady(tokenizer)
    return tokenizer
