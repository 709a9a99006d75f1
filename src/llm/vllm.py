"""How `vllm serve` is called for a base model with a LoRA adapter, and where its executable is."""

import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from src.core.errors import MlxError

ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"}
"""What the engine is told through its environment: it phones nobody."""
NOWHERE = "nowhere.invalid"
"""The only host from which the engine fetches images, and there is none of that name: clients send them, nothing inside is asked for."""
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
ON_CPU = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
"""What suits a small model on a machine without a GPU: a GB for the cache, and no thread of ours pushed off its core."""
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
    extra: Iterable[str] = (),
) -> list[str]:
    """Spell the command that serves `adapter` on `base`, or `base` alone, as the model `name`, with the training's tokenizer and template.

    `extra` comes last, so that it wins.
    """
    made = [program, "serve", base, "--host", "127.0.0.1", "--port", str(port), "--tokenizer", tokenizer.as_posix(), "--dtype", dtype]
    if adapter:
        made += ["--enable-lora", "--lora-modules", f"{name}={adapter.as_posix()}", "--max-lora-rank", str(lora_rank(adapter))]
    else:
        made += ["--served-model-name", name]
    made += ["--generation-config", "vllm", "--allowed-media-domains", NOWHERE]
    if max_new_tokens:
        made += ["--override-generation-config", json.dumps({"max_new_tokens": max_new_tokens})]
    if tool_parser:
        made += ["--enable-auto-tool-choice", "--tool-call-parser", tool_parser]
    if max_model_len:
        made += ["--max-model-len", str(max_model_len)]
    if gpu_memory_utilization:
        made += ["--gpu-memory-utilization", str(gpu_memory_utilization)]
    return [*made, *extra]


def lora_rank(adapter: Path) -> int:
    """The least rank vLLM has to make room for.

    Raises:
        MlxError: Where vLLM would refuse the adapter once it is loaded.
    """
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    if modules := config.get("modules_to_save"):
        raise MlxError(
            f"vLLM cannot serve an adapter that trained whole modules ({', '.join(modules)})",
            "serve it with serve.engine.type=transformers",
        )
    rank = max([config["r"], *(config.get("rank_pattern") or {}).values()])
    found = next((each for each in _RANKS if each >= rank), None)
    if found is None:
        raise MlxError(f"vLLM serves LoRA up to rank {_RANKS[-1]}, and this has {rank}", OTHERWISE)
    return found


def tool_parser(template: str) -> str | None:
    """Name vLLM's parser for the tool calls that a chat template teaches, or None where it teaches none that is known."""
    found = next((parser for mark, parser in _PARSERS if mark in template), None)
    return found or ("llama3_json" if _LLAMA in template else None)
