"""Load a base model with a classification head: quantised or whole, the head itself always in full precision."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerBase

from src.core.errors import MlxError
from src.models.hub import explained, located
from src.models.libraries import routed
from src.models.load import DTYPES, Quantization, attach, keep_nf4_trainable, quantized, require_bitsandbytes

HEADS = ("score", "classifier", "classification_head")
"""What models call their head."""
_FRESH = (*HEADS, "pooler", "head", "pre_classifier")  # may be missing in a base that never told classes apart


def load_classifier(
    base: str | Path,
    *,
    labels: Sequence[str],
    pad: int | None = None,
    head: Path | None = None,
    adapter: Path | None = None,
    quantization: Quantization = "none",
    dtype: str = "fp32",
    device: str = "cpu",
) -> Any:
    """Load `base` with a head for `labels`: a fresh one, or that of the `adapter`.

    Args:
        base: Folder or hub id of a decoder or an encoder.
        labels: Names of the classes, in the order of the head's outputs; they become the config's `id2label`.
        pad: The tokenizer's padding token, by which decoders find the end of a text. Needed for a fresh head.
        head: Folder with the config of a head that was trained.
        adapter: Folder of a PEFT adapter with its head.
        quantization: How the base's linear layers are kept; the head is never quantised.
        dtype: Of the base's weights, `bf16` or `fp32`; the head's are fp32.
        device: `cpu` or `cuda:N`.

    Raises:
        MlxError: Where the model is not to be had, or its weights do not fit the architecture.
    """
    name = located(base)
    require_bitsandbytes(quantization)
    with routed(), explained(name, "a model with a classification head"):
        config = AutoConfig.from_pretrained(head.as_posix() if head else name)
        if head is None:
            _name_classes(config, labels, pad)
        model, report = AutoModelForSequenceClassification.from_pretrained(
            name,
            config=config,
            dtype=DTYPES[dtype],
            device_map={"": device},
            quantization_config=quantized(quantization, DTYPES[dtype]),
            use_safetensors=True,
            ignore_mismatched_sizes=head is None,  # a head for other classes gives way to a fresh one
            output_loading_info=True,
        )
        _all_there(name, report)
        keep_nf4_trainable(model)
        head_of(model).float()
        return attach(model, adapter) if adapter else model


def head_of(model: Any) -> torch.nn.Module:
    """The head, by whatever name; it has to be unquantised."""
    name = head_name(model)
    found: torch.nn.Module = getattr(model, name)
    if odd := [type(each).__name__ for each in found.modules() if "bit" in type(each).__name__]:
        raise RuntimeError(f"the head {name} of {type(model).__name__} is quantised: {odd}")
    return found


def head_name(model: Any) -> str:
    """What the model calls its head."""
    if found := next((name for name in HEADS if hasattr(model, name)), None):
        return found
    raise MlxError(f"{type(model).__name__} has no head by any known name ({', '.join(HEADS)})", "take another base model")


def save_head_config(model: Any, folder: Path) -> None:
    """Write the config that `load_classifier` reads as `head`: classes, padding token, architecture, not how it was quantised."""
    config = type(model.config).from_dict({k: v for k, v in model.config.to_dict().items() if k != "quantization_config"})
    config.save_pretrained(folder)


def pad_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """The padding token's id, which decoders take for the end of a text."""
    if tokenizer.pad_token_id is None:
        raise MlxError(f"the tokenizer of {tokenizer.name_or_path} has no padding token", "take another base model")
    return int(tokenizer.pad_token_id)


def _name_classes(config: Any, labels: Sequence[str], pad: int | None) -> None:
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    config.problem_type = "single_label_classification"
    # without it a decoder cannot tell where a padded text ends; models with images keep it in the config of their text
    config.pad_token_id = config.get_text_config().pad_token_id = pad


def _all_there(name: str, report: dict[str, Any]) -> None:
    """Fail where parts other than the head were left at random."""

    def is_fresh(key: str) -> bool:
        return bool(set(key.split(".")) & set(_FRESH))

    mismatched = {key if isinstance(key, str) else str(key[0]) for key in report["mismatched_keys"]}
    lost = sorted(key for key in {*report["missing_keys"], *mismatched} if not is_fresh(key))
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        raise MlxError(f"{name} lacks weights of the model: {', '.join(lost[:3])}{more}", "take a whole checkpoint of this architecture")
