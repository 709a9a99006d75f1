"""Folds the adapter into its base and proves, before the result is put in place, that it is the same model."""

import copy
import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from src.core.errors import MlxError
from src.core.run import Run
from src.core.stage import StageConfig, stage
from src.models.libraries import routed
from src.models.likelihood import token_log_probs
from src.models.load import DTYPES, Loaded, load, load_tokenizer
from src.models.merge import load_dequantized, load_on_original, merged_weights, ties
from src.models.shards import write_shards
from src.models.size import context
from src.models.trained import Trained
from src.train.export.card import Card
from src.train.verification.comparison import ROUNDED, Check, same_log_probs
from src.train.verification.rows import Chosen, choose

Dtype = Literal["auto", "fp32", "bf16", "fp16"]
ROWS = 100
"""Most rows that the merged model is compared on, and losses are told for."""
LONGEST = 8192
"""Most tokens in such a row."""


class MergeConfig(StageConfig):
    """Fold the adapter into its base."""

    base: Literal["dequantized", "original"] = "dequantized"
    """What the adapter is folded into: the weights that the quantised ones stand for, on which it was trained, or those before."""
    dtype: Dtype = "auto"
    """What the weights are kept in; auto: what was trained in."""


@dataclass(frozen=True)
class Measured:
    """What a model makes of the rows."""

    log_probs: list[list[float]]
    loss: float
    """Mean negative log-likelihood of the learned tokens, in nats."""


@stage(reads={"model": ("train",), "evaluation": ("eval", None)}, volatile=("README.md",), at="checkpoint/{name}/export/merge")
def merge(config: MergeConfig, run: Run) -> None:
    """Fold the adapter into its base: a model that needs no other.

    Writes safetensors, config, tokenizer, chat template and README.md, after the merged model was loaded and found to
    give the log-probabilities of the trained one.
    """
    with routed():
        _merge(config, run)


def _merge(config: MergeConfig, run: Run) -> None:
    trained = Trained.of(run.input("model").path)
    if trained.task == "classify":
        raise MlxError("a classifier is not merged yet", OTHERWISE)
    dtype = trained.dtype if config.dtype == "auto" else config.dtype
    into = config.base if trained.quantization != "none" else "original"
    tokenizer = load_tokenizer(trained.tokenizer)
    longest = min(context(trained.model) or LONGEST, LONGEST)
    rows = choose(trained, tokenizer, rows=ROWS, seed=run.seed, longest=longest)
    run.log.info("merging into the %s base as %s; then comparing on %s", into, dtype, rows.words())
    losses: dict[str, float] = {}
    expected = _write(trained, into, dtype, rows, run.output, losses)
    tokenizer.save_pretrained(run.output)
    found = _measured(load(run.output, dtype=dtype), rows)
    losses["export"] = found.loss
    compared = same_log_probs(
        "merged", "the model before", rows.rows, expected.log_probs, found.log_probs, tokenizer, allowed=ROUNDED[dtype]
    )
    _must_agree(compared, run)
    told = {
        "largest": compared.largest,
        "mean": compared.mean,
        "allowed": str(compared.allowed),
        "rows": compared.rows,
        "tokens": compared.tokens,
    }
    made = trained.model_copy(update={"weights": ".", "quantization": "none", "dtype": dtype})
    run.info |= made.as_info() | {"merged_into": into, "trained_on": trained.quantization, "losses": losses, "difference": told}
    run.ledger.keep(compared.rows)
    (run.output / "README.md").write_text(Card.of(run, trained, "merge").text(), encoding="utf-8")


def _write(trained: Trained, into: str, dtype: str, rows: Chosen, output: Path, losses: dict[str, float]) -> Measured:
    """Write the merged weights; return what the model they were made from makes of the rows."""
    loaded = trained.load()
    as_trained = _measured(loaded, rows)
    losses["as trained"] = as_trained.loss
    expected = as_trained
    if trained.quantization != "none":
        original = load_on_original(trained)
        measured = _measured(original, rows)
        losses["adapter on the original base"] = measured.loss
        if into == "original":
            loaded, expected = original, measured
        elif trained.quantization == "int8":  # its kernels round what flows through them too, which no merged model does
            expected = _measured(load_dequantized(trained), rows)
            losses["adapter on the dequantised base"] = expected.loss
        del original
    model = loaded.model
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    write_shards(merged_weights(model, DTYPES[dtype]), output)
    settings = copy.deepcopy(inner.config)
    if hasattr(settings, "quantization_config"):
        del settings.quantization_config
    settings.dtype = DTYPES[dtype]
    settings.get_text_config().tie_word_embeddings = ties(model)
    settings.architectures = [type(inner).__name__]
    settings.save_pretrained(output)
    if inner.generation_config is not None:
        inner.generation_config.save_pretrained(output)
    del loaded, model, inner
    gc.collect()
    return expected


def _measured(loaded: Loaded, rows: Chosen) -> Measured:
    log_probs = [token_log_probs(loaded.model, row.ids) for row in rows.rows]
    learned = [
        value
        for row, values in zip(rows.rows, log_probs, strict=True)
        for value, counts in zip(values, row.encoded.mask[1:], strict=True)
        if counts
    ]
    return Measured(log_probs, -sum(learned) / len(learned))


def _must_agree(compared: Check, run: Run) -> None:
    run.log.info(
        "log-probabilities differ by at most %.1e, %.1e in the mean (allowed %s)", compared.largest, compared.mean, compared.allowed
    )
    if compared.verdict == "pass":
        return
    where = "\n".join(compared.first.lines()) if compared.first else ""
    raise MlxError(
        f"the merged model is not the trained one: its log-probabilities differ by up to {compared.largest:.2g} "
        f"({compared.mean:.2g} in the mean; allowed {compared.allowed})\n{where}",
        "export it with --dtype fp32; if that differs too, serve it with its adapter",
    )


OTHERWISE = "serve it with its adapter, or export that: mlx export adapter"
