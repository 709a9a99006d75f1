"""A tokenizer and a small BERT made from nothing, so that a classifier trains end to end without a model to download."""

import random
from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from src.models.scratch import Report, teach

PAD, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
LONGEST = 512
CUT = 64  # tokens of a text that pre-training looks at
BATCH = 32
HIDDEN, KEPT, SWAPPED = 0.15, 0.1, 0.1  # shares: of tokens to be guessed, of these left as they are or swapped (Devlin et al. 2019)
IGNORED = -100


def wordpiece(texts: Sequence[str], *, vocab: int = 4096) -> PreTrainedTokenizerFast:
    """Train a lower-casing WordPiece with BERT's marks."""
    learner = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    learner.normalizer = normalizers.BertNormalizer(lowercase=True)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    learner.decoder = decoders.WordPiece()
    marks = [PAD, UNKNOWN, START, END, MASK]
    learner.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=vocab, special_tokens=marks, show_progress=False))
    ids = [(mark, learner.token_to_id(mark)) for mark in (START, END)]
    learner.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", pair=f"{START} $A {END} $B:1 {END}:1", special_tokens=ids
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=learner,
        pad_token=PAD,
        unk_token=UNKNOWN,
        cls_token=START,
        sep_token=END,
        mask_token=MASK,
        model_max_length=LONGEST,
        clean_up_tokenization_spaces=False,
    )


def pretrain_encoder(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], *, seed: int, steps: int, on_step: Report | None = None
) -> BertForMaskedLM:
    """Teach a fresh BERT of two layers to guess hidden tokens of `texts`.

    Returns the model in float32 on the CPU; the same arguments give the same weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForMaskedLM(_config(tokenizer))
        chance = random.Random(seed)
        rows = [ids for ids in tokenizer(list(texts), truncation=True, max_length=CUT)["input_ids"] if len(ids) > 2]

        def step() -> float:
            return _step(model, [chance.choice(rows) for _ in range(BATCH)], tokenizer)

        teach(model, step, steps=steps, on_step=on_step)
    return model


def _config(tokenizer: PreTrainedTokenizerFast) -> BertConfig:
    return BertConfig(
        vocab_size=(len(tokenizer) + 63) // 64 * 64,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LONGEST,
        pad_token_id=tokenizer.pad_token_id,
    )


def _step(model: BertForMaskedLM, rows: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerFast) -> float:
    """Add the gradient of one batch and return its loss."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[tokenizer.pad_token_id] * (longest - len(row))] for row in rows])
    shown, labels = _hidden(ids, tokenizer)
    wanted = labels != IGNORED
    states = model.bert(input_ids=shown, attention_mask=(ids != tokenizer.pad_token_id).long()).last_hidden_state
    loss = torch.nn.functional.cross_entropy(model.cls(states[wanted]), labels[wanted])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return float(loss.item())


def _hidden(ids: torch.Tensor, tokenizer: PreTrainedTokenizerFast) -> tuple[torch.Tensor, torch.Tensor]:
    """Hide some tokens; the labels are what they were, -100 elsewhere."""
    marks = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    drawn = (torch.rand(ids.shape) < HIDDEN) & ~marks
    drawn[0, 1] = True  # some token always
    how = torch.rand(ids.shape)
    shown = torch.where(drawn & (how >= KEPT + SWAPPED), tokenizer.mask_token_id, ids)
    swapped = torch.randint(len(tokenizer.all_special_ids), len(tokenizer), ids.shape)
    shown = torch.where(drawn & (how >= KEPT) & (how < KEPT + SWAPPED), swapped, shown)
    return shown, torch.where(drawn, ids, IGNORED)
