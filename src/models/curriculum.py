"""What a fresh model practises on before it is tuned: made-up rows in which the answer is copied from the prompt.

The rows hold no persona, no tool's name and no request to a tool. What they teach is to look back: spans and word lists said twice
(induction heads, Olsson et al. 2022), sentences turned to JSON of some of their values, JSON turned to sentences.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from transformers import PreTrainedTokenizerFast

Value = str | int

TABLE = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
POOLS: dict[str, Sequence[str]] = TABLE["pools"]
KEYS = {sentence: [key for key in [*POOLS, "count"] if f"{{{key}}}" in sentence] for sentence in TABLE["sentences"]}
WINDOW = 200  # characters of prose in a row; in a script of many bytes a character, as many tokens
SYSTEM = "You are a helpful assistant."


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids and, beside each, the label: the id itself where it is to be learned, else -100."""

    ids: list[int]
    labels: list[int]


def words(times: int) -> Iterator[str]:
    """Yield the curriculum's vocabulary `times` over, in the surroundings it is met in: a space before, or quotes."""
    pools = [*POOLS.values(), TABLE["nouns"], TABLE["traits"], TABLE["subjects"], TABLE["syllables"]]
    plain = " " + " ".join(word for pool in pools for word in pool)
    quoted = json.dumps([dict.fromkeys(POOLS, word) for pool in POOLS.values() for word in pool])
    frames = " ".join([*TABLE["sentences"], *TABLE["questions"], *TABLE["replies"], SYSTEM, "Write as JSON. Call with. Write as text."])
    tool = 'system\nuser\nassistant\ntool\n{"name": "", "arguments": {"": 1, "": ""}}'
    yield from [plain, quoted, frames.translate({ord(mark): " " for mark in "{}"}), tool] * times


class Curriculum:
    """An endless, seeded supply of rows."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, seed: int) -> None:
        self.tokenizer = tokenizer
        self.texts = [text for text in texts if text.strip()]
        self.chance = random.Random(seed)
        self.kinds: dict[Callable[[], Row], float] = {
            self.repeated_span: 0.20,
            self.repeated_words: 0.10,
            self.prose: 0.05,
            self.chat: 0.05,
            self.sentence_of_json: 0.14,
            self.json_of_fields: 0.14,
            self.json_of_sentence: 0.32,
        }

    def row(self) -> Row:
        """Make the next row."""
        [kind] = self.chance.choices(list(self.kinds), list(self.kinds.values()))
        return kind()

    def repeated_span(self) -> Row:
        """Random tokens, twice; the second time is learned."""
        length = self.chance.choice([6, 8, 10, 12, 16, 24, 32, 48])
        span = [self.chance.randrange(4, len(self.tokenizer)) for _ in range(length)]
        return Row(span * 2, [-100] * (length + 1) + span[1:])

    def repeated_words(self) -> Row:
        """Words and numbers, twice; some of the words are made up."""
        pools = [*POOLS.values(), TABLE["nouns"]]
        listed = " ".join(str(self.anything(pools)) for _ in range(self.chance.randint(3, 14)))
        return self.learned_after(self.ids(f" {listed} ."), [*self.ids(" " + listed), self.end_of_text()])

    def prose(self) -> Row:
        """A window of the project's own text or, where there is none, made-up sentences; every token is learned."""
        if self.texts:
            text = self.chance.choice(self.texts)
            start = self.chance.randrange(max(1, len(text) - WINDOW))
            ids = self.ids(text[start : start + WINDOW])[:WINDOW]
        else:
            ids = self.ids(" ".join(self.record()[0] for _ in range(self.chance.choice([2, 4, 6]))))
        return self.learned_after([self.end_of_text()], ids)

    def chat(self) -> Row:
        """A question about something and a reply in nobody's manner."""
        trait, other = self.chance.sample(TABLE["traits"], 2)
        fill = {"subject": self.chance.choice(TABLE["subjects"]), "trait": trait, "other": other}
        return self.turn(
            self.system(), self.chance.choice(TABLE["questions"]).format(**fill), self.chance.choice(TABLE["replies"]).format(**fill)
        )

    def sentence_of_json(self) -> Row:
        """JSON of values, then the sentence that states them."""
        sentence, values = self.record()
        return self.turn(self.system(), json.dumps(values) + " Write as text.", sentence)

    def json_of_sentence(self) -> Row:
        """A sentence and some keys, then JSON of those values; a fourth stands among other sentences."""
        sentence, values = self.record()
        system = self.system()
        if self.chance.random() < 0.25:
            others = [self.record()[0] for _ in range(self.chance.randint(1, 6))]
            system = " ".join([SYSTEM, *others])
        return self.as_json(system, sentence, self.some_of(values))

    def json_of_fields(self) -> Row:
        """Values named by any noun, then JSON of some: the key says where to look."""
        keys = self.chance.sample(TABLE["nouns"], self.chance.randint(2, 4))
        pools = list(POOLS.values())
        values = {key: self.anything(pools) for key in keys}
        shape = self.chance.choice(["{0} {1}", "{1} {0}", "the {0} is {1}"])
        stated = ", ".join(shape.format(key, value) for key, value in values.items())
        return self.as_json(self.system(), stated[0].upper() + stated[1:] + ".", self.some_of(values))

    def as_json(self, system: str, stated: str, wanted: dict[str, Value]) -> Row:
        """Ask for `wanted` as JSON, a fourth of the time between the marks of a call (which names no function)."""
        call = self.chance.random() < 0.25
        answer = json.dumps(wanted)
        ask = f"{stated} {'Call with' if call else 'Write as JSON'} {' '.join(wanted)}."
        return self.turn(system, ask, f"<tool_call>\n{answer}\n</tool_call>" if call else answer)

    def record(self) -> tuple[str, dict[str, Value]]:
        """A sentence and the values in it; no value stands there twice."""
        sentence = self.chance.choice(TABLE["sentences"])
        values: dict[str, Value] = {}
        for key in KEYS[sentence]:
            pool = [word for word in POOLS.get(key, ()) if word not in values.values()]
            values[key] = self.word(pool) if pool else self.number()
        return sentence.format(**values), values

    def anything(self, pools: Sequence[Sequence[str]]) -> Value:
        """A word of any pool or, one time in eight, a number."""
        return self.number() if self.chance.random() < 0.125 else self.word(self.chance.choice(pools))

    def word(self, pool: Sequence[str]) -> str:
        """A word of the pool or, where it is large, now and then a made-up one: copying must not end at known words."""
        if len(pool) > 2 and self.chance.random() < 0.1:
            return "".join(self.chance.choice(TABLE["syllables"]) for _ in range(self.chance.randint(2, 3))).capitalize()
        return self.chance.choice(pool)

    def number(self) -> int:
        """Mostly of two digits."""
        return self.chance.randint(1, 99 if self.chance.random() < 0.9 else 999)

    def some_of(self, values: dict[str, Value]) -> dict[str, Value]:
        """One to three of the values, in any order."""
        keys = self.chance.sample(list(values), self.chance.randint(1, min(3, len(values))))
        return {key: values[key] for key in keys}

    def turn(self, system: str, ask: str, answer: str) -> Row:
        """One exchange in ChatML; only the answer is learned. An empty system message is left out."""
        head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
        prompt = f"{head}<|im_start|>user\n{ask}<|im_end|>\n<|im_start|>assistant\n"
        return self.learned_after(self.ids(prompt), self.ids(answer + "<|im_end|>"))

    def system(self) -> str:
        """The system message of a third of the rows: it is long and always the same."""
        return SYSTEM if self.chance.random() < 0.33 else ""

    def learned_after(self, given: list[int], learned: list[int]) -> Row:
        """Join what is given and what is learned."""
        return Row(given + learned, [-100] * len(given) + learned)

    def ids(self, text: str) -> list[int]:
        """Token ids of `text` as it stands."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def end_of_text(self) -> int:
        """The id that stands between texts."""
        return int(self.tokenizer.convert_tokens_to_ids("<|endoftext|>"))
