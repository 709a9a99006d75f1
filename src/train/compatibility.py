"""Say at once which settings of a training do not go together, or make something that cannot be served."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

if TYPE_CHECKING:
    from src.train import TrainConfig

# vLLM 0.32: vllm/config/lora.py (MaxLoRARanks), vllm/lora/peft_helper.py (_validate_features)
OF_SHARES = ("adamw_torch_fused", "adamw_torch", "rmsprop", "sgd", "adagrad")
"""PyTorch's own optimizers, which take a share of a weight for what it is."""
VLLM_RANK = 512
VLLM_WHOLE = {"classifier", "score"}
_LONG = {
    "pretrain": "task pretrain cuts long documents into pieces and loses none",
    "classify": "task classify has train.classify.too_long for long texts",
    "dpo": "task dpo drops pairs that are too long: half an answer is no better or worse one",
}


class Conflict(NamedTuple):
    """A setting that cannot be."""

    keys: tuple[str, ...]
    """Where it stands in the section."""
    why: str
    """What is wrong, and the way out."""


def refuse_conflicts(config: "TrainConfig") -> None:
    """Raise all conflicts at once, each at its own key.

    Raises:
        ValidationError: Where there are any.
    """
    found = [
        InitErrorDetails(type=PydanticCustomError("value_error", "{error}", {"error": each.why}), loc=each.keys, input=None)
        for each in conflicts(config)
    ]
    if found:
        raise ValidationError.from_exception_data(type(config).__name__, found)


def conflicts(config: "TrainConfig") -> Iterator[Conflict]:
    """Yield what does not go together."""
    yield from _of_task(config)
    if config.task == "dpo":
        yield from _of_preferences(config)
    yield from _of_weights(config)
    yield from _of_machine(config)
    yield from _of_schedule(config)
    if config.serve_with == "vllm":
        yield from _of_serving(config)


def _of_task(config: "TrainConfig") -> Iterator[Conflict]:
    for task in ("pretrain", "classify", "dpo"):
        if task in config.model_fields_set and config.task != task:
            yield Conflict((task,), f"means nothing with task {config.task}: remove it, or set task to {task}")
    masked = config.task == "pretrain" and config.pretrain.objective == "masked"
    if masked and config.packing and "packing" in config.model_fields_set:
        yield Conflict(("packing",), "masked tokens are learned from both sides, across packed documents: set packing to false")
    if config.task == "pretrain" and config.pretrain.whole_words and not masked:
        yield Conflict(("pretrain", "whole_words"), "only masked hides words: set pretrain.objective to masked, or remove it")
    if config.activation_offloading and (masked or config.task == "classify"):
        yield Conflict(("activation_offloading",), "only sft, dpo and causal pretrain move activations: set it to false")
    if config.task in ("dpo", "classify") and config.packing and "packing" in config.model_fields_set:
        yield Conflict(("packing",), f"task {config.task} packs nothing: remove it, or set it to false")
    if config.task != "sft" and config.too_long != "drop":
        yield Conflict(("too_long",), f"{_LONG[config.task]}: remove it")
    if config.patience and not config.best:
        yield Conflict(("patience",), "needs to know what is better: set best to validation_loss")


def _of_preferences(config: "TrainConfig") -> Iterator[Conflict]:
    if config.lora is None and config.dpo.reference == "adapter_off":
        yield Conflict(("dpo", "reference"), "without an adapter there is none to switch off: set it to precomputed")
    if config.dpo.loss == "exo_pair" and not config.dpo.label_smoothing:
        yield Conflict(("dpo", "loss"), "exo_pair takes the logarithm of label_smoothing: set dpo.label_smoothing to 0.001")
    if config.dpo.label_smoothing and config.dpo.loss not in ("robust", "exo_pair"):
        yield Conflict(("dpo", "label_smoothing"), f"{config.dpo.loss} smooths nothing: set dpo.loss to robust or exo_pair, or remove it")


def _of_weights(config: "TrainConfig") -> Iterator[Conflict]:
    lora = config.lora
    if lora is None:
        if config.quantization != "none":
            yield Conflict(("lora",), f"null trains all weights, and {config.quantization} ones cannot be: set quantization to none")
        if config.launch.world > 1 and config.optimizer not in OF_SHARES:
            yield Conflict(("optimizer",), f"{config.optimizer} knows no shares of a model: set it to adamw_torch_fused")
        return
    if lora.dora and config.quantization == "int8":
        yield Conflict(("lora", "dora"), "PEFT cannot take the lengths of int8 weights: set quantization to nf4 or none")
    whole = set(lora.modules_to_save) - VLLM_WHOLE
    if not isinstance(lora.targets, str) and (both := sorted(whole & set(lora.targets))):
        yield Conflict(("lora", "modules_to_save"), f"{', '.join(both)} cannot be trained whole and get an adapter: name each once")


def _of_machine(config: "TrainConfig") -> Iterator[Conflict]:
    kernel = config.attention in ("flash_attention_2", "varlen")
    if kernel and config.precision == "fp32":
        yield Conflict(("attention",), f"{config.attention} computes in bf16: set precision to bf16, or attention to sdpa")
    if config.device != "cpu":
        return
    if kernel:
        yield Conflict(("attention",), f"{config.attention} needs a GPU: set it to auto")
    if config.optimizer.startswith("paged_"):
        other = config.optimizer.removeprefix("paged_").replace("adamw_32bit", "adamw_torch").replace("ademamix_32bit", "ademamix")
        yield Conflict(("optimizer",), f"{config.optimizer} pages from the GPU's memory to the host's: set it to {other}")
    if config.activation_offloading:
        yield Conflict(("activation_offloading",), "moves activations from the GPU to the host: set it to false")


def _of_schedule(config: "TrainConfig") -> Iterator[Conflict]:
    given = set(config.scheduler_options)
    if config.scheduler == "cosine_with_min_lr" and not given & {"min_lr", "min_lr_rate"}:
        yield Conflict(("scheduler",), "cosine_with_min_lr needs its end: set scheduler_options to {min_lr_rate: 0.1}")
    if config.scheduler == "warmup_stable_decay" and "num_decay_steps" not in given:
        yield Conflict(("scheduler",), "warmup_stable_decay needs the length of its end: set scheduler_options to {num_decay_steps: 100}")


def _of_serving(config: "TrainConfig") -> Iterator[Conflict]:
    lora, otherwise = config.lora, "or set serve_with to transformers"
    if lora is None:
        return
    if lora.r > VLLM_RANK:
        yield Conflict(("lora", "r"), f"vLLM serves ranks up to {VLLM_RANK}: lower it, {otherwise}")
    if lora.dora:
        yield Conflict(("lora", "dora"), f"vLLM serves no DoRA: set it to false, {otherwise}")
    if whole := sorted(set(lora.modules_to_save) - VLLM_WHOLE):
        what = ", ".join(whole)
        yield Conflict(("lora", "modules_to_save"), f"vLLM serves no whole modules but classifier and score: remove {what}, {otherwise}")
