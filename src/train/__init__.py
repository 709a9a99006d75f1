"""Train a model: on conversations, plain text, classes or preferences."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from src.core.config import Config, Cosmetic
from src.core.run import Run
from src.core.stage import StageConfig, stage
from src.track import Tracker
from src.track.tensorboard import TensorBoard
from src.train.classification import Classification
from src.train.compatibility import refuse_conflicts
from src.train.launch import Launch
from src.train.lora import Lora
from src.train.preference import Preference
from src.train.pretraining import Pretraining

Task = Literal["sft", "pretrain", "classify", "dpo"]
Optimizer = Literal[
    "adamw_torch_fused", "adamw_torch", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "lion_32bit", "lion_8bit",
    "paged_lion_32bit", "paged_lion_8bit", "ademamix", "ademamix_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit",
    "rmsprop", "sgd", "adagrad", "adafactor",
]  # fmt: skip
Scheduler = Literal[
    "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_restarts", "cosine_with_min_lr", "polynomial",
    "inverse_sqrt", "warmup_stable_decay",
]  # fmt: skip
# a training asks for the number only once `auto` is settled; whoever reads the file sees either
if TYPE_CHECKING:
    MicroBatch = Any
else:
    MicroBatch = Literal["auto"] | Annotated[int, Field(ge=1)]


class ScratchBase(Config):
    """The small base that `model: scratch` makes."""

    steps: int = Field(default=700, ge=1)
    """Steps of pre-training; 700 take about a CPU-minute and teach it to copy."""


class TrainConfig(StageConfig):
    """Fine-tune a model on the dataset."""

    task: Task = "sft"
    """What is learned: `sft`, the assistant's turns of each conversation; `pretrain`, plain text; `classify`, a label; `dpo`, which of two
    answers is better."""
    model: str
    """Hub id or folder of the base model, or `scratch`: a small one made here from the dataset's own texts."""
    start: Path | None = None
    """Folder of an earlier training, whose adapter is trained on: `checkpoint/NAME/train`, for preferences after conversations."""
    quantization: Literal["nf4", "int8", "none"] = "nf4"
    """How the frozen weights are kept: 4-bit NF4 with double quantisation, LLM.int8, or unquantised."""
    lora: Lora | None = Lora()
    """The adapter; `null` trains all weights of the model instead."""
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Highest learning rate; auto: 2e-4 for an adapter, 2e-5 for all weights, and of dpo a fortieth of either."""
    scheduler: Scheduler = "cosine"
    """How the learning rate goes down after the warm-up."""
    scheduler_options: dict[str, float | int | str] = Field(default_factory=dict)
    """Settings of the scheduler by transformers' names, as `{min_lr_rate: 0.1}` of cosine_with_min_lr."""
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate goes up."""
    epochs: float = Field(default=1, gt=0)
    """How often each row is seen."""
    max_steps: int | None = Field(default=None, ge=1)
    """Number of optimizer steps, in place of `epochs`."""
    sequence_length: int = Field(default=4096, ge=8)
    """Most tokens in a sequence; `too_long` says what becomes of longer rows."""
    too_long: Literal["drop", "split", "truncate"] = "drop"
    """Of `sft`: longer conversations are dropped; or made into several at the users' turns; or lose their earlier turns. No text is cut."""
    packing: bool = True
    """Put several rows into one sequence, unseen by each other, so that no computing goes to padding."""
    attention: Literal["auto", "flash_attention_2", "varlen", "sdpa"] = "auto"
    """Kernel of the attention; auto: on a GPU flash attention where installed, else torch's own for rows of any length; sdpa on a CPU."""
    micro_batch: MicroBatch = 1
    """Sequences that go through the model at once: memory grows with it. auto: the fastest that `mlx plan` finds and a probe proves."""
    effective_batch: int = Field(default=16, ge=1)
    """Sequences to one optimizer step; gradients are accumulated over effective_batch / micro_batch passes."""
    gradient_checkpointing: Literal["auto"] | bool = "auto"
    """Compute activations twice to save memory; auto: on a GPU yes, on a CPU no."""
    activation_offloading: bool = False
    """Move activations to the host's memory while they are not needed: GPU only, slower, for what fits in no other way."""
    torch_compile: bool = False
    """Compile the model: minutes at the start, faster steps after."""
    neftune: float | None = Field(default=None, gt=0)
    """Noise on the embeddings in training (NEFTune, Jain et al. 2023); 5 is usual."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """What is computed in; auto: bf16 on a GPU, fp32 on a CPU. The adapter's own weights are always fp32."""
    weight_decay: float = Field(default=0.0, ge=0)
    """How much the adapter's weights shrink towards zero at each step, as a share of the learning rate."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    optimizer: Optimizer = "adamw_torch_fused"
    """8-bit ones save memory for large adapters; paged ones move their state to the host when the GPU is full."""
    save_steps: Annotated[int, Field(ge=1), Cosmetic()] = 100
    """Steps between checkpoints, from which an interrupted training goes on."""
    eval_steps: int | None = Field(default=None, ge=1)
    """Steps between measurements of the loss on the validation split; if none, about ten in all."""
    best: str | None = Field(default=None, pattern="^validation_")
    """Write the checkpoint that was best by this measurement on the validation split, as `validation_loss`, not the last one."""
    patience: int | None = Field(default=None, ge=1)
    """End the training after so many measurements in a row that were no better than the best; needs `best`."""
    eval_rows: int = Field(default=500, ge=1)
    """Most validation rows that are measured."""
    row_losses: Literal["validation", "all"] = "validation"
    """Which rows' losses are written, the worst first: losses.jsonl, and of the learned rows too train_losses.jsonl, to find bad ones."""
    log_steps: Annotated[int | None, Field(ge=1), Cosmetic()] = None
    """Steps between lines on the console; if none, about twenty lines in all. metrics.jsonl has every step."""
    launch: Launch = Launch()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; `cpu` says that a large model is meant to be trained slowly."""
    serve_with: Annotated[Literal["vllm", "transformers"], Cosmetic()] = "vllm"
    """Where it is going to be served; with `transformers` nothing is refused for vLLM's sake."""
    track: Annotated[tuple[Tracker, ...], Cosmetic()] = (TensorBoard(),)
    """Where numbers go besides metrics.jsonl and loss.png: `tensorboard`, `wandb`, `mlflow`."""
    price_per_hour: Annotated[float | None, Field(ge=0), Cosmetic()] = None
    """What an hour of this machine costs, to show on the console what the training has cost so far."""
    scratch: ScratchBase = ScratchBase()
    pretrain: Pretraining = Pretraining()
    classify: Classification = Classification()
    dpo: Preference = Preference()

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        whole, world = self.effective_batch, self.launch.world
        if self.micro_batch == "auto":
            if world > 1:
                raise ValueError("micro_batch auto is for one process: set the number that `mlx plan` finds, or launch.processes to 1")
            return self
        part = self.micro_batch * world
        if whole % part:
            near = sorted({max(part, whole // part * part), (whole // part + 1) * part})
            of = f"micro_batch {self.micro_batch}" + (f" × {world} processes" if world > 1 else "")
            fits = [n for n in range(1, whole + 1) if whole % (n * world) == 0]
            raise ValueError(
                f"effective_batch {whole} is no multiple of {of}: set effective_batch to {' or '.join(map(str, near))}"
                + (f", or micro_batch to one of {', '.join(map(str, fits))}" if fits else "")
            )
        return self

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        refuse_conflicts(self)
        return self

    def files(self) -> tuple[Path, ...]:
        """The base model's folder, where it is one: with other weights the output is stale."""
        base = (Path(self.model),) if self.model != "scratch" and Path(self.model).is_dir() else ()
        return base if self.start is None else (*base, self.start / "manifest.json")

    def ready(self) -> None:
        """Say that this machine cannot train the model before hours go into its dataset."""
        if self.model != "scratch":
            from src.train.base import place

            place(self)

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        if self.learning_rate != "auto":
            return self.learning_rate
        return (2e-4 if self.lora else 2e-5) / (40 if self.task == "dpo" else 1)

    @property
    def accumulation(self) -> int:
        """Passes to one optimizer step."""
        return self.effective_batch // (int(self.micro_batch) * self.launch.world)


@stage(
    reads={"dataset": ("build", "dedup", "scrape")}, volatile=("metrics.jsonl", "loss.png", "scores.png", "confusion.png", "tensorboard")
)
def train(config: TrainConfig, run: Run) -> None:
    """Train a LoRA adapter on a frozen base model, quantised or not, or all weights of the model.

    Writes adapter/ or model/ (the weights, the tokenizer, the chat template), metrics.jsonl with loss, learning rate,
    gradient norm and tokens per second of every step, losses.jsonl with the loss of each held-out row, loss.png and
    TensorBoard files. A training that was stopped or killed goes
    on from its last checkpoint, to the same result.
    """
    from src.models.libraries import routed

    with routed():
        from src.train.unfinished import check_unfinished

        check_unfinished(config, run)
        if config.launch.world > 1:
            from src.train.together import together

            together(config, run)
    run_task(config, run)


def run_task(config: TrainConfig, run: Run) -> None:
    """Train, or where the last checkpoint is there already write the output."""
    from src.models.libraries import routed

    with routed():
        work = _task(config.task)
        from src.train.micro_batch import settled
    with routed():  # once more: some libraries put up a console handler when they are imported
        work(settled(config, run), run)


def _task(task: Task) -> Callable[[TrainConfig, Run], None]:
    if task == "sft":
        from src.train.sft import sft

        return sft
    if task == "pretrain":
        from src.train.pretrain import pretrain

        return pretrain
    if task == "dpo":
        from src.train.dpo import dpo

        return dpo
    from src.train.classify import classify

    return classify
