"""Load a model and its tokenizer from disk or the hub: quantised or whole, on the right device, with or without an adapter."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedTokenizerBase

from src.core.errors import MlxError
from src.models.hub import explained, located
from src.models.libraries import routed
from src.models.size import TINY, parameters
from src.models.steady import steady

Quantization = Literal["nf4", "int8", "none"]
DTYPES = {
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
    "fp32": torch.float32,
    "float32": torch.float32,
}
_PADS = ("<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]", "<unk>")


@dataclass(frozen=True)
class Loaded:
    """A model ready for use, in evaluation mode, and the tokenizer it was trained with."""

    model: Any
    """A `PreTrainedModel`, or a `PeftModel` where an adapter is attached."""
    tokenizer: PreTrainedTokenizerBase


def load(
    base: str | Path,
    *,
    adapter: Path | None = None,
    quantization: Quantization = "none",
    dtype: str = "auto",
    device: str = "auto",
    attention: str | None = None,
    trust_remote_code: bool = False,
) -> Loaded:
    """Load the model `base`, a folder or a hub id, and attach the LoRA `adapter` if there is one.

    Args:
        base: Folder with `config.json` and safetensors, or the id of a model on the hub.
        adapter: Folder of a PEFT adapter; its tokenizer, where it has one, takes the place of the base's.
        quantization: How the weights of the linear layers are kept: 4-bit NF4 with double quantisation, LLM.int8, or as they are.
        dtype: `bf16`, `fp16`, `fp32`, or `auto`: bf16 on CUDA and for large models, fp32 for small ones on a CPU.
        device: `cpu`, `cuda`, or `auto`: CUDA where there is one.
        attention: transformers' name of the kernel for attention; its own choice where None.
        trust_remote_code: Whether code that comes with the model may run here.

    Raises:
        MlxError: Where the model, the device or a package is missing, or the hub refuses.
    """
    name = located(base)
    where = pick_device(device)
    require_bitsandbytes(quantization)
    with routed(), explained(name):
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
        kind = pick_dtype(dtype, where, parameters(config))
        tokenizer = load_tokenizer(_tokenizer_folder(adapter) or name, trust_remote_code=trust_remote_code)
        model = head(config).from_pretrained(
            name,
            config=config,
            dtype=kind,
            device_map={"": where},
            quantization_config=quantized(quantization, kind),
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
        )
        keep_nf4_trainable(model)
        if adapter is not None:
            model = attach(model, adapter)
    return Loaded(model.eval(), tokenizer)


def load_tokenizer(base: str | Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder or a hub id; one without a padding token is given one that it does not use otherwise."""
    name = located(base)
    with routed(), explained(name):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    steady(tokenizer)
    if tokenizer.pad_token_id is None:
        vocabulary = tokenizer.get_vocab()
        tokenizer.pad_token = next((pad for pad in _PADS if pad in vocabulary), tokenizer.eos_token)
    return tokenizer


def head(config: Any) -> Any:
    """The class of a model with this config: one that fills in hidden tokens where it was made for that, else one that goes on writing."""
    hidden = any(name.endswith("ForMaskedLM") for name in config.architectures or ())
    return AutoModelForMaskedLM if hidden else AutoModelForCausalLM


def attach(model: Any, adapter: Path) -> Any:
    """Put the LoRA adapter in the folder `adapter` on `model`."""
    from peft import PeftModel

    if not (adapter / "adapter_config.json").exists():
        raise MlxError(f"{adapter} is no adapter (it has no adapter_config.json)", "make one with `mlx train`")
    return PeftModel.from_pretrained(model, adapter.as_posix())


def pick_device(device: str) -> str:
    """Turn `auto`, `cpu` or `cuda` into a device of this machine, or say that it has none."""
    there = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if there else "cpu"
    if device.startswith("cuda") and not there:
        raise MlxError(
            "no CUDA device: torch sees none on this machine", "set device to cpu or auto, or run on a GPU box; see `mlx doctor`"
        )
    # under torchrun each process has its own card
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" else device


def pick_dtype(dtype: str, device: str, size: int) -> torch.dtype:
    """Turn `auto` into the dtype that suits the device and the number of parameters."""
    if dtype != "auto":
        if dtype not in DTYPES:
            raise MlxError(f"{dtype!r} is no dtype", f"choose from auto, {', '.join(DTYPES)}")
        return DTYPES[dtype]
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    # a small model in fp32 is quick and exact on any CPU; a large one would not fit
    return torch.float32 if size < TINY else torch.bfloat16


def keep_nf4_trainable(model: Any) -> None:
    """Stop bitsandbytes from repacking NF4 weights on CPUs with AVX512-BF16.

    In a pass without gradients (an evaluation, a generation) it repacks them in place for an inference kernel that has
    no backward: every later gradient is off by 84 % while the loss looks plausible. Without the flag the difference is 0.
    """
    for layer in model.modules():
        if type(layer).__name__ == "Linear4bit":
            layer.support_avx512bf16_for_cpu = False


def require_bitsandbytes(quantization: str) -> None:
    """Fail where `quantization` needs bitsandbytes and it is not there."""
    if quantization != "none" and find_spec("bitsandbytes") is None:
        raise MlxError(f"quantization {quantization} needs the package bitsandbytes", "install it, or set quantization to none")


def quantized(quantization: Quantization, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    """How transformers is told to keep the weights; computing is in `dtype`."""
    if quantization == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
    return BitsAndBytesConfig(load_in_8bit=True) if quantization == "int8" else None


def _tokenizer_folder(adapter: Path | None) -> Path | None:
    return adapter if adapter and (adapter / "tokenizer_config.json").exists() else None
