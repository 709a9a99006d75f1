"""Share weights, gradients and optimizer out over the processes that train all weights of a model: fully sharded data parallelism."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from src.train.ranks import barrier, rank, world

if TYPE_CHECKING:
    from transformers import Trainer

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_TIED = StateDictOptions(full_state_dict=True, strict=False)  # tied weights are stored once
_OPTIMIZER, _SCHEDULER = "optimizer.pt", "scheduler.pt"


def shard(trainer: "Trainer") -> None:
    """Leave each process its share of the model (Zhao et al. 2023; PyTorch's FSDP2), layer by layer put together when it is computed.

    Each process has the whole model in its memory once, before it is shared out. The weights in a checkpoint are whole.
    """
    model, mesh = trainer.model, init_device_mesh(trainer.args.device.type, (world(),))
    # what is put together is what is computed with; what is shared out, and what is summed up, stays fp32
    precision = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if trainer.args.bf16 else None, reduce_dtype=torch.float32)
    for layer in [each for each in model.modules() if type(each).__name__ in (model._no_split_modules or ())]:
        fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(model, mesh=mesh, mp_policy=precision)
    trainer.is_distributed_loading_by_transformers = True  # it is shared out already: not to be wrapped for DDP
    trainer.__class__ = type("Sharded", (_Sharded, type(trainer)), {})


class _Sharded:
    """What a trainer does otherwise with a model of which it holds a share: all processes put it together, the first one writes."""

    model: Any
    optimizer: Any
    lr_scheduler: Any

    def save_model(self, output_dir: str, _internal_call: bool = False) -> None:
        weights = get_model_state_dict(self.model, options=_WHOLE)
        if rank() == 0:
            self._save(output_dir, state_dict=weights)  # type: ignore[attr-defined]

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        state = get_optimizer_state_dict(self.model, self.optimizer.optimizer, options=_WHOLE)
        if rank() == 0:
            torch.save(state, Path(output_dir) / _OPTIMIZER)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / _SCHEDULER)
        barrier()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        weights: dict[str, Any] = {}
        for file in sorted(Path(resume_from_checkpoint).glob("*.safetensors")):
            weights |= load_file(file)
        set_model_state_dict(self.model, weights, options=_TIED)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        state, schedule = (torch.load(Path(checkpoint) / name, map_location="cpu", weights_only=True) for name in (_OPTIMIZER, _SCHEDULER))
        set_optimizer_state_dict(self.model, self.optimizer.optimizer, optim_state_dict=state, options=_WHOLE)
        self.lr_scheduler.load_state_dict(schedule)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        found = super()._get_grad_norm(model, grad_norm)  # type: ignore[misc]
        return found.full_tensor() if hasattr(found, "full_tensor") else found
