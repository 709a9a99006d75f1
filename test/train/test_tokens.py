"""The console and metrics.jsonl count the tokens that were learned, and all tokens, whatever the task."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.core.files import write_jsonl
from src.models.load import load_tokenizer
from src.train import train
from src.train.pairs import read_pairs

OUTPUT = Path("checkpoint/t/train")
EPOCH = ("train.max_steps=null", "train.quantization=none", "train.eval_steps=100", "train.track=[]", "train.lora.dropout=0")


def rows_tokens():
    """Tokens that counted in the loss of each row, as measured without the trainer."""
    return sum(json.loads(line)["tokens"] for line in (OUTPUT / "train_losses.jsonl").read_text().splitlines())


@pytest.mark.parametrize("packing", ["true", "false"])
def test_of_conversations(project, rewrite, made, packing):
    config = project(*EPOCH, "train.row_losses=all", f"train.packing={packing}")
    rewrite(train=[made(number) for number in range(12)])
    info = train(config).info
    assert info["tokens"] == rows_tokens()
    assert info["tokens"] < info["tokens_all"] / 2


def test_of_text_the_first_token_is_not_learned(project):
    texts = [{"id": f"t:{n}", "text": "The lamp is red. " * (1 + n % 3)} for n in range(12)]
    write_jsonl(Path("corpus.jsonl"), texts)
    overrides = ("train.task=pretrain", "train.input=corpus.jsonl", "train.pretrain={validation: 0, apart: true}", "train.packing=false")
    info = train(project(*EPOCH, *overrides, "train.row_losses=all")).info
    assert info["tokens"] == rows_tokens() == info["tokens_all"] - 12


@pytest.mark.parametrize("reference", ["adapter_off", "precomputed"])
def test_of_preferences_both_answers_count_and_the_reference_does_not(project, caplog, reference):
    ask = [{"role": "user", "content": "What colour is the lamp?"}]
    pairs = [{"id": f"p:{n}", "prompt": ask, "tools": [], "tags": [], "sources": []} for n in range(8)]
    for number, each in enumerate(pairs):
        each["chosen"] = [{"role": "assistant", "content": "It is red. " * (1 + number % 3)}]
        each["rejected"] = [{"role": "assistant", "content": "What lamp?"}]
    write_jsonl(Path("data/t/build/train_preferences.jsonl"), pairs)
    caplog.set_level("INFO", "mlx")
    manifest = train(project(*EPOCH, "train.task=dpo", f"train.dpo={{reference: {reference}}}"))
    ledger = SimpleNamespace(keep=lambda: None)
    run = SimpleNamespace(input=lambda _: SimpleNamespace(path=Path("data/t/build")), progress=lambda rows, **_: rows, ledger=ledger)
    found = [answer for pair in read_pairs(run, load_tokenizer("tiny"), "train", longest=160) for answer in (pair.chosen, pair.rejected)]
    assert manifest.info["tokens"] == sum(sum(answer.mask) for answer in found)
    assert manifest.info["tokens_all"] == sum(len(answer.ids) for answer in found)
    rates = [[float(part.replace(",", "")) for part in pair] for pair in re.findall(r"([\d,]+) of +([\d,]+) tok/s", caplog.text)]
    assert rates
    share = manifest.info["tokens"] / manifest.info["tokens_all"]
    assert sum(rate[0] for rate in rates) / sum(rate[1] for rate in rates) == pytest.approx(share, rel=0.1)
