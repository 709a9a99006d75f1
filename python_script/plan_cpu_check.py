"""Measure how much memory a training on the CPU takes, case by case, against what `mlx plan` said before.

    python python_script/plan_cpu_check.py predict memory_bank/plan_predictions.json   # write what the plan says into the file
    python python_script/plan_cpu_check.py measure memory_bank/plan_predictions.json   # train three steps, write what it took beside

Both work on the last round of the file, `measure` on what is not measured yet. Predictions are to be committed before they are
measured; where they are off, the arithmetic is mended and a new round of other shapes is predicted.

Each case trains a model of random weights in a process of its own, with the trainer of `mlx train`. Measured is the growth
of resident memory: the peak from before the model is loaded to the end of the third step, less what was resident before it
(Python and the libraries). glibc keeps one arena and gives blocks of 64 KiB and more back to the system at once
(MALLOC_ARENA_MAX=1, MALLOC_MMAP_THRESHOLD_=65536), so that what is resident is what is in use, and not what fragmentation
left behind.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

QUIET = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
STEPS = 3


def main() -> None:
    """Do what the first argument says with the file that the second one names."""
    what, file = sys.argv[1], Path(sys.argv[2])
    if what == "case":
        return case(file)
    found = json.loads(file.read_text())
    for each in found["rounds"][-1]["cases"]:
        if what == "predict":
            each["predicted"] = predict(each)
        elif "measured" not in each:
            each["measured"] = measure(each)
            if "predicted" in each:
                each["error"] = round(each["predicted"]["total"] / each["measured"]["peak"] - 1, 4)
        print(json.dumps({key: each.get(key) for key in ("name", "predicted", "measured", "error")}), flush=True)
        file.write_text(json.dumps(found, indent=1) + "\n")
    return None


def predict(case: dict[str, Any]) -> dict[str, float]:
    """Bytes by part, in MB."""
    from src.train import TrainConfig
    from src.train.planning.architecture import read_shape
    from src.train.planning.memory import memory
    from src.train.planning.setting import Setting

    setting = Setting.of(TrainConfig(**case["train"], model="x", device="cpu"), on_cpu=True)
    parts = memory(read_shape(case["name"], case["model"]), setting)
    return {**{name: round(size / 1e6, 1) for name, size in parts.parts.items()}, "total": round(parts.total / 1e6, 1)}


def measure(case: dict[str, Any]) -> dict[str, float]:
    """MB: before the model was there, growth while it was loaded, growth in all."""
    with tempfile.TemporaryDirectory() as folder:
        make_model(case["model"], Path(folder) / "model")
        file = Path(folder) / "case.json"
        file.write_text(json.dumps(case))
        command = [sys.executable, __file__, "case", file.as_posix()]
        done = subprocess.run(command, env={**os.environ, **QUIET}, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout.strip().split("\n")[-1])
        return found


def make_model(values: dict[str, Any], folder: Path) -> None:
    """Write a model of random weights, and some tokenizer."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    from src.models.scratch import train_tokenizer

    config = CONFIG_MAPPING[values["model_type"]](**{key: value for key, value in values.items() if key != "model_type"})
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    train_tokenizer(["What colour is the lamp? The lamp is red."], vocab=400).save_pretrained(folder)


def case(file: Path) -> None:
    """Train in this process, and print what it took."""
    import random

    from src.models.libraries import routed

    with routed():
        from array import array

        import bitsandbytes  # noqa: F401  (what is imported later on would count as the model's)
        import trl  # noqa: F401

        from src.train import TrainConfig
        from src.train.base import Base
        from src.train.rows import Row
        from src.train.trainer import make_trainer

        case = json.loads(file.read_text())
        config = TrainConfig(**case["train"], model="model", device="cpu", max_steps=STEPS)
        draw = random.Random(0)
        vocab = min(case["model"]["vocab_size"], 400)
        ids = [array("i", [draw.randrange(vocab) for _ in range(case["row"])]) for _ in range(case["rows"])]
        rows = [Row(str(number), each, each) for number, each in enumerate(ids)]
        base = Base((file.parent / "model").as_posix(), "folder", "cpu", "bf16" if config.precision == "bf16" else "fp32")
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        trainer = make_trainer(config, file.parent / "work", base, rows, seed=0)
        loaded = resident("VmHWM") - before
        settled = resident("VmRSS") - before
        trainer.args.save_strategy = "no"
        Path("/proc/self/clear_refs").write_text("5")
        trainer.train()
        trained = resident("VmHWM") - before
    found = {"before": before, "loading": loaded, "loaded": settled, "training": trained, "peak": max(loaded, trained)}
    print(json.dumps({name: round(value, 1) for name, value in found.items()}))


def resident(kind: str) -> float:
    """MB of resident memory: `VmRSS` now, `VmHWM` at its highest."""
    line = next(line for line in Path("/proc/self/status").read_text().split("\n") if line.startswith(kind))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
