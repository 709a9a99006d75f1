"""Measure what `mlx train` takes over a plain TRL script of the same job: alternating pairs, ratio of medians.

    python python_script/bench_overhead.py --pairs 3 --steps 200

Both learn the same tokens of the same rows in the same number of steps from the same random base, in fp32 on the CPU, with
checkpoints, TensorBoard files and held-out evaluations as often. The losses say that it is the same job. Both are whole
processes, imports and all. Under load processor time is the figure to look at.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
WORDS = ("lamp", "door", "boat", "rope", "bell", "coat", "chair", "stone", "river", "light", "harbour", "wind", "gull", "letter", "stair")


def prepare(folder: Path, steps: int) -> None:
    """Write rows, a base model, mlx's project and the peer's settings."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from src.core.manifest import Manifest, now
    from src.models.scratch import train_tokenizer

    draw = random.Random(1)
    rows = [_row(draw, number) for number in range(1500)]
    build = folder / "data" / "bench" / "build"
    build.mkdir(parents=True)
    for split, part in (("train", rows[:-40]), ("validation", rows[-40:]), ("test", [])):
        (build / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    empty = {"config": {}, "inputs": {}, "outputs": {}, "versions": {}, "info": {}, "created": now(), "seconds": 0, "peak_mb": 0, "seed": 0}
    counts = {"read": 0, "kept": 0, "dropped": 0, "reasons": {}}
    Manifest(stage="build", name="bench", key="k", fingerprint="f", counts=counts, **empty).write(build)
    tokenizer = train_tokenizer([turn["content"] for row in rows for turn in row["messages"]], vocab=1024)
    torch.manual_seed(0)
    shape = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4}
    ids = {name: getattr(tokenizer, name) for name in ("eos_token_id", "bos_token_id", "pad_token_id")}
    LlamaForCausalLM(LlamaConfig(vocab_size=(len(tokenizer) + 63) // 64 * 64, tie_word_embeddings=True, **shape, **ids)).save_pretrained(
        folder / "base"
    )
    tokenizer.save_pretrained(folder / "base")
    job = {"steps": steps, "save_steps": 100, "eval_steps": max(1, steps // 4), "learning_rate": 1e-3, "sequence_length": 320}
    job |= {"effective_batch": 4, "seed": 5, "model": "base", **{split: f"{build}/{split}.jsonl" for split in ("train", "validation")}}
    (folder / "job.json").write_text(json.dumps(job))
    train = {"model": "./base", "quantization": "none", "lora": {"r": 16, "alpha": 32, "dropout": 0}, "max_steps": steps, "micro_batch": 1}
    train |= {key: job[key] for key in ("learning_rate", "sequence_length", "effective_batch", "eval_steps", "save_steps")}
    (folder / "bench.yaml").write_text(json.dumps({"name": "bench", "seed": 5, "build": {}, "train": train}))


def _row(draw: random.Random, number: int) -> dict[str, object]:
    turns = []
    for _ in range(draw.randint(1, 3)):
        turns.append({"role": "user", "content": " ".join(draw.choices(WORDS, k=draw.randint(5, 30)))})
        turns.append({"role": "assistant", "content": " ".join(draw.choices(WORDS, k=draw.randint(5, 40)))})
    return {"id": f"made:{number}", "messages": turns, "tools": [], "label": None, "tags": [], "sources": []}


def measured(command: list[str], folder: Path) -> tuple[float, float, str]:
    """Run; return wall and processor seconds with children, and what it printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}:\n{done.stderr[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    """Run the pairs and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    asked = parser.parse_args()
    commands = {
        "mlx": [sys.executable, "-m", "src", "train", "bench.yaml", "--force"],
        "trl": [sys.executable, str(HERE / "overhead_peer.py"), "job.json"],
    }
    wall: dict[str, list[float]] = {name: [] for name in commands}
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, asked.steps)
        for pair in range(asked.pairs):
            for which in sorted(commands, reverse=bool(pair % 2)):
                seconds, used, printed = measured(commands[which], folder)
                wall[which].append(seconds)
                cpu[which].append(used)
                if which == "trl":
                    theirs = json.loads(printed.strip().splitlines()[-1])
            print(f"pair {pair}: " + "  ".join(f"{n} {wall[n][-1]:.1f} s wall {cpu[n][-1]:.1f} s CPU" for n in commands), flush=True)
        rows = map(json.loads, (folder / "checkpoint/bench/train/metrics.jsonl").read_text().splitlines())
        ours = [row["loss"] for row in rows if "loss" in row]
    print(f"largest difference of a step's loss: {max(abs(a - b) for a, b in zip(ours, theirs, strict=True)):.2g}")
    for what, found in (("wall", wall), ("CPU", cpu)):
        print(f"{what}: ratio of medians {statistics.median(found['mlx']) / statistics.median(found['trl']):.3f}")


if __name__ == "__main__":
    main()
