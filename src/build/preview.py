"""Showing rows of a dataset as the model will see them, with what it learns set off."""

import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from src.core.errors import MlxError
from src.core.files import read_jsonl
from src.core.manifest import Manifest

_LEARNED, _SPECIAL, _HEAD, _OFF = "\x1b[32m", "\x1b[35m", "\x1b[1m", "\x1b[0m"


def preview(folder: Path, count: int, split: str = "train") -> Iterator[str]:
    """Yield lines that show the first `count` rows of a split of the dataset in `folder`.

    Tokens that are learned are green, special ones purple; where NO_COLOR is set, what is learned stands in ⟦ ⟧.
    """
    manifest = Manifest.read(folder, "mlx build")
    file = folder / f"{split}.jsonl"
    if not file.exists():
        there = ", ".join(sorted(path.stem for path in folder.glob("*.jsonl") if path.stem != "dropped"))
        raise MlxError(f"{folder} has no split {split!r}", f"choose from {there}")
    template = manifest.info.get("template")
    tokenizer = _tokenizer(folder, str(template["tokenizer"])) if template else None
    if tokenizer is None:
        yield "no tokenizer was given (build.tokenizer): roles and texts, no tokens"
    for example in itertools.islice(read_jsonl(file), count):
        yield from (_by_role(example) if tokenizer is None else _by_token(example, tokenizer))
        yield ""


def _by_token(example: Mapping[str, Any], tokenizer: Any) -> Iterator[str]:
    from src.models.encoder import Encoder
    from src.models.lessons import lessons
    from src.models.template import Encoded, UnfitError, encode

    messages, tools = example["messages"], example["tools"]
    try:
        encoded = encode(tokenizer, messages, tools)
    except UnfitError as error:
        yield _head(example, str(error))
        return
    yield _head(example, f"{len(encoded.ids)} tokens, {sum(encoded.mask)} learned")
    yield _shown(encoded, tokenizer)
    for number, lesson in lessons(Encoder(tokenizer), messages, tools, encoded):
        if isinstance(lesson, Encoded):
            yield _painted(f"   message {number} is learned apart, as it will be served: {sum(lesson.mask)} learned", _HEAD)
            yield _shown(lesson, tokenizer)


def _shown(encoded: Any, tokenizer: Any) -> str:
    specials = set(tokenizer.all_special_ids) | {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    shown = ""
    for learned, run in itertools.groupby(zip(encoded.ids, encoded.mask, strict=True), key=lambda pair: pair[1]):
        text = ""
        for special, part in itertools.groupby((number for number, _ in run), key=lambda number: number in specials):
            piece = tokenizer.decode(list(part), skip_special_tokens=False)
            text += _painted(piece, _SPECIAL) + (_LEARNED if learned and _coloured() else "") if special else piece
        shown += _set_off(text) if learned else text
    return shown


def _by_role(example: Mapping[str, Any]) -> Iterator[str]:
    yield _head(example, f"{len(example['messages'])} messages")
    if example["tools"]:
        yield "tools: " + ", ".join(tool["function"]["name"] for tool in example["tools"])
    for message in example["messages"]:
        calls = [f"{call['function']['name']}({call['function']['arguments']})" for call in message.get("tool_calls") or ()]
        text = "\n".join([*([message["content"]] if message.get("content") else []), *calls])
        yield f"{message['role']}: {_set_off(text) if message['role'] == 'assistant' else text}"


def _head(example: Mapping[str, Any], size: str) -> str:
    parts = [example["id"], size, " ".join(example["tags"]), "from " + ", ".join(example["sources"]) if example["sources"] else ""]
    return _painted("── " + " · ".join(part for part in parts if part), _HEAD)


def _set_off(text: str) -> str:
    return f"{_LEARNED}{text}{_OFF}" if _coloured() else f"⟦{text}⟧"


def _painted(text: str, colour: str) -> str:
    return f"{colour}{text}{_OFF}" if _coloured() else text


def _coloured() -> bool:
    return not os.environ.get("NO_COLOR")


def _tokenizer(folder: Path, name: str) -> Any:
    from src.models.load import load_tokenizer

    return load_tokenizer(folder / "scratch" if name == "scratch" else name)
