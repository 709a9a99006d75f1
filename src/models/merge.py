"""Folds an adapter into its base weight by weight, so that a second copy of the model never has to fit into memory."""

from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.integrations import dequantize_module_weight
from peft.utils.other import AuxiliaryTrainingWrapper, ModulesToSaveWrapper

from src.core.errors import MlxError
from src.models.load import Loaded, attach, load, load_tokenizer
from src.models.trained import Trained

ONLY = "default"
"""The name PEFT gives to the one adapter."""
OTHERWISE = "serve it with its adapter: serve.engine.type=transformers"


def load_dequantized(trained: Trained, *, device: str = "auto") -> Loaded:
    """Load the base with the weights that its quantised ones stand for, and the adapter on it: what a merge has to equal."""
    alone = load(trained.model, quantization=trained.quantization, dtype=trained.dtype, device=device)
    if trained.quantization != "none":
        alone.model.dequantize()
    return Loaded(attach(alone.model, trained.adapter).eval() if trained.adapter else alone.model, load_tokenizer(trained.tokenizer))


def load_on_original(trained: Trained, *, dtype: str | None = None, device: str = "auto") -> Loaded:
    """Load the unquantised base with the adapter on it: what servers run that keep whole weights."""
    return load(trained.model, adapter=trained.adapter, dtype=dtype or trained.dtype, device=device)


def merged_weights(model: Any, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield each weight of `model` under its name in the base, on the CPU: dequantised, the adapter folded in.

    Sums are formed in float32 and rounded to `dtype` once. An output head tied to the embeddings is left out unless an
    adapter changed one of the two; `ties` tells.

    Raises:
        MlxError: Where the adapter is of a kind that cannot be folded in.
    """
    whole = _inner(model)
    left_out = _head_name(whole) if ties(model) else None
    for name, weight in _walk(whole, ""):
        if name != left_out:
            kept = weight.detach().to("cpu", dtype if weight.is_floating_point() else weight.dtype)
            yield name, kept.clone() if kept.data_ptr() == weight.data_ptr() else kept.contiguous()


def ties(model: Any) -> bool:
    """Whether the merged model's output head is its embeddings."""
    whole = _inner(model)
    if not getattr(whole.config.get_text_config(), "tie_word_embeddings", False):
        return False
    ends = (whole.get_input_embeddings(), whole.get_output_embeddings())
    return not any(isinstance(each, BaseTunerLayer | AuxiliaryTrainingWrapper) for each in ends)


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _head_name(whole: Any) -> str | None:
    head = whole.get_output_embeddings()
    return next((f"{name}.weight" for name, module in whole.named_modules() if module is head), None)


def _walk(module: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(module, ModulesToSaveWrapper):
        yield from _walk(module.modules_to_save[ONLY], prefix)
        return
    if isinstance(module, BaseTunerLayer):
        yield from _folded(module, prefix)
        return
    if isinstance(module, AuxiliaryTrainingWrapper):
        raise MlxError(f"{prefix[:-1]}: an adapter of single tokens cannot be merged", OTHERWISE)
    for name, weight in module.named_parameters(recurse=False):
        yield prefix + name, dequantize_module_weight(module) if _quantised(weight) else weight
    for name, buffer in module.named_buffers(recurse=False):
        if name not in module._non_persistent_buffers_set:
            yield prefix + name, buffer
    for name, inner in module.named_children():
        yield from _walk(inner, f"{prefix}{name}.")


def _quantised(weight: Any) -> bool:
    return type(weight).__name__ in ("Params4bit", "Int8Params")


def _folded(layer: Any, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of one adapted layer."""
    if any((getattr(layer, "lora_bias", None) or {}).values()):
        raise MlxError(f"{prefix[:-1]}: an adapter with biases cannot be merged", OTHERWISE)
    for name, weight in _walk(layer.get_base_layer(), prefix):
        yield name, _with_adapter(layer, weight) if name == f"{prefix}weight" else weight


def _with_adapter(layer: Any, weight: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        delta = layer.get_delta_weight(ONLY).float().to(weight.device)
        total = weight.float() + delta
        magnitude = getattr(layer, "lora_magnitude_vector", None)
        if magnitude is None or ONLY not in magnitude:
            return total
        # DoRA (Liu et al. 2024): a learned length for each row, and the direction of the sum
        length = magnitude[ONLY].weight.float().to(total.device)
        return length.reshape(-1, 1) * total / torch.linalg.norm(total, dim=1, keepdim=True)
