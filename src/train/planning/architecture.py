"""Read a model's shape from its config.json: in a folder, in the hub's local cache, or of a family known by name. Asks no network."""

import json
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from src.core.errors import MlxError, did_you_mean
from src.train.planning.shape import Linear, Shape

CATALOGUE = Path(__file__).with_name("models.json")
_TIED = {"gemma", "gemma2", "gemma3_text", "bert", "roberta", "distilbert"}
_NORMS = {"gemma2": 4, "gemma3_text": 4, "phi": 1}
_HEAD_DIM = {"qwen3": 128, "gemma2": 256, "gemma3_text": 256}
_SUFFIXES = re.compile(r"-(instruct|it|chat|hf|base|bnb|4bit|unsloth)(?=-|$)")


def shape_of(model: str) -> Shape:
    """Find the shape of `model`, a folder or a hub id.

    Raises:
        MlxError: Where its config.json is neither here nor known, or of a family whose parameters are not known.
    """
    folder = Path(model)
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise MlxError(f"{folder} is no model (it has no config.json)", "name a folder that `save_pretrained` wrote")
        return read_shape(model, json.loads((folder / "config.json").read_text(encoding="utf-8")))
    if cached := _cached(model):
        return read_shape(model, json.loads(cached.read_text(encoding="utf-8")))
    if config := catalogue().get(_bare(model)):
        return read_shape(model, config)
    raise MlxError(
        f"the shape of {model!r} is not known: it is no folder, not in the hub's cache here, and of no family known by name"
        + _like(_bare(model)),
        f"fetch its config.json alone, `hf download {model} config.json`, or name a folder that holds it",
    )


@cache
def catalogue() -> dict[str, dict[str, Any]]:
    """What config.json says of well-known models, by their bare name in lower case."""
    return {_bare(name): config for name, config in json.loads(CATALOGUE.read_text(encoding="utf-8")).items()}


def read_shape(name: str, config: Mapping[str, Any]) -> Shape:
    """Turn the values of a config.json into a shape."""
    extra = int(config.get("extra_parameters", 0))
    if "text_config" in config:  # a model that sees too: its text part
        text = config["text_config"]
        extra = _vision(config.get("vision_config", {}), text["hidden_size"])
        config = {"tie_word_embeddings": config.get("tie_word_embeddings", True), **text}
    family = config.get("model_type", "")
    if (read := FAMILIES.get(family)) is None:
        raise MlxError(f"{name}: models of type {family!r} cannot be planned", f"known types: {', '.join(sorted(FAMILIES))}")
    try:
        return read(name, {**config, "extra_parameters": extra})
    except KeyError as error:
        raise MlxError(f"{name}: its config.json has no {error.args[0]}", "fetch it again from the hub") from None


def _llama(name: str, config: Mapping[str, Any]) -> Shape:
    """Llama and what is built like it: gate, up and down; q, k, v, o with fewer keys than queries."""
    family = config["model_type"]
    basis = _basis(name, config)
    query, value = basis["heads"] * basis["head_dim"], basis["kv_heads"] * basis["head_dim"]
    bias = bool(config.get("attention_bias", False))
    qkv, mlp = bias or family == "qwen2", bool(config.get("mlp_bias", False))
    hidden, inner = basis["hidden"], basis["intermediate"]
    linears = (
        Linear("q_proj", hidden, query, qkv),
        Linear("k_proj", hidden, value, qkv),
        Linear("v_proj", hidden, value, qkv),
        Linear("o_proj", query, hidden, bias),
        Linear("gate_proj", hidden, inner, mlp),
        Linear("up_proj", hidden, inner, mlp),
        Linear("down_proj", inner, hidden, mlp),
    )
    return Shape(**basis, linears=linears, norms=_NORMS.get(family, 2), qk_norm=family in ("qwen3", "gemma3_text"))


def _phi3(name: str, config: Mapping[str, Any]) -> Shape:
    """Phi-3 and Phi-4: q, k, v in one matrix, gate and up in another."""
    basis = _basis(name, config)
    hidden, inner, query = basis["hidden"], basis["intermediate"], basis["heads"] * basis["head_dim"]
    linears = (
        Linear("qkv_proj", hidden, query + 2 * basis["kv_heads"] * basis["head_dim"]),
        Linear("o_proj", query, hidden),
        Linear("gate_up_proj", hidden, 2 * inner),
        Linear("down_proj", inner, hidden),
    )
    return Shape(**basis, linears=linears, norms=2)


def _phi(name: str, config: Mapping[str, Any]) -> Shape:
    """Phi-2: attention and a plain MLP side by side, biases everywhere."""
    basis = _basis(name, config)
    hidden, inner = basis["hidden"], basis["intermediate"]
    value = basis["kv_heads"] * basis["head_dim"]
    sizes = (("q_proj", hidden, hidden), ("k_proj", hidden, value), ("v_proj", hidden, value), ("dense", hidden, hidden))
    linears = tuple(Linear(*each, bias=True) for each in (*sizes, ("fc1", hidden, inner), ("fc2", inner, hidden)))
    return Shape(**basis, linears=linears, norms=1, norm_bias=True, head_bias=True)


def _bert(name: str, config: Mapping[str, Any]) -> Shape:
    """BERT, RoBERTa and DistilBERT: encoders with learned positions."""
    if config["model_type"] == "distilbert":
        names = {"dim": "hidden_size", "hidden_dim": "intermediate_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads"}
        config = {"type_vocab_size": 0, **config, **{new: config[old] for old, new in names.items()}}
    basis = _basis(name, config)
    hidden, inner = basis["hidden"], basis["intermediate"]
    sizes = (("query", hidden, hidden), ("key", hidden, hidden), ("value", hidden, hidden), ("dense", hidden, hidden))
    linears = tuple(Linear(*each, bias=True) for each in (*sizes, ("dense", hidden, inner), ("dense", inner, hidden)))
    labels = len(config.get("id2label") or ()) or 2
    types = int(config.get("type_vocab_size", 2))
    return Shape(**basis, linears=linears, norms=2, norm_bias=True, encoder=True, token_types=types, labels=labels)


def _vision(config: Mapping[str, Any], text: int) -> int:
    """Parameters of a SigLIP tower and of the projector behind it, as Gemma 3 has them."""
    if not config:
        return 0
    hidden, inner, patch = config["hidden_size"], config["intermediate_size"], config["patch_size"]
    embedding = (3 * patch**2 + 1 + (config["image_size"] // patch) ** 2) * hidden
    block = 4 * (hidden + 1) * hidden + (2 * hidden + 1) * inner + 5 * hidden
    return int(embedding + config["num_hidden_layers"] * block + 2 * hidden + hidden * text + hidden)


FAMILIES: dict[str, Callable[[str, Mapping[str, Any]], Shape]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"), _llama),
    **dict.fromkeys(("bert", "roberta", "distilbert"), _bert),
    "phi3": _phi3,
    "phi": _phi,
}


def _basis(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    family, heads = config["model_type"], config["num_attention_heads"]
    tied = config.get("tie_word_embeddings")
    return {
        "name": name,
        "family": family,
        "hidden": config["hidden_size"],
        "intermediate": config["intermediate_size"],
        "layers": config["num_hidden_layers"],
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or _HEAD_DIM.get(family) or config["hidden_size"] // heads,
        "vocab": config["vocab_size"],
        "positions": config.get("max_position_embeddings") or 0,
        "tied": family in _TIED if tied is None else bool(tied),
        "extra": config["extra_parameters"],
    }


def _like(bare: str) -> str:
    said = did_you_mean(bare, catalogue())
    return said if "did you mean" in said else ""


def _bare(model: str) -> str:
    """`unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit` → `llama-3.1-8b`."""
    return _SUFFIXES.sub("", model.rsplit("/", 1)[-1].lower().removeprefix("meta-"))


def _cached(model: str) -> Path | None:
    """The newest config.json of `model` in the hub's cache."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    cache_folder = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")
    found = cache_folder.glob(f"models--{model.replace('/', '--')}/snapshots/*/config.json")
    return max(found, key=lambda file: file.stat().st_mtime, default=None)
