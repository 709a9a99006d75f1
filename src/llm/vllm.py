"""How `vllm serve` is called for a base model with LoRA adapters, and where its executable is."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from src.core.errors import MlxError

ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"}
"""What the engine is told through its environment: it phones nobody."""
LOADS_ADAPTERS = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"
"""Environment variable that lets whoever reaches the engine load and unload adapters; off unless it is asked for."""
SLEEPS = "VLLM_SERVER_DEV_MODE"
"""Environment variable that opens the routes by which the engine is put to sleep and woken, among others."""
NOWHERE = "nowhere.invalid"
"""The only host from which the engine fetches images, and there is none of that name: clients send them, nothing inside is asked for."""
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
ON_CPU = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
"""What suits a small model on a machine without a GPU: a GB for the cache, and no thread of ours pushed off its core."""
USUAL_RANK = 16
"""The LoRA rank that vLLM has room for by itself."""
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""LoRA ranks that vLLM has room for."""
_PARSERS = (("<function=", "qwen3_coder"), ("<tool_call>", "hermes"), ("[TOOL_CALLS]", "mistral"), ("<|python_tag|>", "llama3_json"))
"""How a chat template spells a tool call, and vLLM's parser that reads it; the first that fits is taken."""
OTHERWISE = "set serve.engine.type=transformers"
_LLAMA = "Environment: ipython"


def executable(given: Path | None, *, cuda: bool) -> str:
    """Find vLLM: `given`, which may be a build for CPUs, or where there is a CUDA device the one that is installed.

    Raises:
        MlxError: Where there is none that can run here.
    """
    if given:
        found = shutil.which(os.path.expandvars(given.expanduser()))
        if found is None:
            raise MlxError(
                f"{given} is no vLLM executable", "set serve.engine.executable or VLLM_EXECUTABLE to one, as in .venv-vllm/bin/vllm"
            )
        return found
    beside = Path(sys.executable).with_name("vllm")
    found = beside.as_posix() if beside.exists() else shutil.which("vllm")
    if cuda and found:
        return found
    missing = "vLLM is not installed" if cuda else "there is no CUDA device, and VLLM_EXECUTABLE names no vLLM for CPUs"
    hint = "uv sync --extra gpu" if cuda else "bash_script/vllm_cpu builds one"
    raise MlxError(f"the vllm engine cannot run: {missing}", f"{OTHERWISE}, or: {hint}")


def command(
    program: str,
    *,
    base: str,
    adapter: Path | None,
    tokenizer: Path,
    name: str,
    port: int,
    dtype: str,
    tool_parser: str | None,
    max_new_tokens: int | None,
    max_model_len: int | None = None,
    gpu_memory_utilization: float | None = None,
    quantization: str | None = None,
    tensor_parallel: int = 1,
    data_parallel: int = 1,
    loras: Iterable[str] | None = None,
    extra: Iterable[str] = (),
) -> list[str]:
    """Spell the command that serves `adapter` on `base`, or `base` alone, as the model `name`, with the training's tokenizer and template.

    `loras` are the words of `lora_words`, where there are more adapters than this one; `extra` comes last, so that it wins.
    """
    made = [program, "serve", base, "--host", "127.0.0.1", "--port", str(port), "--tokenizer", tokenizer.as_posix(), "--dtype", dtype]
    if not adapter:
        made += ["--served-model-name", name]
    if adapter or loras:
        made += loras or lora_words({name: adapter} if adapter else {})
    made += ["--generation-config", "vllm", "--allowed-media-domains", NOWHERE]
    if max_new_tokens:
        made += ["--override-generation-config", json.dumps({"max_new_tokens": max_new_tokens})]
    if tool_parser:
        made += ["--enable-auto-tool-choice", "--tool-call-parser", tool_parser]
    if max_model_len:
        made += ["--max-model-len", str(max_model_len)]
    if gpu_memory_utilization:
        made += ["--gpu-memory-utilization", str(gpu_memory_utilization)]
    return [*made, *_spread(quantization, tensor_parallel, data_parallel), *extra]


def _spread(quantization: str | None, tensor_parallel: int, data_parallel: int) -> list[str]:
    made = ["--quantization", quantization] if quantization else []
    for name, count in (("tensor", tensor_parallel), ("data", data_parallel)):
        made += [f"--{name}-parallel-size", str(count)] if count > 1 else []
    return made


def lora_words(adapters: Mapping[str, Path], *, rank: int | None = None, batch: int | None = None) -> list[str]:
    """Spell the arguments for adapters by their names.

    Args:
        adapters: Those that vLLM begins with; more may be loaded while it runs.
        rank: The largest rank that there is room for; that of the largest adapter if None.
        batch: How many of them one batch may mix; all that are named if None.

    Raises:
        MlxError: Where vLLM would refuse one of them.
    """
    largest = max((lora_rank(adapter, rank) for adapter in adapters.values()), default=USUAL_RANK)
    named = ["--lora-modules", *(f"{name}={adapter.as_posix()}" for name, adapter in adapters.items())] if adapters else []
    count = batch or len(adapters)
    return ["--enable-lora", *named, "--max-lora-rank", str(rank or largest), *(["--max-loras", str(count)] if count > 1 else [])]


def lora_rank(adapter: Path, most: int | None = None) -> int:
    """The least rank vLLM has to make room for, where `most` is what it has.

    Raises:
        MlxError: Where vLLM would refuse the adapter once it is loaded.
    """
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if config.get("use_dora"):
        raise MlxError(f"vLLM cannot serve {adapter}: it was trained with DoRA", OTHERWISE)
    if modules := config.get("modules_to_save"):
        raise MlxError(
            f"vLLM cannot serve an adapter that trained whole modules ({', '.join(modules)})",
            "serve it with serve.engine.type=transformers",
        )
    rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
    found = next((each for each in _RANKS if each >= rank), None)
    if found is None:
        raise MlxError(f"vLLM serves LoRA up to rank {_RANKS[-1]}, and this has {rank}", OTHERWISE)
    if most and rank > most:
        raise MlxError(f"{adapter} has rank {rank}, and vLLM is started with room for {most}", "raise max_lora_rank of the engine")
    return found


def tool_parser(template: str) -> str | None:
    """Name vLLM's parser for the tool calls that a chat template teaches, or None where it teaches none that is known."""
    found = next((parser for mark, parser in _PARSERS if mark in template), None)
    return found or ("llama3_json" if _LLAMA in template else None)
