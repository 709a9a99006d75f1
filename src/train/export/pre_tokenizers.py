"""Finds llama.cpp's name for how a tokenizer cuts text before BPE: under a wrong name a model runs, and reads other tokens."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.core.errors import MlxError

OTHERWISE = "serve the merged model with vLLM, or convert it with llama.cpp's convert_hf_to_gguf.py"
_NEWLINE = ("split", "\n", "Isolated", False)
_END = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _END
_QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _END
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTES = ("bytes", False)
_GPT2 = ("bytes", True)
_DIGITS = ("digits", True)
Step = tuple[Any, ...]
NAMES: dict[tuple[tuple[Step, ...], bool], str] = {
    ((_GPT2,), False): "gpt-2",
    ((_DIGITS, _GPT2), False): "smollm",
    ((("split", _LLAMA3, "Isolated", False), _BYTES), True): "llama-bpe",
    ((("split", _LLAMA3, "Isolated", False), _BYTES), False): "smaug-bpe",
    ((("split", _QWEN2, "Isolated", False), _BYTES), False): "qwen2",
    ((("split", _TEKKEN, "Isolated", False), _BYTES), True): "tekken",
}
"""The steps of a pre-tokenizer, and whether whole words are looked up before merges: llama.cpp's name for it."""


def pre_tokenizer(rules: Mapping[str, Any]) -> str:
    """Name the pre-tokenizer of a byte-level BPE, given its `tokenizer.json`.

    Raises:
        MlxError: Where llama.cpp has none that cuts every text the same way.
    """
    model = rules["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        kind = "SentencePiece" if model.get("byte_fallback") or model["type"] == "Unigram" else model["type"]
        raise MlxError(f"a {kind} tokenizer is not written as GGUF here, only byte-level BPE", OTHERWISE)
    if (normalizer := rules.get("normalizer")) and normalizer["type"] != "NFC":
        raise MlxError(f"llama.cpp does not normalise text as this tokenizer does ({normalizer['type']})", OTHERWISE)
    steps = tuple(_steps(rules.get("pre_tokenizer") or {}))
    found = NAMES.get((steps, bool(model.get("ignore_merges"))))
    if found is None and steps[:1] == (_NEWLINE,) and steps[-1] == _GPT2 and not _joins_newlines(model):
        # GPT-2's rule joins a newline to white space around it only, and BPE then parts them again where nothing merges with one
        found = NAMES.get((steps[1:], bool(model.get("ignore_merges"))))
    if found is None:
        known = ", ".join(sorted(set(NAMES.values())))
        raise MlxError(f"llama.cpp has no pre-tokenizer that cuts text as this tokenizer does (known here: {known}): {steps}", OTHERWISE)
    return found


def merges_of(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges of a BPE in order, whichever way they are spelled."""
    return [tuple(each.split(" ", 1)) if isinstance(each, str) else (each[0], each[1]) for each in model["merges"]]  # type: ignore[misc]


def _joins_newlines(model: Mapping[str, Any]) -> bool:
    newline = "Ċ"  # how byte-level BPE spells it
    return any(newline in left or newline in right for left, right in merges_of(model))


def _steps(part: Mapping[str, Any]) -> Iterator[Step]:
    kind = part.get("type")
    if kind == "Sequence":
        for each in part["pretokenizers"]:
            yield from _steps(each)
    elif kind == "Split":
        pattern: Any = part["pattern"]
        yield ("split", next(iter(pattern.values())), part["behavior"], part["invert"])
    elif kind == "Digits":
        yield ("digits", part["individual_digits"])
    elif kind == "ByteLevel" and not part["add_prefix_space"]:
        yield ("bytes", part["use_regex"])
    else:
        yield (str(kind),)


def unusual(added: Sequence[Mapping[str, Any]]) -> list[str]:
    """Added tokens that take the white space around them along, or stand as whole words only: llama.cpp would not."""
    return [str(each["content"]) for each in added if each["lstrip"] or each["rstrip"] or each["single_word"]]
