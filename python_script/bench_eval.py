"""Answer prompts through a vLLM side by side, as `mlx eval` does, against transformers' generate, one after the other.

    VLLM_EXECUTABLE=.venv-vllm/bin/vllm nice -n 15 .venv/bin/python python_script/bench_eval.py [--prompts 500] [--model FOLDER]

Without a model a Llama with random weights is made. vLLM's start is told apart: an evaluation pays it once.
Both answer greedily in float32, on the same machine.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from src.llm import vllm  # noqa: E402
from src.llm.crowd import ask_all  # noqa: E402
from src.llm.launcher import Launcher, free_port  # noqa: E402
from src.llm.openai_client import OpenAIClient  # noqa: E402
from src.models.load import load  # noqa: E402
from src.models.scratch import train_tokenizer  # noqa: E402

CONTEXT = 512


def random_model(folder, size, layers):
    """A Llama that has learned nothing; it costs what any of its size costs."""
    tokenizer = train_tokenizer(["The fog came in before noon and the keeper lit the lamp again. " * 20], vocab=400)
    torch.manual_seed(0)
    shape = {"hidden_size": size, "intermediate_size": 3 * size, "num_attention_heads": size // 64, "num_key_value_heads": size // 64}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = LlamaConfig(vocab_size=len(tokenizer), num_hidden_layers=layers, max_position_embeddings=CONTEXT, **shape, **ends)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sequential(folder, prompts, tokens):
    """Seconds, and the new tokens of each prompt, one after the other."""
    loaded = load(folder, dtype="fp32", device="cpu")
    found = []
    start = time.perf_counter()
    with torch.inference_mode():
        for prompt in prompts:
            ids = torch.tensor([prompt])
            made = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
            found.append(made[0, len(prompt) :].tolist())
    return time.perf_counter() - start, found


def side_by_side(folder, prompts, tokens, concurrency, stop):
    """Seconds of vLLM's start, seconds of the answers, and the new tokens of each prompt."""
    program = vllm.executable(Path(os.environ["VLLM_EXECUTABLE"]), cuda=False)
    port = free_port()
    command = vllm.command(
        program,
        base=str(folder),
        adapter=None,
        tokenizer=Path(folder),
        name="m",
        port=port,
        dtype="float32",
        tool_parser=None,
        max_new_tokens=tokens,
        extra=["--no-enable-prefix-caching"],
    )
    environment = vllm.ENVIRONMENT | {key: os.environ.get(key, value) for key, value in vllm.ON_CPU.items()}
    found = {}
    begun = time.perf_counter()
    with Launcher(command, port=port, log=Path(tempfile.gettempdir()) / "bench_eval_vllm.log", environment=environment) as launcher:
        launcher.wait()
        start = time.perf_counter()
        hints = dict.fromkeys(("start", "key", "model"), "see its log")
        client = OpenAIClient(
            base_url=f"{launcher.url}/v1", model="m", key="none", timeout=600, max_retries=0, trusts_environment=False, hints=hints
        )
        extra = {"stop_token_ids": stop, "return_token_ids": True}
        questions = {
            str(number): partial(client.continued, prompt, max_tokens=tokens, extra=extra) for number, prompt in enumerate(prompts)
        }
        failed = ask_all(client, questions, keep=found.__setitem__, concurrency=concurrency, max_retries=2, timeout=600)
        seconds = time.perf_counter() - start
    assert not failed, failed
    return start - begun, seconds, [found[str(number)] for number in range(len(prompts))]


def main():
    """Measure both and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("prompts", 500), ("tokens", 48), ("length", 96), ("concurrency", 64), ("size", 256), ("layers", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.model or random_model(Path(scratch) / "model", given.size, given.layers)
        tokenizer = load(folder, dtype="fp32", device="cpu").tokenizer
        chance = random.Random(0)
        prompts = [[chance.randrange(10, len(tokenizer) - 10) for _ in range(given.length)] for _ in range(given.prompts)]
        started, fast, theirs = side_by_side(folder, prompts, given.tokens, given.concurrency, [tokenizer.eos_token_id])
        slow, ours = sequential(folder, prompts, given.tokens)
    same = sum(one == other for one, other in zip(ours, theirs, strict=True))
    print(f"{given.prompts} prompts of {given.length} tokens, at most {given.tokens} new; load {os.getloadavg()[0]:.1f}")
    print(f"transformers, one after the other  {slow:7.1f} s")
    print(f"vLLM, {given.concurrency} at a time  {fast:7.1f} s  ({fast / slow:.2f} of the time; its start {started:.1f} s)")
    print(f"same tokens: {same} of {len(prompts)}")


if __name__ == "__main__":
    main()
