"""Writes an Ollama Modelfile whose Go template gives the same text as the model's own chat template, or tells that none can."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from src.models.template import UnfitError, prompt_ids

Messages = Sequence[Mapping[str, Any]]
_S, _U, _A, _V = "systemtext", "usertext", "assistanttext", "secondtext"


@dataclass(frozen=True)
class Frame:
    """What stands around the messages of each role, where a chat template does nothing but put it there."""

    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]

    def render(self, messages: Messages) -> str:
        """The text of a prompt, without the token a text begins with."""
        frames = {"system": self.system, "user": self.user, "assistant": self.assistant}
        return "".join(content.join(frames[role]) for role, content in _said(messages)) + self.assistant[0]

    def go(self) -> str:
        """The same in Go's template language, as Ollama renders it."""
        cases = "".join(
            f'{{{{ {word} eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}'
            for word, role, (before, after) in (
                ("if", "system", self.system),
                ("else if", "user", self.user),
                ("else if", "assistant", self.assistant),
            )
        )
        return f"{{{{ range .Messages }}}}{cases}{{{{ end }}}}{{{{ end }}}}{self.assistant[0]}"


def frame(tokenizer: PreTrainedTokenizerBase, conversations: Iterable[Messages]) -> Frame | None:
    """Find the frame of a chat template; None where it does more than frame (Mistral moves the system prompt, Qwen3 drops thoughts).

    `conversations` are prompts to try it on besides: without tools, each ending where the assistant speaks next.
    """
    try:
        found = _frame(tokenizer)
        if found is None or any(mark in found.go() for mark in ('"""',)) or "{{" in "".join(found.system + found.user + found.assistant):
            return None
        same = all(
            _without_bos(tokenizer, _text(tokenizer, messages)) == found.render(messages) for messages in (*_probes(), *conversations)
        )
    except UnfitError:
        return None
    return found if same else None


def modelfile(file: str, made: Frame | None, *, system: str | None, stops: Sequence[str], parameters: Mapping[str, Any]) -> str:
    """The text of a Modelfile for the GGUF `file`."""
    lines = [f"FROM ./{file}"]
    if made:
        lines.append(f'TEMPLATE """{made.go()}"""')
    else:
        lines.append("# no TEMPLATE: the chat template does more than Ollama's can; llama-server --jinja takes the one in the file")
    if system and '"""' not in system:
        lines.append(f'SYSTEM """{system}"""')
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops]
    lines += [f"PARAMETER {key} {value}" for key, value in parameters.items()]
    return "\n".join(lines) + "\n"


def _frame(tokenizer: PreTrainedTokenizerBase) -> Frame | None:
    system, user, assistant, second = _probe("system", _S), _probe("user", _U), _probe("assistant", _A), _probe("user", _V)
    start, after = _cut(_text(tokenizer, [user]), _U)
    begin = _without_bos(tokenizer, start)
    closing = _cut(_text(tokenizer, [user, assistant, second]), _A)
    opening, _ = _cut(closing[0], _U)[1], None
    behind, rest = _cut(closing[1], _V)
    with_system, between = _cut(_text(tokenizer, [system, user]), _S)
    middle, tail = _cut(between, _U)
    if not begin or opening != after or rest != after or tail != after or not behind.endswith(begin) or not middle.endswith(begin):
        return None
    heads = _text(tokenizer, [user], prompt=False)
    _, user_end = _cut(heads, _U)
    if not after.startswith(user_end):
        return None
    return Frame(
        (_without_bos(tokenizer, with_system), middle[: -len(begin)]), (begin, user_end), (after[len(user_end) :], behind[: -len(begin)])
    )


def _probe(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


def _probes() -> list[Messages]:
    """Prompts that a frame has to get right: several turns, empty and spacious texts."""
    talk = [_probe("user", "One\n\ntwo"), _probe("assistant", "Three."), _probe("user", "Four?")]
    return [talk, [_probe("system", "Be brief.\n"), *talk], [*talk, _probe("assistant", " five"), _probe("user", " six ")]]


def _said(messages: Messages) -> Iterable[tuple[str, str]]:
    return ((str(message["role"]), str(message.get("content") or "")) for message in messages)


def _text(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, prompt: bool = True) -> str:
    if prompt:
        return str(tokenizer.decode(prompt_ids(tokenizer, messages), skip_special_tokens=False, clean_up_tokenization_spaces=False))
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False))


def _without_bos(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    return text.removeprefix(tokenizer.bos_token or "")


def _cut(text: str, mark: str) -> tuple[str, str]:
    before, _, after = text.partition(mark)
    return before, after
