"""Speed and memory of training: ours against a plain TRL script, measured against what `mlx plan` says; models of random weights.

    python python_script/bench_train.py                              # 8B Llama on this GPU, QLoRA and bf16 LoRA, sequences of 4096
    python python_script/bench_train.py --shape tiny --device cpu    # the same in a minute, to see that it runs
    python python_script/bench_train.py --who mlx --method lora --micro-batch 2 --no-checkpointing --out $OUT/bench.json

Each run is a process of its own. Rows are random tokens that fill the sequence, so a packed sequence is one row: dense, as the
public figures are. Tokens a second is the median over the steps after the second. Needs no network; bash_script/gpu_wheels
collects what a bare machine with torch lacks.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHAPES = {"8b": "meta-llama/Llama-3.1-8B", "3b": "meta-llama/Llama-3.2-3B", "1b": "meta-llama/Llama-3.2-1B", "tiny": "tiny"}
TINY = {
    "model_type": "llama", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 1024, "max_position_embeddings": 1024,
}  # fmt: skip
METHODS = {"nf4": "nf4", "lora": "none"}


def main() -> None:
    """Make the model, run each case in a process, print the table."""
    asked = arguments()
    if asked.case:
        print(json.dumps(case(asked)))
        return
    found = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        asked.model = asked.model or make_model(asked, Path(folder) / "model")
        for method in asked.method:
            for who in asked.who:
                found.append(run(asked, method, who, folder))
                print(json.dumps(found[-1]), flush=True)
    print(table(found))
    if asked.out:
        Path(asked.out).write_text(json.dumps(found, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="8b")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--who", nargs="+", choices=("mlx", "trl"), default=["mlx", "trl"])
    parser.add_argument("--sequence", type=int)
    parser.add_argument("--micro-batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--no-checkpointing", action="store_true")
    parser.add_argument("--model", help="folder of the model, where it is made already")
    parser.add_argument("--out", help="file for the figures, as JSON")
    parser.add_argument("--case", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.sequence = asked.sequence or (256 if asked.shape == "tiny" else 4096)
    return asked


def make_model(asked: argparse.Namespace, folder: Path) -> str:
    """Write a model of random weights, made on the device, and some tokenizer."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    from src.models.scratch import train_tokenizer
    from src.train.planning.architecture import catalogue

    values = dict(TINY if asked.shape == "tiny" else catalogue()[SHAPES[asked.shape].split("/")[1].lower()])
    config = CONFIG_MAPPING[values.pop("model_type")](**values)
    dtype = torch.bfloat16 if asked.device == "cuda" else torch.float32
    with torch.device(asked.device):
        AutoModelForCausalLM.from_config(config, dtype=dtype).save_pretrained(folder)
    train_tokenizer(["What colour is the lamp? The lamp is red."], vocab=400).save_pretrained(folder)
    return folder.as_posix()


def run(asked: argparse.Namespace, method: str, who: str, folder: str) -> dict[str, Any]:
    """Measure one case in a process of its own, and put the plan's figures beside it."""
    given = ["--shape", asked.shape, "--device", asked.device, "--method", method, "--who", who, "--model", asked.model]
    numbers = ["--sequence", asked.sequence, "--micro-batch", asked.micro_batch, "--steps", asked.steps]
    numbers += ["--accumulation", asked.accumulation]
    command = [sys.executable, __file__, "--case", *given, *map(str, numbers), *(["--no-checkpointing"] if asked.no_checkpointing else [])]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    what = {"method": method, "who": who, "shape": asked.shape, "sequence": asked.sequence, "micro_batch": asked.micro_batch}
    what |= {"checkpointing": not asked.no_checkpointing}
    if done.returncode:
        return {**what, "failed": done.returncode}
    return {**what, **json.loads(done.stdout.strip().split("\n")[-1]), **planned(asked, method)}


def planned(asked: argparse.Namespace, method: str) -> dict[str, Any]:
    """What `mlx plan` says of the case."""
    from src.train.planning.architecture import shape_of
    from src.train.planning.estimate import Job, estimate
    from src.train.planning.gpu import GPUS, gpu_like, this_cpu
    from src.train.planning.histogram import Histogram
    from src.train.planning.setting import Setting

    on_cpu = asked.device == "cpu"
    card = this_cpu() if on_cpu else gpu_like(device_name()) or GPUS["h100"]
    setting = Setting.of(config_of(asked, method), on_cpu=on_cpu)
    found = estimate(Job(shape_of(asked.model), card, Histogram(((asked.sequence, 64),), ""), 1, asked.steps), setting)
    return {"plan_tokens_per_second": round(found.speed.tokens_per_second), "plan_gb": round(found.memory.total / 1e9, 2)}


def config_of(asked: argparse.Namespace, method: str) -> Any:
    """The section of a project that trains the case."""
    from src.train import TrainConfig

    return TrainConfig(
        model=asked.model,
        quantization=METHODS[method],
        lora={"r": 16, "alpha": 32, "dropout": 0.0},
        sequence_length=asked.sequence,
        micro_batch=asked.micro_batch,
        effective_batch=asked.micro_batch * asked.accumulation,
        max_steps=asked.steps,
        gradient_checkpointing=not asked.no_checkpointing,
        device=asked.device,
        save_steps=10**6,
    )


def case(asked: argparse.Namespace) -> dict[str, Any]:
    """Train in this process."""
    method, who = asked.method[0], asked.who[0]
    draw = random.Random(0)
    count = asked.micro_batch * asked.accumulation * asked.steps
    rows = [[draw.randrange(300) for _ in range(asked.sequence)] for _ in range(count)]
    trainer = (ours if who == "mlx" else plain)(asked, method, rows)
    clock = clock_of(asked)
    trainer.add_callback(clock)
    trainer.args.save_strategy = "no"
    trainer.train()
    seconds = statistics.median(clock.steps[2:] or clock.steps)
    rate = asked.micro_batch * asked.accumulation * asked.sequence / seconds
    return {"tokens_per_second": round(rate, 1), "mfu": utilisation(asked, rate), "gb": peak_gb(asked), "device": device_name()}


def ours(asked: argparse.Namespace, method: str, rows: list[list[int]]) -> Any:
    """The trainer of `mlx train`."""
    from array import array

    from src.train.attention import pick_attention
    from src.train.base import Base
    from src.train.rows import Row
    from src.train.trainer import make_trainer

    device, dtype = ("cuda:0", "bf16") if asked.device == "cuda" else ("cpu", "fp32")
    base = Base(asked.model, "folder", device, dtype, pick_attention("auto", device=device, dtype=dtype))
    made = [Row(str(number), array("i", row), array("i", row)) for number, row in enumerate(rows)]
    return make_trainer(config_of(asked, method), Path("ours"), base, made, seed=0)


def plain(asked: argparse.Namespace, method: str, rows: list[list[int]]) -> Any:
    """What TRL's own documentation shows for LoRA, with the same settings."""
    import datasets
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    on_gpu = asked.device == "cuda"
    kind = torch.bfloat16 if on_gpu else torch.float32
    quantised = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=kind
    )
    model = AutoModelForCausalLM.from_pretrained(
        asked.model, dtype=kind, device_map={"": "cuda:0" if on_gpu else "cpu"}, quantization_config=quantised if method == "nf4" else None
    )
    settings = SFTConfig(
        output_dir="plain",
        per_device_train_batch_size=asked.micro_batch,
        gradient_accumulation_steps=asked.accumulation,
        max_steps=asked.steps,
        max_length=asked.sequence,
        packing=True,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        gradient_checkpointing=not asked.no_checkpointing,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
    )
    return SFTTrainer(
        model=model,
        args=settings,
        train_dataset=datasets.Dataset.from_dict({"input_ids": rows}),
        processing_class=AutoTokenizer.from_pretrained(asked.model),
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
    )


def clock_of(asked: argparse.Namespace) -> Any:
    """A callback that notes what each step takes."""
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        steps: list[float] = []  # noqa: RUF012
        start = 0.0

        def now(self) -> float:
            if asked.device == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter()

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start = self.now()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.steps.append(self.now() - self.start)

    return Clock()


def utilisation(asked: argparse.Namespace, rate: float) -> float | None:
    """Model FLOPs utilisation, where the card's peak is known."""
    from src.train.planning.architecture import shape_of
    from src.train.planning.flops import training_flops
    from src.train.planning.gpu import gpu_like

    card, shape = gpu_like(device_name()), shape_of(asked.model)
    if asked.device == "cpu" or card is None:
        return None
    return round(rate * training_flops(shape, asked.sequence, lora=shape.lora_parameters(16)) / (card.tflops * 1e12), 4)


def peak_gb(asked: argparse.Namespace) -> float:
    """What torch reserved on the GPU at most, or the process's peak on a CPU (libraries included)."""
    if asked.device == "cuda":
        import torch

        return round(torch.cuda.max_memory_reserved() / 1e9, 2)
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)


def device_name() -> str:
    """What the device calls itself."""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "CPU"


def table(found: list[dict[str, Any]]) -> str:
    """All cases, measured beside planned."""
    from src.core.grid import grid

    header = ("who", "method", "sequence", "micro-batch", "checkpointing", "tok/s", "MFU", "GB", "plan tok/s", "plan GB")
    names = (
        "who",
        "method",
        "sequence",
        "micro_batch",
        "checkpointing",
        "tokens_per_second",
        "mfu",
        "gb",
        "plan_tokens_per_second",
        "plan_gb",
    )
    rows = [["failed" if each.get("failed") and name == "tokens_per_second" else each.get(name, "") for name in names] for each in found]
    return grid(rows, header, right=range(5, 10))


if __name__ == "__main__":
    main()
