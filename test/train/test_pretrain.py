"""Plain text: a decoder learns the next token, an encoder the hidden ones; none is lost, a kill changes nothing."""

import json
import math
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from src.core.errors import ConfigError, MlxError
from src.core.files import write_jsonl
from src.models.trained import Trained
from src.train import train

OUTPUT = Path("checkpoint/t/train")
COLOURS = ("red", "green", "blue", "grey")
THINGS = ("lamp", "door", "boat", "rope", "bell", "coat")
COMMON = (
    "train.task=pretrain",
    "train.input=corpus.jsonl",
    "train.sequence_length=24",
    "train.quantization=none",
    "train.pretrain.validation=0.2",
)
DOCUMENTS = [
    {"id": f"{'book' if n % 2 else 'page'}:{n}", "text": f"The {THINGS[n % 6]} is {COLOURS[n % 4]}. " * (1 + n % 5)} for n in range(40)
]


@pytest.fixture
def texts(project):
    """A function that loads the project on 40 documents, or those in corpus.jsonl."""

    def load(*overrides):
        if not Path("corpus.jsonl").exists():
            write_jsonl(Path("corpus.jsonl"), DOCUMENTS)
        return project(*COMMON, *overrides)

    return load


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """Folder of a BERT with hidden size 32 and one layer, and a WordPiece tokenizer that splits some words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder") / "bert"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "The", "is", ".", "la", "##mp", "do", "##or", "bo", "##at", "##pe", "ro"]
    words += ["bell", "co", *COLOURS]
    made = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertForMaskedLM(BertConfig(vocab_size=len(words), max_position_embeddings=64, initializer_range=0.3, **shape)).save_pretrained(folder)
    return folder


@pytest.fixture
def masked(texts, encoder):
    """The same with the encoder as the base."""
    shutil.copytree(encoder, "bert")
    common = ("train.model=./bert", "train.packing=false", "train.pretrain.objective=masked", "train.micro_batch=4")
    return lambda *overrides: texts(*common, *overrides)


@pytest.mark.parametrize(
    "settings",
    [("train.quantization=nf4", "train.learning_rate=2.0e-2"), ("train.lora=null", "train.learning_rate=2.0e-3")],
    ids=["nf4", "all"],
)
def test_a_decoder_learns_the_text(texts, curve, settings):
    manifest = train(texts("train.max_steps=12", "train.eval_steps=12", *settings))
    info = manifest.info
    assert info["validation_loss"] < 0.8 * info["validation_loss_before"]
    assert info["validation_perplexity"] == pytest.approx(math.exp(info["validation_loss"]))
    assert manifest.counts["kept"] == 40
    assert info["task"] == "pretrain"
    rows = [json.loads(line) for line in (OUTPUT / "losses.jsonl").read_text().splitlines()]
    assert {row["id"].partition("#")[0] for row in rows} <= {each["id"] for each in DOCUMENTS}
    loaded = Trained.of(OUTPUT).load()
    first = next(row for row in rows if row["id"].endswith("#0"))
    assert document_loss(loaded, first["id"].removesuffix("#0")) == pytest.approx(first["loss"], abs=1e-3)


def document_loss(loaded, name):
    """Nats a token of the first 24."""
    import torch

    [text] = [each["text"] for each in DOCUMENTS if each["id"] == name]
    eos = loaded.tokenizer.eos_token_id
    ids = torch.tensor([[*loaded.tokenizer(text)["input_ids"], eos][:24]])
    with torch.no_grad():
        scores = loaded.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return -scores.gather(-1, ids[0, 1:, None]).mean().item()


@pytest.mark.parametrize("apart", [True, False])
def test_every_token_is_learned_once(texts, monkeypatch, apart):
    from src.models.load import load_tokenizer
    from src.train.monitor import Monitor

    seen, count = [], Monitor.count

    def note(self, module, args, inputs):
        if module.training:
            seen.append(inputs)
        return count(self, module, args, inputs)

    monkeypatch.setattr(Monitor, "count", note)
    settings = ("train.max_steps=null", "train.epochs=1", "train.effective_batch=1", "train.pretrain.validation=0")
    few = DOCUMENTS[:12]
    write_jsonl(Path("corpus.jsonl"), few)
    train(texts(f"train.pretrain.apart={apart}", *settings))
    tokenizer = load_tokenizer("tiny")
    whole = [[*tokenizer(each["text"])["input_ids"], tokenizer.eos_token_id] for each in few]
    starts = [batch["cu_seq_lens_q"].tolist() for batch in seen]
    rows = [batch["input_ids"][0, a:b].tolist() for batch, place in zip(seen, starts, strict=True) for a, b in pairwise(place)]
    assert sorted(token for row in rows for token in row) == sorted(token for row in whole for token in row)
    assert max(map(len, rows)) == 24
    ends = sum(row.count(tokenizer.eos_token_id) for row in rows)
    assert ends == 12  # at the end of a document, not of each piece of it
    # apart: a document never begins inside a row; in a stream nearly every row goes on into the next
    inner = sum(tokenizer.eos_token_id in row[:-1] for row in rows)
    assert (inner == 0) == apart


def test_records_of_a_stage_are_read_and_empty_ones_dropped(texts):
    from src.core.records import Record
    from src.core.tables import write_records

    write_records(Path("r.parquet"), [Record(f"made:{n}", "" if n == 3 else "The boat is red. " * 9, {}) for n in range(6)])
    manifest = train(texts("train.input=r.parquet", "train.max_steps=1", "train.effective_batch=1"))
    assert manifest.counts == {"read": 6, "kept": 5, "dropped": 1, "reasons": {"empty": 1}}


def test_what_is_cut_loses_no_token_and_leaves_none_alone():
    from array import array

    from src.train.texts import Document, Frame, blocks, framed_pieces, pieces

    documents = [Document(f"d:{n}", array("i", range(10, 10 + n)), array("i", range(n)), "") for n in (1, 7, 8, 9, 16)]
    frame = Frame((1,), (2,))
    whole = [1, *range(10, 26), 2]
    cut = pieces(documents, frame=frame, length=9)
    assert [len(row.ids) for row in cut] == [3, 9, 8, 2, 9, 2, 9, 9]  # 10 tokens are 8 and 2: from one alone nothing is learned
    assert [token for row in cut[-2:] for token in row.ids] == whole
    assert [len(row.ids) for row in framed_pieces(documents, frame=frame, length=9)] == [3, 9, 9, 3, 9, 4, 9, 9, 4]
    assert sum(len(row.ids) for row in blocks(documents, frame=frame, length=10)) == 51
    assert [len(row.ids) for row in blocks(documents, frame=frame, length=10)] == [10, 10, 10, 10, 9, 2]


def test_a_dataset_of_conversations_is_no_text(texts, project):
    with pytest.raises(MlxError, match="holds no records") as error:
        train(project("train.task=pretrain"))
    assert "train.input" in error.value.hint


@pytest.mark.parametrize(
    ("settings", "bound"),
    [
        # five tokens of equal number: who knows no more than that has a loss of ln 5 = 1.61
        (("train.lora=null", "train.learning_rate=1.0e-2", "train.max_steps=60"), 1.2),
        # the frozen weights are random, so that the adapter comes no further than that; but it comes from 5.4
        (("train.quantization=nf4", "train.learning_rate=3.0e-2", "train.max_steps=30"), 3.0),
    ],
    ids=["all", "nf4"],
)
def test_an_encoder_learns_to_fill_in(masked, settings, bound):
    write_jsonl(Path("corpus.jsonl"), [{"id": f"bell:{n}", "text": "The bell is red. " * (1 + n % 5)} for n in range(40)])
    manifest = train(masked("train.effective_batch=8", "train.micro_batch=8", "train.eval_steps=60", *settings))
    info = manifest.info
    assert info["validation_loss"] < bound < 5 < info["validation_loss_before"]
    loaded = Trained.of(OUTPUT).load()
    assert "MaskedLM" in type(loaded.model.get_base_model() if hasattr(loaded.model, "get_base_model") else loaded.model).__name__


def test_what_is_hidden_depends_on_epoch_and_row_alone(encoder):
    from src.models.load import load_tokenizer
    from src.train.masking import Masking

    tokenizer = load_tokenizer(encoder)
    masking = Masking(tokenizer, share=0.3, whole_words=True, seed=1)
    encoded = tokenizer("The lamp is red. The door is blue. The boat is grey.")
    words = [-1 if word is None else word for word in encoded.word_ids()]
    rows = [{"number": n, "input_ids": encoded["input_ids"], "words": words} for n in range(40)]
    batch = masking(rows)
    assert batch["labels"].equal(masking(rows)["labels"])
    assert masking(rows[7:8])["input_ids"][0].equal(batch["input_ids"][7])
    for labels in batch["labels"].tolist():
        hidden = {word for word, label in zip(words, labels, strict=True) if label != -100}
        assert -1 not in hidden
        assert [label != -100 for label in labels] == [word in hidden for word in words]  # all of a word, or nothing
        assert sum(label != -100 for label in labels) >= 5  # 0.3 of 18
    hidden = batch["labels"] != -100
    kept = batch["input_ids"][~hidden]
    assert (batch["input_ids"][hidden] == tokenizer.mask_token_id).float().mean() == pytest.approx(0.8, abs=0.1)
    assert not (kept == tokenizer.mask_token_id).any()
    masking.epoch = 1
    assert not batch["labels"].equal(masking(rows)["labels"])


def test_single_tokens_and_short_rows(encoder):
    from src.models.load import load_tokenizer
    from src.train.masking import Masking

    masking = Masking(load_tokenizer(encoder), share=0.15, whole_words=False, seed=1)
    batch = masking(
        [
            {"number": 0, "input_ids": [2, 5, 3], "words": [-1, 0, -1]},
            {"number": 1, "input_ids": [2, 5, 6, 7, 3], "words": [-1, 0, 1, 2, -1]},
        ]
    )
    assert (batch["labels"] != -100).sum(1).tolist() == [1, 1]
    assert batch["attention_mask"].sum(1).tolist() == [3, 5]


def test_what_cannot_be_is_said_at_its_key(masked, texts):
    with pytest.raises(ConfigError, match=r"train\.packing: masked tokens are learned from both sides"):
        masked("train.packing=true")
    with pytest.raises(ConfigError, match=r"train\.pretrain\.whole_words: only masked hides words"):
        texts("train.pretrain.whole_words=true")
    with pytest.raises(MlxError, match="has no mask token"):
        train(masked("train.model=./tiny"))


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_kill_9_and_again_is_the_same_run(texts, encoder, curve, kill_9, kind):
    more = (
        ("train.lora=null", "train.neftune=5")
        if kind == "causal"
        else ("train.model=./bert", "train.packing=false", "train.pretrain.objective=masked")
    )
    shutil.copytree(encoder, "bert")
    weights = OUTPUT / ("model/model.safetensors" if kind == "causal" else "adapter/adapter_model.safetensors")
    train(texts(*more))
    expected = curve(), weights.read_bytes()
    shutil.rmtree("checkpoint")
    kill_9(*COMMON, *more, "train.save_steps=2")
    train(texts(*more))
    assert (curve(), weights.read_bytes()) == expected
