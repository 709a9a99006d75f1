"""A vLLM started for an evaluation, and asked with the very tokens that the model in this process would get."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from src.core.run import Run
from src.eval.engine import Servers, VllmProcess
from src.eval.weights import Weights
from src.llm import vllm
from src.llm.client import Reply
from src.llm.launcher import Launcher, free_port
from src.llm.openai_client import OpenAIClient
from src.models.generate import Completion, Decoder
from src.models.load import pick_device

NAME = "tuned"


def served(engine: VllmProcess, weights: Weights, run: Run, servers: Servers) -> OpenAIClient:
    """A client for the model, of a server that runs until `servers` is closed; base and adapter share one."""
    trained = weights.trained
    shared = bool(trained.adapter)
    mark = f"{trained.folder} {shared or weights.is_base}"
    if mark not in servers.urls:
        if trained.quantization != "none":
            run.log.warning("trained on %s weights, answered by vLLM on whole ones: answers differ a little", trained.quantization)
        servers.urls[mark] = _start(engine, weights, run, servers)
    return OpenAIClient(
        base_url=f"{servers.urls[mark]}/v1",
        model=weights.path if weights.is_base and shared else NAME,
        key="none",
        timeout=engine.timeout,
        max_retries=0,
        trusts_environment=False,
        hints=dict.fromkeys(("start", "key", "model"), f"look at {_log(run)}"),
    )


def _log(run: Run) -> Path:
    return Path("log") / run.name / "eval-vllm.log"


def _start(engine: VllmProcess, weights: Weights, run: Run, servers: Servers) -> str:
    cuda = pick_device("auto").startswith("cuda")
    trained, port = weights.trained, free_port()
    command = vllm.command(
        vllm.executable(engine.executable, cuda=cuda),
        base=weights.path,
        adapter=trained.adapter,
        tokenizer=trained.tokenizer,
        name=NAME,
        port=port,
        dtype=vllm.DTYPES[trained.dtype],
        tool_parser=None,
        max_new_tokens=weights.context,
        gpu_memory_utilization=engine.gpu_memory_utilization if cuda else None,
        extra=engine.extra_args,
    )
    environment = vllm.ENVIRONMENT | ({} if cuda else {key: os.environ.get(key, value) for key, value in vllm.ON_CPU.items()})
    run.log.info("starting vLLM for the answers; its log is %s", _log(run))
    launcher = servers.enter_context(Launcher(command, port=port, log=_log(run), startup_timeout=900, environment=environment))
    launcher.wait()
    return launcher.url


async def go_on(client: OpenAIClient, weights: Weights, prompt: list[int], *, most: int, make: Callable[[Completion], Reply]) -> Reply:
    """Continue a prompt greedily, in one try, to the tokens that the model in this process would choose."""
    room = min(most, weights.context - len(prompt))
    if room <= 0:
        return make(Completion("", [], "length"))
    settings: dict[str, Any] = {"stop_token_ids": sorted(weights.stops), "return_token_ids": True, "skip_special_tokens": False}
    ids = await client.continued(prompt, max_tokens=room, extra=settings)
    return make(Decoder(weights.tokenizer, weights.stops).completion(ids))
