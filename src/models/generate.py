"""Text from a model and token ids: batches for evaluation, whole-character pieces for a chat."""

import inspect
from collections.abc import Generator as Steps
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from src.core.seeds import derive
from src.models.stops import Stops

_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>", "<|end_of_text|>")
"""Ends of a turn in the common chat templates, where a vocabulary has them; base models often declare another eos."""
_KEPT = ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]", "<|python_tag|>", "<tool_call>", "</tool_call>")
"""Special tokens in some vocabularies that must stay in the text, since a tool call is read by them."""
_BROKEN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Completion:
    """What a model wrote after one prompt."""

    text: str
    ids: list[int] = field(default_factory=list)
    """The new tokens, without the one that ended the turn."""
    finish_reason: Literal["stop", "length"] = "stop"
    """`stop` at the end of the turn or a stop text, `length` where tokens or context ran out."""
    tokens: int = 0
    """How many tokens were generated, the one that ended the turn included."""


class Decoder:
    """Turns new tokens into text, whoever drew them."""

    def __init__(self, tokenizer: Any, stops: frozenset[int]) -> None:
        self.tokenizer = tokenizer
        self.stops = stops
        """Tokens that end a turn."""
        self._hidden = special_ids(tokenizer) - set(_ids(tokenizer, _KEPT))

    def text(self, ids: Sequence[int]) -> str:
        """Decode without special tokens, save those that mark a tool call."""
        plain = [token for token in ids if token not in self._hidden]
        return str(self.tokenizer.decode(plain, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def completion(self, ids: list[int]) -> Completion:
        """What the tokens come to, the one that ends the turn among them."""
        stopped = bool(ids) and ids[-1] in self.stops
        kept = ids[:-1] if stopped else ids
        return Completion(self.text(kept), kept, "stop" if stopped else "length", len(ids))


class Generator(Decoder):
    """A causal language model, with or without an adapter, put in evaluation mode."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(tokenizer, stop_ids(model, tokenizer))
        self.model = model.eval()
        self.context = context_of(model)
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        # the prompt's logits are rows × length × vocabulary: by far the largest tensor, and only the last is wanted
        self._options = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(inner.forward).parameters else {}

    def batch(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        batch_size: int = 32,
    ) -> list[Completion]:
        """Continue each prompt (token ids); `temperature` 0 is greedy. Results come in the order of `prompts`.

        With a seed a row's result depends on its prompt and its place, not on `batch_size`.
        """
        settings = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
        found = dict(self.each(prompts, batch_size=batch_size, **settings))  # type: ignore[arg-type]
        return [found[number] for number in range(len(prompts))]

    def each(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        batch_size: int = 32,
    ) -> Iterator[tuple[int, Completion]]:
        """Yield (place in `prompts`, completion) batch by batch, rows of about one length together, the longest first."""
        order = sorted(range(len(prompts)), key=lambda number: (-len(prompts[number]), number))
        for first in range(0, len(order), batch_size):
            places = order[first : first + batch_size]
            chooser = _Chooser(temperature, top_p, [_source(seed, place) for place in places])
            rows = [prompts[place] for place in places]
            made: list[list[int]] = [[] for _ in rows]
            for row, token in self._tokens(rows, max_new_tokens, chooser):
                made[row].append(token)
            yield from ((place, self.completion(ids)) for place, ids in zip(places, made, strict=True))

    def stream(
        self,
        prompt: Sequence[int],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        batch_size: int = 1,
        stop: Sequence[str] = (),
    ) -> Steps[str, None, Completion]:
        """Yield the continuation of one prompt as text that never ends inside a character, up to the first of the texts `stop`.

        The pieces together are the text that `batch` gives, and the generator's return value is the Completion.
        """
        del batch_size  # one prompt; taken so that a caller may hand on the settings of `batch`
        chooser = _Chooser(temperature, top_p, [_source(seed, 0)])
        stops = Stops(stop)
        ids: list[int] = []
        given: list[str] = []
        shown, read = 0, 0  # what is decoded for its context only; what has been given out
        for _, token in self._tokens([prompt], max_new_tokens, chooser):
            ids.append(token)
            if token in self.stops:
                break
            text, before = self.text(ids[shown:]), self.text(ids[shown:read])
            if len(text) > len(before) and not text.endswith(_BROKEN):
                if piece := stops.feed(text[len(before) :]):
                    given.append(piece)
                    yield piece
                if stops.found:
                    return Completion("".join(given), ids, "stop", len(ids))
                shown, read = read, len(ids)
        done = self.completion(ids)
        rest = stops.feed(self.text(done.ids[shown:])[len(self.text(done.ids[shown:read])) :])
        if rest := rest if stops.found else rest + stops.rest():
            yield rest
        return replace(done, text="".join([*given, rest]), finish_reason="stop") if stops.found else done

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _tokens(self, prompts: Sequence[Sequence[int]], most: int, choose: "_Chooser") -> Iterator[tuple[int, int]]:
        """Yield (row, token) step by step, a row's last being a stop or the last there is room for."""
        room = [min(most, self.context - len(prompt)) for prompt in prompts]
        rows = [row for row in range(len(prompts)) if room[row] > 0]
        if not rows:
            return
        ids, mask = left_padded([prompts[row] for row in rows], self.model.device)
        cache = None
        for step in range(1, most + 1):
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            done = self.model(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, **self._options
            )
            cache, tokens = done.past_key_values, choose(done.logits[:, -1].float(), rows)
            yield from zip(rows, tokens, strict=True)
            going = [at for at, row in enumerate(rows) if tokens[at] not in self.stops and step < room[row]]
            if not going:
                return
            if len(going) < len(rows):  # rows that have ended cost nothing from here on
                chosen = torch.tensor(going, device=mask.device)
                cache.batch_select_indices(chosen)
                mask = mask[chosen]
            rows, tokens = [rows[at] for at in going], [tokens[at] for at in going]
            ids = torch.tensor(tokens, device=mask.device)[:, None]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)


class _Chooser:
    """Picks each row's next token; every row draws from a generator of its own."""

    def __init__(self, temperature: float, top_p: float, sources: list[torch.Generator]) -> None:
        self.temperature = temperature
        self.top_p = top_p
        self.sources = sources

    def __call__(self, logits: torch.Tensor, rows: list[int]) -> list[int]:
        if self.temperature <= 0:
            return list(logits.argmax(-1).tolist())
        chances, order = (logits / self.temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
        below = chances.cumsum(-1)
        # nucleus (Holtzman et al. 2020): the fewest tokens that hold top_p, the likeliest always among them
        kept = (below - chances < self.top_p).sum(-1, keepdim=True).clamp(min=1)
        mass = below.gather(-1, kept - 1)
        luck = torch.stack([torch.rand(1, generator=self.sources[row]) for row in rows]).to(logits.device)
        place = torch.minimum(torch.searchsorted(below, luck * mass, right=True), kept - 1)
        return list(order.gather(-1, place).squeeze(-1).tolist())


def _source(seed: int | None, place: int) -> torch.Generator:
    source = torch.Generator()
    if seed is None:
        source.seed()
    else:
        source.manual_seed(derive(seed, place))
    return source


def left_padded(rows: Sequence[Sequence[int]], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids flush right in one tensor, and the mask of what is no padding."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


def stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a turn: the tokenizer's eos, those of the model's generation config, and known marks."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = configured if isinstance(configured, list | tuple) else [configured]
    found = [tokenizer.eos_token_id, *listed, *_ids(tokenizer, _ENDS)]
    return frozenset(int(token) for token in found if token is not None)


def special_ids(tokenizer: Any) -> set[int]:
    """Tokens that are marks and not text, whether or not the tokenizer has a name for their role."""
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | set(tokenizer.all_special_ids)


def context_of(model: Any) -> int:
    """How many tokens the model can attend to, as far as its config says."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31)


def _ids(tokenizer: Any, tokens: Sequence[str]) -> list[int]:
    known = tokenizer.get_vocab()
    return [known[token] for token in tokens if token in known]
