"""`mlx plan` as one uses it, and the parts it is reckoned from."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from src.cli import application
from src.core.errors import MlxError
from src.core.manifest import Manifest, now
from src.train import TrainConfig
from src.train.planning.architecture import shape_of
from src.train.planning.estimate import Job, estimate
from src.train.planning.filling import packed, padding_share
from src.train.planning.gpu import GPUS
from src.train.planning.histogram import Histogram, read_histogram
from src.train.planning.memory import memory, state_bytes, trained_parameters, weight_bytes
from src.train.planning.options import options
from src.train.planning.setting import Setting
from src.train.planning.speed import speed

ROOT = Path(__file__).parents[3]
PROJECT = """
name: t
build: {}
train: {model: meta-llama/Llama-3.1-8B-Instruct, micro_batch: 4, effective_batch: 64}
"""


def written(**changes):
    return Setting.of(TrainConfig(model="x", **changes), on_cpu=False)


def dataset(lengths, *, width=64):
    counts = [0] * (max(lengths) // width + 1)
    for length in lengths:
        counts[length // width] += 1
    part = {"counts": counts, "rows": len(lengths), "tokens": sum(lengths), "p50": sorted(lengths)[len(lengths) // 2]}
    found = {"exact": True, "width": width, "splits": {"train": {**part, "longest": max(lengths)}}}
    empty = {"config": {}, "inputs": {}, "outputs": {}, "versions": {}, "created": now(), "seconds": 0, "peak_mb": 0, "seed": 0}
    counted = {"read": 0, "kept": 0, "dropped": 0, "reasons": {}}
    folder = Path("data/t/build")
    folder.mkdir(parents=True)
    Manifest(stage="build", name="t", key="k", fingerprint="f", counts=counted, info={"lengths": found}, **empty).write(folder)
    return folder


def planned(*arguments):
    Path("t.yaml").write_text(PROJECT)
    return CliRunner().invoke(application(["plan"]), ["plan", "t.yaml", *arguments])


def test_the_sums_for_llama_8b_are_those_by_hand():
    llama, qlora = shape_of("llama-3.1-8b"), written(lora={"r": 16})
    assert weight_bytes(llama, qlora) == pytest.approx(3.60e9 + 2.10e9, rel=0.002)
    parts = memory(llama, qlora).parts
    assert trained_parameters(llama, qlora) == 41_943_040
    assert (parts["adapter"], parts["gradients"], parts["optimizer"]) == (167772160, 167772160, 2 * 167772160)
    assert parts["dequantised matrix"] == 2 * 4096 * 14336
    assert weight_bytes(llama, written(quantization="none")) == 2 * llama.parameters
    boundaries = 2 * 4096 * 4096 * 32  # of one sequence of 4096, which are 1.07 GB
    assert boundaries < parts["activations"] < 2.2 * boundaries


def test_what_trains_all_weights_keeps_sixteen_bytes_for_each():
    small, full = shape_of("llama-3.2-1b"), written(lora=None, quantization="none")
    parts = memory(small, full).parts
    assert parts["gradients"] + parts["optimizer"] + parts["weights"] > 16 * small.parameters
    assert trained_parameters(small, full) == small.parameters


@pytest.mark.parametrize(("name", "size"), [("adamw_torch_fused", 8), ("adamw_8bit", 2), ("paged_adamw_8bit", 2), ("paged_lion_8bit", 1)])
def test_optimizers_keep_what_they_keep(name, size):
    assert state_bytes(name) == size


def test_packing_counts_as_a_plain_best_fit_does():
    draw = random.Random(4)
    for sequence in (100, 257):
        rows = [draw.randrange(1, sequence + 1) for _ in range(300)]
        left = []
        for length in sorted(rows, reverse=True):
            fitting = [space for space in left if space >= length]
            if fitting:
                left.remove(min(fitting))
                left.append(min(fitting) - length)
            else:
                left.append(sequence - length)
        lengths = [(length, rows.count(length)) for length in sorted(set(rows), reverse=True)]
        assert packed(lengths, sequence) == len(left)


def test_packing_counts_as_trl_does():
    from datasets import Dataset
    from trl.data_utils import pack_dataset

    draw = random.Random(1)
    rows = [draw.choice((10, 30, 31, 47, 64)) for _ in range(200)]
    there = pack_dataset(Dataset.from_dict({"input_ids": [[1] * length for length in rows]}), seq_length=96, strategy="bfd")
    assert packed([(length, rows.count(length)) for length in (64, 47, 31, 30, 10)], 96) == len(there)


def test_padding_is_what_random_batches_have():
    rows = Histogram(((100, 50), (40, 100), (10, 50)), "")
    draw = random.Random(0)
    everyone = [length for length, count in rows.lengths for _ in range(count)]
    batches = [draw.choices(everyone, k=4) for _ in range(20000)]
    waste = 1 - sum(map(sum, batches)) / sum(4 * max(batch) for batch in batches)
    assert padding_share(rows, 4) == pytest.approx(waste, abs=0.01)
    assert padding_share(rows, 1) == 0


def test_lengths_are_the_datasets():
    draw = random.Random(2)
    lengths = [draw.randrange(20, 900) for _ in range(500)]
    rows = read_histogram(dataset(lengths), 1024)
    assert (rows.rows, rows.longest <= max(lengths), rows.real) == (500, True, True)
    assert rows.tokens == pytest.approx(sum(lengths), rel=0.01)
    assert rows.context == pytest.approx(sum(each**2 for each in lengths) / sum(lengths), rel=0.02)
    assert rows.upto(400).longest <= 400


def test_a_dataset_that_is_not_there_is_assumed_and_said_so():
    rows = read_histogram(Path("data/t/build"), 4096)
    assert not rows.real
    assert "is not built yet: assumed 10,000 rows of 512 tokens" in rows.note


def test_every_speed_names_what_it_rests_on():
    llama = shape_of("llama-3.1-8b")
    plain = written(quantization="none", micro_batch=2, packing=False, gradient_checkpointing=False)
    there = speed(llama, plain, GPUS["h100"], 4096)
    assert there.rests_on.startswith("12,473 tok/s, Meta-Llama-3-8B lora, H100")
    assert there.tokens_per_second == pytest.approx(12_473, rel=0.25)  # less what hidden scores cost that NeMo does not compute
    quantised = speed(llama, replace(plain, quantization="nf4"), GPUS["h100"], 4096)
    assert "QLoRA/LoRA ratios" in quantised.rests_on
    assert 0.55 < quantised.tokens_per_second / there.tokens_per_second < 0.99
    assert speed(llama, plain, GPUS["rtx5080"], 4096).rests_on.startswith("unmeasured")
    assert speed(llama, replace(plain, quantization="nf4"), GPUS["rtx4090"], 4096).rests_on.startswith("2,413 tok/s")


def test_options_keep_the_effective_batch_and_put_what_fits_first():
    job = Job(shape_of("llama-3.1-8b"), GPUS["rtx4090"], Histogram(((900, 1000),), ""), 1, None)
    found = options(job, written(micro_batch=4, effective_batch=16))
    assert all(each.setting.effective_batch * each.setting.sequence == 16 * 4096 for each in found)
    assert {each.setting.sequence for each in found} == {4096, 2048, 1024}
    fits = [each.fits for each in found]
    assert fits == sorted(fits, reverse=True)
    assert fits[0]
    assert [each.seconds for each in found if each.fits] == sorted(each.seconds for each in found if each.fits)


def test_answers_are_trained_in_pairs_and_a_reference_costs_a_pass():
    job = Job(shape_of("llama-3.1-8b"), GPUS["h100"], Histogram(((500, 100),), ""), 1, None)
    alone = estimate(job, written(packing=False))
    pairs = estimate(job, written(task="dpo"))
    precomputed = estimate(job, written(task="dpo", dpo={"reference": "precomputed"}))
    assert pairs.memory.parts["activations"] > 1.9 * alone.memory.parts["activations"]
    assert pairs.seconds > precomputed.seconds > alone.seconds


def test_the_screen_says_what_to_take_and_why():
    dataset([random.Random(n).randrange(50, 1500) for n in range(400)])
    done = planned()
    assert done.exit_code == 0, done.output
    assert "8.03 B parameters, NF4, LoRA r=16 (41.9 M trained), on H100" in done.output
    assert "400 rows" in done.output
    assert "train.quantization=none" in done.output
    assert "QLoRA is a memory tool" in done.output
    assert len(done.output.splitlines()) <= 40
    assert max(map(len, done.output.splitlines())) <= 140


def test_a_price_is_an_hours():
    costs = [planned("--price", price).output.split("cost   ")[1].split(" at")[0].split("$")[1] for price in ("1", "3")]
    assert float(costs[1]) == pytest.approx(3 * float(costs[0]), abs=0.03)


def test_where_nothing_fits_the_nearest_is_named():
    done = planned("--gpu", "name=Small,memory=4,tflops=50")
    assert done.exit_code == 1
    assert "Nothing fits Small. Nearest: train.micro_batch=1" in done.output
    assert "does NOT fit 4.0" in done.output


def test_a_model_that_is_not_known_is_an_error():
    done = planned("train.model=acme/x")
    assert isinstance(done.exception, MlxError)
    assert "hf download acme/x config.json" in done.exception.hint


FINBERT = "train.task=classify train.model=ProsusAI/finbert train.lora=null train.quantization=none train.sequence_length=512"


@pytest.mark.parametrize("changes", ["train.task=dpo", FINBERT, "train.lora=null train.quantization=none"])
def test_every_task_is_planned(changes):
    done = planned(*changes.split())
    assert done.exit_code in (0, 1), done.output
    assert "in all" in done.output


def test_a_cpu_is_planned_too():
    assert planned("--gpu", "cpu", "train.model=Qwen/Qwen2.5-0.5B").exit_code == 0


LIGHT = """
import json, sys, time
sys.argv = ["mlx", "plan", "config/main.yaml"]
from src.cli import main
try:
    main()
except SystemExit:
    pass
print(json.dumps([time.process_time(), *sys.modules]))
"""


def test_planning_is_light():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, cwd=ROOT, check=True, timeout=60)
    seconds, *loaded = json.loads(done.stdout.splitlines()[-1])
    assert not {"torch", "transformers", "peft", "trl", "numpy", "polars", "datasets", "bitsandbytes"} & set(loaded)
    assert seconds < 2  # of CPU; about a third of a second on a quiet machine, see memory_bank/benchmarks.md


def test_several_gpus_share_all_weights_out_and_each_has_its_own_adapter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    llama = shape_of("llama-3.1-8b")
    one, eight = (memory(llama, written(lora=None, quantization="none", effective_batch=64, launch={"processes": n})).parts for n in (1, 8))
    assert eight["optimizer"] == one["optimizer"] / 8
    assert eight["weights"] == pytest.approx(4 * 8.03e9 / 8 + 2 * (2 * 6.98e9 / 32 + 1.05e9), rel=0.01)  # its share, two layers, both ends
    assert eight["activations"] == one["activations"]
    adapter = [memory(llama, written(effective_batch=64, launch={"processes": n})).total for n in (1, 8)]
    assert adapter[0] == adapter[1]
    dataset([400] * 6400)
    alone, together = (planned("--gpu", "h100", f"train.launch.processes={n}", "train.micro_batch=1").output for n in (1, 8))
    assert "= 1 × 64\n" in alone
    assert "= 1 × 8 × 8 GPUs\n" in together
    assert "without what they tell each other" in together
    assert "without what they tell each other" not in alone
