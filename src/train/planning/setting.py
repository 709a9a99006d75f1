"""What of a training's settings its memory and speed hang on: a config with its `auto`s resolved for one device."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from src.train import TrainConfig


@dataclass(frozen=True)
class Setting:
    """One way to train; alternatives are made with `dataclasses.replace`."""

    task: str
    quantization: str
    rank: int
    """Of the adapter; 0 where all weights are trained."""
    targets: str | tuple[str, ...]
    dropout: float
    saved_whole: tuple[str, ...]
    """Modules trained whole beside the adapter."""
    sequence: int
    micro_batch: int
    effective_batch: int
    packing: bool
    checkpointing: bool
    bf16: bool
    optimizer: str
    on_cpu: bool
    varlen: bool = False
    """Whether attention is computed row by row, so that packed rows need no mask."""
    offloading: bool = False
    """Whether activations wait in the host's memory."""
    reference: bool = False
    """Whether a frozen reference is computed at each step (DPO)."""
    processes: int = 1
    """That train together; all weights are shared out over them, an adapter each of them has."""

    @classmethod
    def of(cls, config: "TrainConfig", *, on_cpu: bool) -> Self:
        """What `config` comes to on a CPU, or on a GPU that computes in bf16."""
        lora, checkpointing = config.lora, config.gradient_checkpointing
        return cls(
            task=config.task,
            quantization=config.quantization,
            rank=lora.r if lora else 0,
            targets=lora.targets if lora else (),
            dropout=lora.dropout if lora else 0.0,
            saved_whole=lora.modules_to_save if lora else (),
            sequence=config.sequence_length,
            micro_batch=1 if config.micro_batch == "auto" else config.micro_batch,
            effective_batch=config.effective_batch,
            packing=config.packing and config.task in ("sft", "pretrain"),
            checkpointing=not on_cpu if checkpointing == "auto" else checkpointing,
            bf16=config.precision == "bf16" or (config.precision == "auto" and not on_cpu),
            optimizer=config.optimizer,
            on_cpu=on_cpu,
            varlen=not on_cpu and config.attention != "sdpa" and config.precision != "fp32",
            offloading=config.activation_offloading,
            reference=config.task == "dpo" and config.dpo.reference == "adapter_off",
            processes=config.launch.world,
        )

    @property
    def full(self) -> bool:
        """Whether all weights are trained."""
        return self.rank == 0

    @property
    def shares(self) -> int:
        """Processes over which weights, gradients and optimizer are shared out."""
        return self.processes if self.full else 1

    @property
    def width(self) -> int:
        """Bytes of a number that is computed with."""
        return 2 if self.bf16 else 4

    @property
    def rows(self) -> int:
        """Sequences in the model at once: a pair of answers is two."""
        return self.micro_batch * (2 if self.task == "dpo" else 1)

    @property
    def tokens(self) -> int:
        """Places in the model at once."""
        return self.rows * self.sequence

    @property
    def row(self) -> int:
        """Length of the row that a mask is made for: packed sequences of a batch are one long row."""
        return self.tokens if self.packing else self.sequence

    @property
    def accumulation(self) -> int:
        """Passes to one optimizer step."""
        return max(1, self.effective_batch // (self.micro_batch * self.processes))
